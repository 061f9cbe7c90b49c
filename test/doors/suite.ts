// What every door does alike: one suite, run through each of them, with and without TLS to the origin.

import { afterAll, beforeAll, describe } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { connectionCases } from './connection-cases.ts'
import { limitCases } from './limit-cases.ts'
import { messageCases } from './message-cases.ts'
import { streamCases } from './stream-cases.ts'
import { type Bed, startBed, type Way } from './support/bed.ts'

export function doorSuite(way: Way): void {
  describe(`${way.door}, ${way.tls ? 'https' : 'plain http'}`, () => {
    let bed: Bed
    beforeAll(async () => {
      bed = await startBed(way)
    })
    afterAll(async () => {
      await assertAccounted(bed.lab)
      await bed.close()
    })
    describe('messages', () => {
      messageCases(way, () => bed)
    })
    describe('streams', () => {
      streamCases(way, () => bed)
    })
    describe('connections', () => {
      connectionCases(way, () => bed)
    })
    describe('limits and conditions', () => {
      limitCases(way, () => bed)
    })
  })
}
