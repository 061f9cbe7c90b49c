// Colour is for eyes only.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { json, processOutput, verdict } from '../../src/cli/output.ts'

afterEach(() => {
  vi.unstubAllEnvs()
  vi.restoreAllMocks()
})

const withTerminal = (isTTY: boolean): void => {
  vi.spyOn(process, 'stdout', 'get').mockReturnValue({ ...process.stdout, isTTY } as typeof process.stdout)
}

describe('processOutput', () => {
  it.each([
    [true, '', true],
    [true, '1', false],
    [false, '', false],
  ])('on a terminal: %s, NO_COLOR=%j: colour %s', (isTTY, noColour, expected) => {
    withTerminal(isTTY)
    vi.stubEnv('NO_COLOR', noColour)
    expect(processOutput().colour).toBe(expected)
  })

  it('writes results to stdout and diagnostics to stderr, as they are', () => {
    const out = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const err = vi.spyOn(process.stderr, 'write').mockReturnValue(true)
    const output = processOutput()
    output.out('result\n')
    output.err('diagnostic\n')
    expect([out.mock.calls, err.mock.calls]).toEqual([[['result\n']], [['diagnostic\n']]])
  })
})

describe('verdict', () => {
  it.each([
    [true, true, '\u001b[32mallow\u001b[0m'],
    [true, false, '\u001b[31mallow\u001b[0m'],
    [false, true, 'allow'],
  ])('colour %s, yes %s', (colour, yes, expected) => {
    expect(verdict({ out: () => undefined, err: () => undefined, colour }, 'allow', yes)).toBe(expected)
  })
})

describe('json', () => {
  it('ends its line', () => {
    expect(json({ a: 1 })).toBe('{\n  "a": 1\n}\n')
  })
})
