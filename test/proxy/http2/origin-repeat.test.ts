// A request body that is sent once more: all of it or nothing, whatever was under way when the first try failed.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BodyPart, BodyReader } from '../../../src/proxy/message.ts'
import { RepeatableBody } from '../../../src/proxy/http2/origin-repeat.ts'
import { ScriptedBody } from '../support/upstream-bench.ts'

const KEPT_BYTES = 64 * 1024

async function take(body: BodyReader, parts: number): Promise<BodyPart[]> {
  const taken: BodyPart[] = []
  while (taken.length < parts) taken.push(await body.read())
  return taken
}

const text = (parts: readonly BodyPart[]): string =>
  parts.map((part) => (part.kind === 'data' ? part.data.toString('latin1') : part.kind)).join(' ')

it('is read as it is where it is read once', async () => {
  const body = new RepeatableBody(new ScriptedBody().push('a', 'b').end('x', 'y'))
  expect(await take(body, 3)).toEqual([
    { kind: 'data', data: Buffer.from('a') },
    { kind: 'data', data: Buffer.from('b') },
    { kind: 'end', trailers: ['x', 'y'] },
  ])
})

it('begins again from its start, and goes on with what was not read yet', async () => {
  const body = new RepeatableBody(new ScriptedBody().push('a', 'b', 'c').end())
  await take(body, 2)
  expect(body.rewind()).toBe(true)
  expect(text(await take(body, 4))).toBe('a b c end')
})

it('waits anew for the part that the first sender still waits for, and asks for none twice', async () => {
  const reader = new ScriptedBody().push('a')
  const body = new RepeatableBody(reader)
  await take(body, 1)
  const former = body.read()
  expect(body.rewind()).toBe(true)
  const again = take(body, 3)
  reader.push('b').end()
  expect(text(await again)).toBe('a b end')
  expect(await former).toMatchObject({ data: Buffer.from('b') })
  expect(reader.reads).toBe(3)
})

describe('past 64 KiB', () => {
  it('can not begin again, and goes on', async () => {
    const body = new RepeatableBody(new ScriptedBody().push('x'.repeat(KEPT_BYTES), 'y', 'z').end())
    await take(body, 1)
    expect(body.rewind()).toBe(true)
    await take(body, 2)
    expect(body.rewind()).toBe(false)
    expect(text(await take(body, 2))).toBe('z end')
  })

  it('still gives all to one who has begun again before', async () => {
    const reader = new ScriptedBody().push('a')
    const body = new RepeatableBody(reader)
    await take(body, 1)
    void body.read()
    expect(body.rewind()).toBe(true)
    reader.push('y'.repeat(KEPT_BYTES), 'z').end()
    expect(text(await take(body, 4))).toBe(`a ${'y'.repeat(KEPT_BYTES)} z end`)
  })
})

it('that is not to be sent again keeps nothing, and loses nothing of a second try that is under way', async () => {
  const body = new RepeatableBody(new ScriptedBody().push('a', 'b', 'c').end())
  await take(body, 2)
  body.rewind()
  await take(body, 1)
  body.forget()
  expect(text(await take(body, 3))).toBe('b c end')
  expect(body.rewind()).toBe(false)
})

it('gives every byte once to each of two readers in turn', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ minLength: 1, maxLength: 40_000, unit: fc.constant('x') }), { maxLength: 6 }),
      fc.nat(8),
      async (parts, readBefore) => {
        const whole = text(await take(new ScriptedBody().push(...parts).end(), parts.length + 1))
        const body = new RepeatableBody(new ScriptedBody().push(...parts).end())
        const before = await take(body, Math.min(readBefore, parts.length))
        const rewound = body.rewind()
        const bytes = before.reduce((sum, part) => sum + (part.kind === 'data' ? part.data.length : 0), 0)
        expect(rewound).toBe(bytes <= KEPT_BYTES)
        const after = await take(body, parts.length + 1 - (rewound ? 0 : before.length))
        expect(text(rewound ? after : [...before, ...after])).toBe(whole)
      },
    ),
    { numRuns: 60 },
  )
})
