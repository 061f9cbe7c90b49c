// A problem is printed so that its place is found and its secret is not.

import { describe, expect, it } from 'vitest'
import { formatPlace, formatProblem, type Problem } from '../../src/config/problem.ts'

const problem = (part: Partial<Problem>): Problem => ({
  line: 2,
  column: 7,
  at: 'listen.proxy',
  message: 'wrong',
  fix: 'write 127.0.0.1:3128',
  ...part,
})

describe('formatProblem', () => {
  it('shows the position, the line with a caret, and the fix', () => {
    expect(formatProblem(problem({}), ['listen:', '  proxy: x'], 'mcp-egress.yaml')).toBe(
      [
        'mcp-egress.yaml:2:7: listen.proxy: wrong',
        '    2 |   proxy: x',
        '      |       ^',
        '  fix: write 127.0.0.1:3128',
      ].join('\n'),
    )
  })

  it('leaves out what it does not know', () => {
    const bare = problem({ line: null, column: null, at: '', fix: '' })
    expect(formatProblem(bare, [], 'a.yaml')).toBe('a.yaml: wrong')
    expect(formatProblem(bare, ['version: 1'], null)).toBe('wrong')
  })

  it.each([
    ['a plain value', '    token: hunter2', '    token: ***'],
    ['a quoted one', '  { name: a, "token": "hunter2 and more" }', '  { name: a, "token": ***'],
    ['a reference beside a literal', '    token: x${A_TOKEN}', '    token: ***'],
    ['nothing of a reference', '    token: ${A_TOKEN}', '    token: ${A_TOKEN}'],
    ['nothing of a file', '    token: "file:a"', '    token: "file:a"'],
  ])('hides %s of a token', (_, line, shown) => {
    expect(formatProblem(problem({ line: 1 }), [line], 'a.yaml').split('\n')[1]).toBe(`    1 | ${shown}`)
  })

  it('shows no line for a token that stands below its key', () => {
    const text = formatProblem(problem({ at: 'admin.token' }), ['  token:', '    hunter2'], 'a.yaml')
    expect(text).not.toContain('hunter2')
  })

  it('shows the part of a long line that matters', () => {
    const line = `${'a'.repeat(500)}b${'c'.repeat(500)}`
    const [, shown = '', caret = ''] = formatProblem(problem({ line: 1, column: 501 }), [line], 'a.yaml').split('\n')
    expect(shown).toHaveLength('    1 | '.length + 120)
    expect(shown[caret.indexOf('^')]).toBe('b')
  })

  it('sends no control character to the terminal, and keeps the caret in its column', () => {
    const text = formatProblem(problem({ message: 'a\u001b[31m' }), ['', '\t\u001b]0;x\u0007\u202e'], 'a\u009b.yaml')
    expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
    expect(text.split('\n')[1]).toHaveLength('    2 | '.length + 8)
  })
})

describe('formatPlace', () => {
  it.each([
    ['', []],
    ['rules[2].allow.hosts[0]', ['rules', 2, 'allow', 'hosts', 0]],
    ['mode', ['mode']],
  ])('prints %j', (text, place) => {
    expect(formatPlace(place)).toBe(text)
  })
})
