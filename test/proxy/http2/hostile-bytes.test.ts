// Whatever a client sends: nothing throws, nothing hangs, and every request head is taken up exactly once.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { HpackEncoder } from '../../../src/core/hpack.ts'
import { FRAME_TYPE, PREFACE } from '../../../src/core/http2-frame.ts'
import { headerFrames, settingsAck, settingsFrame } from '../../../src/core/http2-frame-writer.ts'
import { asked, raw, request } from './support/raw-peer.ts'
import { answerOk, readBody, type ServedBed, startServed } from './support/served.ts'

const BEGIN = Buffer.concat([PREFACE, settingsFrame([]), settingsAck()])

const id = fc.constantFrom(0, 1, 1, 3, 3, 5, 7, 2, 4)
const payload = fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes))
const frame = fc.oneof(
  fc.tuple(fc.integer({ min: 0, max: 10 }), fc.nat(255), id, payload).map((parts) => raw(...parts)),
  fc.tuple(id, payload, fc.boolean()).map(([stream, bytes, end]) => raw(FRAME_TYPE.DATA, end ? 1 : 0, stream, bytes)),
  id.map((stream) => raw(FRAME_TYPE.RST_STREAM, 0, stream, '\0\0\0\x08')),
  fc
    .tuple(id, fc.constantFrom(0, 1, 200, 2 ** 31 - 1))
    .map(([stream, by]) => raw(FRAME_TYPE.WINDOW_UPDATE, 0, stream, Buffer.from([by >>> 24, by >>> 16, by >>> 8, by]))),
)
/** A frame of a client that means well, or one of any kind. `next`: on a stream that was not used yet. */
const step = fc.oneof(
  fc.constantFrom('get' as const, 'post' as const, 'bad' as const),
  frame.map((bytes) => ({ bytes })),
)

interface Sent {
  readonly bytes: Buffer
  /** How many request heads on new streams it has. */
  readonly heads: number
}

type Step = 'get' | 'post' | 'bad' | { readonly bytes: Buffer }

function encoded(steps: readonly Step[]): Sent {
  const encoder = new HpackEncoder()
  const fields = { get: request('/'), post: asked('POST', '/'), bad: [':method', 'GET'] }
  let heads = 0
  const frames = steps.map((one) => {
    if (typeof one === 'object') return one.bytes
    heads += 1
    // Above the ids of the frames that come from nowhere.
    return headerFrames(99 + 2 * heads, encoder.encode(fields[one]), one === 'get', 16_384)
  })
  return { bytes: Buffer.concat([BEGIN, ...frames]), heads }
}

function served(): ServedBed {
  return startServed(async (incoming) => {
    await readBody(incoming)
    await answerOk(incoming)
  })
}

async function send(bed: ServedBed, bytes: Buffer, cuts: readonly number[]): Promise<void> {
  let at = 0
  for (const cut of cuts) {
    bed.far.write(bytes.subarray(at, at + cut))
    at = Math.min(bytes.length, at + cut)
    if (cut % 7 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  bed.far.write(bytes.subarray(at))
  bed.far.end()
  await bed.done
}

const cuts = fc.array(fc.nat(200), { maxLength: 20 })
const takenUp = ({ requests, malformed, refused }: ServedBed): number =>
  requests.length + malformed.length + refused.length

it('random frames: it ends, with one fault at the most, and every exchange is over', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), cuts, async (steps, at) => {
      const bed = served()
      const { bytes, heads } = encoded(steps)
      await send(bed, bytes, at)
      expect(bed.faults.length).toBeLessThanOrEqual(1)
      // Frames from nowhere may hold a request too, and a fault hides what comes behind it.
      expect(takenUp(bed)).toBeGreaterThanOrEqual(bed.faults.length === 0 ? heads : 0)
    }),
    { numRuns: 300 },
  )
})

const kind = fc.constantFrom('get' as const, 'post' as const, 'bad' as const)

it('requests, cut anywhere: each is taken up once', { timeout: 60_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(kind, { minLength: 1, maxLength: 60 }), cuts, async (steps, at) => {
      const bed = served()
      const { bytes, heads } = encoded(steps)
      await send(bed, bytes, at)
      expect([bed.faults.length, takenUp(bed)]).toEqual([0, heads])
    }),
    { numRuns: 100 },
  )
})

it('bytes that are no frames at all', { timeout: 60_000 }, async () => {
  const noise = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes))
  await fc.assert(
    fc.asyncProperty(noise, fc.boolean(), cuts, async (bytes, begun, at) => {
      const bed = served()
      await send(bed, begun ? Buffer.concat([BEGIN, bytes]) : bytes, at)
      expect(bed.faults.length).toBeLessThanOrEqual(1)
    }),
    { numRuns: 300 },
  )
})
