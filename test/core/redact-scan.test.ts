import { describe, expect, it } from 'vitest'
import { SUSPECT, scanTable, slotAt, suspicion } from '../../src/core/redact-scan.ts'

const table = scanTable(['hunter2hunter2'])

describe('the one pass over a text', () => {
  it.each([
    ['an ordinary path', '/repos/acme/app/issues', 0],
    ['an empty text', '', 0],
    ['a parameter', 'a=1', SUSPECT.equals],
    ['a colon', 'a:1', SUSPECT.colon],
    ['an element', '<a>', SUSPECT.element],
    ['two slashes', '//', SUSPECT.slashes],
    ['a percent escape', 'a%41', SUSPECT.escape],
    ['a backslash', 'a\\b', SUSPECT.escape],
    ['a zero byte', 'a\0b', SUSPECT.escape],
    ['two slashes apart', '/ /', 0],
    ['a known secret at the very end', ' hunter2hunter2', SUSPECT.known],
    ['characters beyond Latin-1', '\u2028\u{1f600}', 0],
    ['the digit of a bot', 'bot1', SUSPECT.token],
    ['credentials in any case', 'bEaRer', SUSPECT.token],
  ])('%s', (_case, text, bits) => {
    expect(suspicion(text, table)).toBe(bits)
  })

  it('a form that has lost its case is one in names alone', () => {
    expect(suspicion('akia', table)).toBe(SUSPECT.folded)
    expect(suspicion('AKIA', table)).toBe(SUSPECT.folded | SUSPECT.token)
  })

  it('slots are of three characters and in the table', () => {
    expect(slotAt('abcd', 0)).toBe(slotAt('xabc', 1))
    expect(slotAt('abcd', 0)).not.toBe(slotAt('abcd', 1))
    expect(slotAt('\uffff\uffff\uffff', 0)).toBeLessThan(table.length)
  })
})
