import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openRedaction } from '../../src/audit/redaction.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-redaction-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('the redactor in force', () => {
  it('keeps its key over restarts, so a value keeps its fingerprint', () => {
    const first = openRedaction(folder, {})
    const again = openRedaction(folder, {})
    expect(existsSync(join(folder, 'redaction.key'))).toBe(true)
    expect(again.fingerprint('abc')).toBe(first.fingerprint('abc'))
  })

  it('takes other secrets at a reload, in everything it redacts', () => {
    const redaction = openRedaction(folder, { values: ['Correct-Horse'] })
    const mark = redaction.fingerprint('Battery-Staple')
    const all = (text: string): (string | null)[] => [
      redaction.path(text),
      redaction.query(text),
      redaction.headerValue('X', text),
      redaction.name(text),
      redaction.text(text),
      redaction.sample(text, 100, 'text', false).text,
    ]
    expect(new Set(all('Battery-Staple'))).toEqual(new Set(['Battery-Staple']))
    redaction.update({ values: ['Battery-Staple'] })
    expect(new Set(all('Battery-Staple'))).toEqual(new Set([mark]))
    redaction.update({})
    // What began before may end behind many reloads.
    expect(new Set(all('Battery-Staple'))).toEqual(new Set([mark]))
    expect(redaction.text('Correct-Horse')).toBe(redaction.fingerprint('Correct-Horse'))
  })

  it('forgets the oldest of the values that are secret no more, and never one that is', () => {
    const redaction = openRedaction(folder, { values: ['the-first-one'] })
    for (let turn = 0; turn < 300; turn += 1) redaction.update({ values: ['always-there', `value-number-${turn}-`] })
    expect(redaction.text('the-first-one value-number-3-')).toBe('the-first-one value-number-3-')
    for (const value of ['always-there', 'value-number-299-', 'value-number-60-']) {
      expect(redaction.text(value)).toBe(redaction.fingerprint(value))
    }
  })
})
