// References are replaced once, in values only, and never make structure.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isReference, type Sources, substitute } from '../../src/config/substitute.ts'

const sources = (env: Record<string, string>, files: Record<string, string> = {}): Sources => ({
  env,
  readFile: (path) => files[path] ?? null,
  runCommand: (command) =>
    command === 'fails' ? { kind: 'bad', why: 'it ended with 1' } : { kind: 'ok', text: `${command.slice(5)}\n` },
})

describe('substitute', () => {
  it.each([
    ['a variable', '${A}', 'one'],
    ['variables inside a text', 'x-${A}-${B}', 'x-one-two'],
    ['a file', 'file:a.txt', 'content'],
    ['a command', 'exec:/bin/x y', 'x y'],
    ['a URL of a file', 'file:///docs/**', 'file:///docs/**'],
    ['an escaped command', '$exec:/bin/x', 'exec:/bin/x'],
    ['an escaped variable', '$${A}', '${A}'],
    ['an escaped file', '$file:a.txt', 'file:a.txt'],
    ['no reference at all', '$A and 5$ for {B}', '$A and 5$ for {B}'],
    ['a variable whose value looks like a reference', '${LOOP}', '${A}'],
  ])('replaces %s', (_, written, expected) => {
    const given = sources({ A: 'one', B: 'two', LOOP: '${A}' }, { 'a.txt': 'content\n' })
    expect(substitute({ list: [written, 1, null] }, given)).toEqual({
      value: { list: [expected, 1, null] },
      findings: [],
    })
  })

  it.each([
    ['a variable that is not set', '${NOT_SET}', 'the environment variable NOT_SET is not set'],
    ['an empty variable', '${EMPTY}', 'the environment variable EMPTY is not set'],
    ['a name that can not be a variable', '${a-b}', '"${a-b}" names no environment variable'],
    ['a brace that is not closed', 'x${A', '"${A" names no environment variable'],
    ['a file that is not there', 'file:none', 'the file "none" can not be read'],
    ['a file without content', 'file:empty', 'the file "empty" is empty'],
    ['a command that fails', 'exec:fails', 'the command "fails": it ended with 1'],
    ['a command that prints nothing', 'exec:/bin/', 'the command "/bin/" prints nothing'],
    ['a variable with a line break', '${LINES}', 'the value holds a control character'],
  ])('reports %s', (_, written, message) => {
    const given = sources({ A: 'one', EMPTY: '', LINES: 'a\r\nb' }, { empty: '\n' })
    expect(substitute({ a: [written] }, given).findings).toMatchObject([{ place: ['a', 0], message }])
  })

  it.each([
    ['a program without its path', 'exec:fails', /^write the whole path, /],
    ['a command that fails', 'exec:/fails', /^run it by hand, /],
  ])('of %s says what to do', (_, written, fix) => {
    const given = { ...sources({}), runCommand: () => ({ kind: 'bad', why: 'so' }) as const }
    expect(substitute({ a: [written] }, given).findings).toMatchObject([{ fix: expect.stringMatching(fix) }])
  })

  it('takes keys as they are', () => {
    expect(substitute({ '${A}': 'x' }, sources({ A: 'one' })).value).toEqual({ '${A}': 'x' })
  })

  it('takes an escape behind an escape', () => {
    expect(substitute('$${$${A}', sources({}))).toEqual({ value: '${${A}', findings: [] })
  })

  it('gives back any escaped text as it was', () => {
    const visible = fc.oneof(
      fc.stringMatching(/^[ -~]*$/),
      fc.string({ unit: fc.constantFrom(...'${}A_1 file:'.split('')) }),
    )
    fc.assert(
      fc.property(visible, (text) => {
        const escaped = text.startsWith('file:') ? `$${text}` : text.replaceAll('${', () => '$${')
        fc.pre(!text.startsWith('$file:') && !(text.startsWith('file:') && text.includes('${')))
        expect(substitute(escaped, sources({}))).toEqual({ value: text, findings: [] })
      }),
    )
  })
})

describe('isReference', () => {
  it.each([
    ['${A_1}', true],
    ['file:x', true],
    ['file:', false],
    ['x${A}', false],
    ['${A}x', false],
    ['${A}\n', false],
    ['$${A}', false],
    ['', false],
  ])('%j: %s', (text, expected) => {
    expect(isReference(text)).toBe(expected)
  })
})
