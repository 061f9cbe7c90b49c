// A body is held while it is judged, sent again from its beginning, and cut at a limit for good.

import { expect, it } from 'vitest'
import { BODY_INSPECTION_LIMIT } from '../../src/core/body.ts'
import { capBody, chain, MAX_AWAITED_BYTES_OF_ONE, readWhole } from '../../src/proxy/inspected-body.ts'
import type { BodyPart, BodyReader } from '../../src/proxy/message.ts'

function readerOf(...texts: readonly string[]): BodyReader {
  const parts: BodyPart[] = texts.map((text) => ({ kind: 'data', data: Buffer.from(text) }))
  return { read: async () => parts.shift() ?? { kind: 'end', trailers: [] } }
}

it.each([
  ['in one part', ['12345']],
  ['in many', ['1', '2', '3', '4', '5']],
])('a body over the limit, %s, has no end however often it is asked for', async (_how, texts) => {
  const capped = capBody(readerOf(...texts), 4)
  let part = await capped.read()
  while (part.kind === 'data') part = await capped.read()
  expect(part).toMatchObject({ kind: 'failed', reason: 'request_too_large' })
  for (let again = 0; again < 3; again += 1) expect(await capped.read()).toEqual(part)
})

it('a body of just the limit passes', async () => {
  const capped = capBody(readerOf('12', '34'), 4)
  const kinds = [await capped.read(), await capped.read(), await capped.read()].map(({ kind }) => kind)
  expect(kinds).toEqual(['data', 'data', 'end'])
})

it('[I10] bodies that are all there but for their end are held up to a bound, of one source and of all', async () => {
  const mebibyte = Buffer.alloc(BODY_INSPECTION_LIMIT)
  const ends: (() => void)[] = []
  const bodyWithoutEnd = (): BodyReader => {
    let sent = false
    return {
      read: () => {
        if (sent) return new Promise((resolve) => ends.push(() => resolve({ kind: 'end', trailers: [] })))
        sent = true
        return { kind: 'data', data: mebibyte }
      },
    }
  }
  const held = Array.from({ length: MAX_AWAITED_BYTES_OF_ONE / mebibyte.length }, () =>
    readWhole({ reader: bodyWithoutEnd(), length: null }, null, 'greedy'),
  )
  await Promise.resolve()
  const small = { reader: readerOf('a', 'b'), length: null }
  const over = await readWhole(small, null, 'greedy')
  expect(over).toMatchObject({ complete: false, failure: { kind: 'failed', reason: 'overloaded' } })
  const rest = chain(over)
  const parts = [await rest.read(), await rest.read(), await rest.read()]
  expect(parts.map((part) => (part.kind === 'data' ? part.data.toString() : part.kind))).toEqual(['a', 'b', 'end'])
  expect(await readWhole({ reader: readerOf('a'), length: null }, null, 'another')).toMatchObject({ complete: true })
  for (const end of ends) end()
  for (const whole of await Promise.all(held)) expect(whole).toMatchObject({ complete: true, failure: null })
  expect(await readWhole({ reader: readerOf('a'), length: null }, null, 'greedy')).toMatchObject({ complete: true })
})
