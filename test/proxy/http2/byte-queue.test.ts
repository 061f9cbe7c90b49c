import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ByteQueue, detached } from '../../../src/proxy/http2/byte-queue.ts'

/** `length` bytes of a record of 16 KiB. */
const view = (length: number, fill = 'x'): Buffer => Buffer.alloc(16_384, fill).subarray(0, length)

function drain(queue: ByteQueue, limit?: number): Buffer[] {
  const pieces: Buffer[] = []
  for (;;) {
    const piece = queue.shift(limit)
    if (piece === undefined) return pieces
    pieces.push(piece)
  }
}

/** What the pieces keep from being freed. */
const kept = (pieces: readonly Buffer[]): number =>
  [...new Set(pieces.map((piece) => piece.buffer))].reduce((sum, { byteLength }) => sum + byteLength, 0)

it('hands out what was put in, whatever the sizes and the limits', () => {
  const lengths = fc.array(
    fc.oneof(fc.nat(40), fc.nat(40_000)).map((n) => n + 1),
    { maxLength: 30 },
  )
  fc.assert(
    fc.property(lengths, fc.integer({ min: 1, max: 50_000 }), fc.boolean(), (sizes, limit, heavy) => {
      const queue = new ByteQueue()
      const all: Buffer[] = sizes.map((size, i) => Buffer.alloc(heavy ? size + 100_000 : size, i).subarray(0, size))
      for (const piece of all) queue.push(piece)
      expect(queue.bytes).toBe(Buffer.concat(all).length)
      const out = drain(queue, limit)
      expect(Buffer.concat(out).equals(Buffer.concat(all))).toBe(true)
      expect(out.every((piece) => piece.length <= limit)).toBe(true)
      expect(queue.bytes).toBe(0)
    }),
    { numRuns: 200 },
  )
})

describe('what is kept', () => {
  it.each([
    ['one byte of each record', Array.from({ length: 20_000 }, () => 1)],
    ['a byte and a kilobyte of each record in turn', Array.from({ length: 512 }, (_, i) => (i % 2 === 0 ? 1 : 1_024))],
    ['a quarter of each record', Array.from({ length: 64 }, () => 4_096)],
  ])('of %s is at most a few times what counts', (_what, lengths) => {
    const queue = new ByteQueue()
    for (const length of lengths) queue.push(view(length))
    const counted = queue.bytes
    const pieces = drain(queue)
    expect(kept(pieces)).toBeLessThanOrEqual(counted * 4 + 16_384)
    expect(pieces.length).toBeLessThanOrEqual(counted / 512 + 1)
  })

  it('a piece of its own size is not copied', () => {
    const queue = new ByteQueue()
    const piece = Buffer.allocUnsafeSlow(5_000)
    queue.push(piece)
    queue.push(piece)
    expect(drain(queue).every((out) => out === piece)).toBe(true)
  })

  it('detached keeps a piece as it is where it keeps little else', () => {
    const piece = Buffer.allocUnsafeSlow(100)
    expect(detached(piece)).toBe(piece)
    const small = view(10)
    expect(detached(small).buffer.byteLength).toBeLessThan(small.buffer.byteLength)
    expect(detached(small).equals(small)).toBe(true)
  })
})

it('nothing is left behind clear', () => {
  const queue = new ByteQueue()
  queue.push(view(10))
  queue.push(view(10))
  queue.clear()
  expect([queue.bytes, queue.shift()]).toEqual([0, undefined])
  queue.push(Buffer.from('abc'))
  expect(queue.shift()?.toString()).toBe('abc')
})
