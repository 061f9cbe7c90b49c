// A file that is nested beyond reason is a problem in it, and not the end of a process that reads it again.

import { expect, it } from 'vitest'
import { parseSource } from '../../src/config/source.ts'

it.each([
  ['brackets', '['.repeat(20_000)],
  ['braces', '{a: '.repeat(20_000)],
  ['indentation', Array.from({ length: 2_000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
  ['lists in lists', '- '.repeat(20_000)],
])('%s', (_what, text) => {
  const { value, problems } = parseSource(`version: 1\nrules:\n ${text.replaceAll('\n', '\n ')}`)
  expect(value).toBeUndefined()
  expect(problems).toEqual([expect.objectContaining({ message: 'nested deeper than 64 levels' })])
})
