// Bodies cut out of a stream of bytes: the same body and the same rest, wherever the segments end.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { BodyFraming } from '../../src/core/framing.ts'
import { BodyQueue } from '../../src/proxy/body-queue.ts'
import { Http1Body } from '../../src/proxy/http1-body.ts'

const NEXT = 'GET /next HTTP/1.1\r\n'

const CASES: [string, BodyFraming, string, string][] = [
  ['no body', { kind: 'none' }, NEXT, ''],
  ['a body of length 0', { kind: 'length', length: 0 }, NEXT, ''],
  ['a body of known length', { kind: 'length', length: 5 }, `hello${NEXT}`, 'hello'],
  ['chunks', { kind: 'chunked' }, `2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-A: 1\r\n\r\n${NEXT}`, 'hello'],
  ['chunks without data', { kind: 'chunked' }, `0\r\n\r\n${NEXT}`, ''],
]

interface Read {
  readonly body: Http1Body
  readonly rest: string
  readonly got: string
}

/** Feeds `bytes` in pieces; what comes after the end is the rest. */
async function read(framing: BodyFraming, pieces: readonly Buffer[], stop?: (body: Http1Body) => void): Promise<Read> {
  const queue = new BodyQueue(() => undefined)
  const body = new Http1Body(framing, queue, 'malformed')
  let rest = ''
  for (const piece of pieces) rest += (body.take(piece).rest ?? '').toString('latin1')
  stop?.(body)
  let got = ''
  while (queue.finished) {
    const part = await queue.read()
    if (part.kind !== 'data') break
    got += part.data.toString('latin1')
  }
  return { body, rest, got }
}

function cut(text: string, cuts: readonly number[]): Buffer[] {
  const bytes = Buffer.from(text, 'latin1')
  const at = [0, ...cuts.map((one) => one % (bytes.length + 1)).sort((a, b) => a - b), bytes.length]
  return at.slice(1).map((end, index) => bytes.subarray(at[index], end))
}

describe('wherever it is cut', () => {
  it.each(CASES)('%s', async (_name, framing, bytes, expected) => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(200), { maxLength: 6 }), async (cuts) => {
        const { rest, got, body } = await read(framing, cut(bytes, cuts))
        expect([rest, got, body.queue.whole]).toEqual([NEXT, expected, true])
      }),
    )
  })
})

describe('the end of the stream', () => {
  const half = [Buffer.from('3\r\nhal', 'latin1')]

  it.each<[string, BodyFraming, (body: Http1Body) => void, boolean]>([
    [
      'in order, ends a body that runs until then',
      { kind: 'close' },
      (body) => body.end('upstream_unreachable', ''),
      true,
    ],
    ['broken, never does', { kind: 'close' }, (body) => body.fail('upstream_unreachable', ''), false],
    [
      'in order, is too early for a known length',
      { kind: 'length', length: 99 },
      (body) => body.end('upstream_unreachable', ''),
      false,
    ],
    ['in order, is too early for chunks', { kind: 'chunked' }, (body) => body.end('upstream_unreachable', ''), false],
  ])('%s', async (_name, framing, stop, whole) => {
    expect((await read(framing, half, stop)).body.queue.whole).toBe(whole)
  })

  it('changes nothing about a body that was whole', async () => {
    const { body } = await read({ kind: 'length', length: 1 }, [Buffer.from('a')])
    body.end('upstream_unreachable', '')
    body.fail('upstream_unreachable', '')
    expect(body.queue.whole).toBe(true)
  })
})

it.each(['zz\r\n', '3\r\nabcX', '0\r\nContent-Length: 5\r\n\r\n'])(
  'after broken chunks (%j) nothing is left to be read as something else',
  async (bytes) => {
    const { body, rest } = await read({ kind: 'chunked' }, [Buffer.from(`1\r\na\r\n${bytes}${NEXT}`)])
    expect([body.finished, body.queue.whole, rest]).toEqual([true, false, ''])
    expect(await body.queue.read()).toMatchObject({ kind: 'failed', reason: 'malformed' })
  },
)
