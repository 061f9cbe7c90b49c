// The hand-over between a socket that pushes and a reader that pulls: nothing lost, nothing reordered, never unbounded.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BodyQueue, bufferedBody } from '../../src/proxy/body-queue.ts'

const HIGH_WATER = 64 * 1_024
const quiet = (): BodyQueue => new BodyQueue(() => undefined)
const data = (bytes: string) => ({ kind: 'data', data: Buffer.from(bytes) })
const END = { kind: 'end', trailers: [] }
const FAILED = { kind: 'failed', reason: 'client_aborted', detail: 'gone' }

async function drain(queue: BodyQueue): Promise<string> {
  for (let whole = ''; ; ) {
    const part = await queue.read()
    if (part.kind === 'failed') throw new Error(part.reason)
    if (part.kind === 'end') return whole
    whole += part.data.toString('latin1')
  }
}

describe('a reader', () => {
  it('gets what was pushed before it asked, in order, then the end, again and again', async () => {
    const queue = quiet()
    queue.push(Buffer.from('a'))
    queue.push(Buffer.from('b'))
    queue.end(['X-A', '1'])
    expect([await queue.read(), await queue.read()]).toEqual([data('a'), data('b')])
    expect(await queue.read()).toEqual({ kind: 'end', trailers: ['X-A', '1'] })
    expect(await queue.read()).toEqual({ kind: 'end', trailers: ['X-A', '1'] })
  })

  it('that waits gets the next push itself, and nothing of it is kept', async () => {
    const queue = quiet()
    const waiting = queue.read()
    queue.push(Buffer.from('a'))
    expect([queue.empty, await waiting]).toEqual([true, data('a')])
  })

  it.each<[string, (queue: BodyQueue) => void, unknown]>([
    ['the end', (queue) => queue.end([]), END],
    ['the failure', (queue) => queue.fail('client_aborted', 'gone'), FAILED],
  ])('that waits gets %s', async (_name, finish, expected) => {
    const queue = quiet()
    const waiting = queue.read()
    finish(queue)
    expect(await waiting).toEqual(expected)
  })

  it('gets all of any body, however it is cut and whenever it asks', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 20 }),
        fc.nat(20),
        async (pieces, early) => {
          const queue = quiet()
          const [before, after] = [pieces.slice(0, early), pieces.slice(early)]
          for (const piece of before) queue.push(Buffer.from(piece, 'latin1'))
          const read = drain(queue)
          for (const piece of after) {
            await Promise.resolve()
            queue.push(Buffer.from(piece, 'latin1'))
          }
          queue.end([])
          expect(await read).toBe(Buffer.from(pieces.join(''), 'latin1').toString('latin1'))
        },
      ),
    )
  })
})

describe('a body that failed', () => {
  it('hands out nothing more, not even what had arrived', async () => {
    const queue = quiet()
    queue.push(Buffer.from('half'))
    queue.fail('client_aborted', 'gone')
    expect(await queue.read()).toEqual(FAILED)
    expect([queue.finished, queue.whole, queue.empty]).toEqual([true, false, true])
  })

  it('keeps its first reason', async () => {
    const queue = quiet()
    queue.fail('client_aborted', 'gone')
    queue.fail('malformed', 'later')
    queue.end([])
    expect(await queue.read()).toEqual(FAILED)
  })

  it('can have ended before: an end that nobody has read is taken back', async () => {
    const queue = quiet()
    queue.push(Buffer.from('a'))
    queue.end([])
    expect(queue.whole).toBe(true)
    queue.fail('client_aborted', 'gone')
    expect([queue.whole, await queue.read()]).toEqual([false, FAILED])
  })
})

describe('the bound', () => {
  it('is reached with the last byte of it and left with the first byte below', async () => {
    const queue = quiet()
    queue.push(Buffer.alloc(HIGH_WATER - 1))
    expect(queue.full).toBe(false)
    queue.push(Buffer.alloc(1))
    expect(queue.full).toBe(true)
    await queue.read()
    expect(queue.full).toBe(false)
  })

  it('is told to whoever pushes only when there is room or hunger', async () => {
    let asked = 0
    const queue = new BodyQueue(() => {
      asked += 1
    })
    queue.push(Buffer.alloc(HIGH_WATER))
    queue.push(Buffer.alloc(HIGH_WATER))
    await queue.read()
    expect(asked).toBe(0)
    await queue.read()
    expect(asked).toBe(1)
    const waiting = queue.read()
    expect(asked).toBe(2)
    queue.end([])
    await waiting
  })

  it('takes nothing after the end, and an empty push is nothing', async () => {
    const queue = quiet()
    queue.push(Buffer.alloc(0))
    queue.end([])
    queue.push(Buffer.from('late'))
    expect([queue.empty, await queue.read()]).toEqual([true, END])
  })
})

it('a body in memory is one part and an end', async () => {
  const body = bufferedBody(Buffer.from('a'))
  expect([await body.read(), await body.read()]).toEqual([data('a'), END])
})
