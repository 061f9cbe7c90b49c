import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GrpcMessages } from '../../src/core/grpc-messages.ts'

function message(payload: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(payload.length, 1)
  return Buffer.concat([prefix, payload])
}

describe('the messages of a gRPC body', () => {
  it('end where their lengths say, however they are cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 5 }),
        fc.array(fc.nat(20)),
        (payloads, steps) => {
          const body = Buffer.concat(payloads.map(message))
          const ends = new Set<number>([0])
          for (const payload of payloads) ends.add([...ends].reduce((a, b) => Math.max(a, b)) + 5 + payload.length)
          const messages = new GrpcMessages()
          let at = 0
          for (const step of [...steps, body.length]) {
            const next = Math.min(body.length, at + step)
            expect(messages.endsWith(body.subarray(at, next))).toBe(ends.has(next))
            at = next
          }
        },
      ),
    )
  })

  it('a flag is no part of a length, and a length has four bytes', () => {
    const messages = new GrpcMessages()
    expect(messages.endsWith(Buffer.from([1, 0, 0, 1, 2]))).toBe(false)
    expect(messages.endsWith(Buffer.alloc(257))).toBe(false)
    expect(messages.endsWith(Buffer.alloc(1))).toBe(true)
  })
})
