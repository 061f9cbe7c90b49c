// How many connections fit into a limit of open files, and that the limit of this process is read.

import { readdirSync } from 'node:fs'
import { expect, it } from 'vitest'
import { connectionBound, descriptorLimit, MAX_CONNECTIONS } from '../../src/proxy/descriptors.ts'

it.each<[string, number | null, number]>([
  ['a limit that is not known leaves the bound as it is', null, MAX_CONNECTIONS],
  ['plenty', 1_048_576, MAX_CONNECTIONS],
  ['three for each connection', 3 * MAX_CONNECTIONS - 1, MAX_CONNECTIONS - 1],
  ['a common limit', 1_024, 341],
  ['next to nothing', 2, 1],
])('%s', (_name, limit, bound) => {
  expect(connectionBound(limit)).toBe(bound)
})

it('the limit of this process is above what it has open', () => {
  expect(descriptorLimit()).toBeGreaterThan(readdirSync('/proc/self/fd').length)
})
