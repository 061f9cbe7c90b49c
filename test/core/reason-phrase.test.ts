import { STATUS_CODES } from 'node:http'
import { describe, expect, it } from 'vitest'
import { reasonPhrase } from '../../src/core/reason-phrase.ts'

/** Statuses that Node names and no registry does, and 101, which no answer of HTTP/2 can have. */
const LEFT_OUT = new Set([101, 418, 509, 510])

describe('reason phrases', () => {
  it('are those of Node for every status it knows', () => {
    for (let status = 100; status < 600; status++) {
      const known = LEFT_OUT.has(status) ? undefined : STATUS_CODES[status]
      expect([status, reasonPhrase(status)]).toEqual([status, known ?? ''])
    }
  })
})
