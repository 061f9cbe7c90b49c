// One connection to an origin: when it may serve again, when a request may be sent again, and what is never believed.

import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { bufferedBody } from '../../src/proxy/body-queue.ts'
import type { BodyReader } from '../../src/proxy/message.ts'
import { OriginConnection } from '../../src/proxy/origin-connection.ts'
import type { OriginAnswer } from '../../src/proxy/origin-message.ts'
import { type FarEnd, farEnd, get } from './support/far-end.ts'

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'

interface Bench {
  readonly origin: FarEnd
  readonly connection: OriginConnection
  readonly idle: () => number
}

function bench(): Bench {
  const origin = farEnd()
  let idle = 0
  const connection = new OriginConnection(origin.dialled, () => {
    idle += 1
  })
  return { origin, connection, idle: () => idle }
}

async function bodyOf(answer: OriginAnswer): Promise<string> {
  if (answer.kind === 'failed') throw new Error(answer.detail)
  for (let text = ''; ; ) {
    const part = await answer.body.read()
    if (part.kind !== 'data') return `${text} ${part.kind}`
    text += part.data.toString('latin1')
  }
}

/** A connection that has served once and is idle. */
async function served(): Promise<Bench> {
  const made = bench()
  const answer = made.connection.send(get())
  await made.origin.say(OK)
  expect(await bodyOf(await answer)).toBe('ok end')
  expect(made.idle()).toBe(1)
  return made
}

const never: BodyReader = { read: () => new Promise(() => undefined) }

describe('after an answer it may serve again', () => {
  it.each<[string, string, Parameters<typeof get>[0], boolean]>([
    ['of known length', OK, {}, true],
    ['in chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n', {}, true],
    ['without a body', 'HTTP/1.1 204 No Content\r\n\r\n', {}, true],
    ['after interim ones', `HTTP/1.1 103 Early Hints\r\n\r\n${OK}`, {}, true],
    ['that says close', OK.replace('\r\n', '\r\nConnection: close\r\n'), {}, false],
    ['of HTTP/1.0', OK.replace('1.1', '1.0'), {}, false],
    ['that breaks its chunks', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', {}, false],
    ['with a byte too many', `${OK}!`, {}, false],
    ['with a second one behind it', OK + OK, {}, false],
    ['to credentials for the connection', OK, { headers: ['Authorization', 'NTLM abc'] }, false],
    ['with a challenge for the connection', OK.replace('\r\n', '\r\nWWW-Authenticate: Negotiate\r\n'), {}, false],
    ['before the end of the upload', OK, { body: { reader: never, length: 5 } }, false],
    ['after the end of the upload', OK, { body: { reader: bufferedBody(Buffer.from('hello')), length: 5 } }, true],
  ])('%s: %#', async (_name, bytes, request, reusable) => {
    const { origin, connection, idle } = bench()
    const answer = connection.send(get(request))
    await origin.say(bytes)
    await bodyOf(await answer)
    expect([idle(), connection.closed]).toEqual(reusable ? [1, false] : [0, true])
  })
})

describe('[P46] a request may be sent again on another connection', () => {
  it.each<[string, string, boolean]>([
    ['when nothing came', '', true],
    ['not when a part of an answer came', 'H', false],
    ['not when an interim answer came', 'HTTP/1.1 103 Early Hints\r\n\r\n', false],
  ])('%s', async (_name, said, retryable) => {
    const { origin, connection } = await served()
    const answer = connection.send(get())
    if (said !== '') await origin.say(said)
    origin.far.end()
    expect(await answer).toMatchObject({ kind: 'failed', reason: 'upstream_unreachable', retryable })
  })

  it('not on the first use of a connection: it was no race', async () => {
    const { origin, connection } = bench()
    const answer = connection.send(get())
    origin.far.end()
    expect(await answer).toMatchObject({ kind: 'failed', retryable: false })
  })

  it('when the connection had ended before it was used, without a byte sent', async () => {
    const { origin, connection } = await served()
    const ended = new Promise((resolve) => void origin.near.once('end', resolve))
    const before = origin.received()
    origin.far.end()
    await ended
    expect(await connection.send(get())).toMatchObject({ kind: 'failed', retryable: true })
    expect(origin.received()).toBe(before)
  })
})

it('bytes while it is idle end it', async () => {
  const { origin, connection } = await served()
  await origin.say('H')
  expect(connection.closed).toBe(true)
})

it.each([
  [32, 'response'],
  [33, 'failed'],
])('%d interim answers: %s', async (count, kind) => {
  const { origin, connection } = bench()
  let heard = 0
  const answer = connection.send(
    get({
      onInformational: () => {
        heard += 1
      },
    }),
  )
  await origin.say('HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(count) + OK)
  expect(await answer).toMatchObject({ kind })
  expect(heard).toBe(32)
})

it('is not ended by a client that has gone when it serves somebody else by now', async () => {
  const { origin, connection } = bench()
  const first = get()
  const answered = connection.send(first)
  await origin.say(OK)
  await bodyOf(await answered)
  const second = connection.send(get())
  connection.destroyIfServing(first.sent, 'gone')
  await origin.say(OK)
  expect(await bodyOf(await second)).toBe('ok end')
})

it('[P5] does not read on while the reader of the answer is behind', async () => {
  const { origin, connection } = bench()
  const answer = connection.send(get())
  const [blocks, size] = [100, 10_000]
  await origin.say(`HTTP/1.1 200 OK\r\nContent-Length: ${blocks * size}\r\n\r\n`)
  const response = await answer
  let taken = 0
  for (let block = 0; block < blocks; block++) origin.far.write(Buffer.alloc(size, 'x'), () => (taken += 1))
  for (let turns = 0; turns < 100; turns++) await turn()
  expect(taken).toBeLessThan(10)
  expect((await bodyOf(response)).length).toBe(blocks * size + ' end'.length)
  expect(taken).toBe(blocks)
})

it('[P5] does not take more of an upload than the origin does', async () => {
  const { origin, connection } = bench()
  let taken = 0
  const endless: BodyReader = {
    read: () => {
      taken += 1
      return Promise.resolve({ kind: 'data', data: Buffer.alloc(10_000) })
    },
  }
  origin.far.pause()
  const answer = connection.send(get({ body: { reader: endless, length: null } }))
  for (let turns = 0; turns < 100; turns++) await turn()
  expect(taken).toBeLessThan(5)
  connection.destroy('enough')
  expect(await answer).toMatchObject({ kind: 'failed' })
})

it('a body that fails on the way fails the request with its reason, and the connection with it', async () => {
  const { origin, connection } = bench()
  const broken: BodyReader = {
    read: () => Promise.resolve({ kind: 'failed', reason: 'request_too_large', detail: 'x' }),
  }
  const answer = await connection.send(get({ body: { reader: broken, length: null } }))
  expect(answer).toMatchObject({ kind: 'failed', reason: 'request_too_large', retryable: false })
  expect(connection.closed).toBe(true)
  expect(origin.received()).not.toContain('0\r\n\r\n')
})
