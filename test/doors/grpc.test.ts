// gRPC as applications use it: every kind of call through both doors, how it ends, and what is recorded.

import { once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import { Metadata, type ServerDuplexStream, type ServerWritableStream, status } from '@grpc/grpc-js'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { MINUTE, pass, stopClock } from './support/clock.ts'
import { gate } from './support/gate.ts'
import { type GrpcBed, HOST, startGrpcBed } from './support/grpc-bed.ts'
import { type Caller, messages } from './support/grpc-caller.ts'

const HOUR = 60 * MINUTE
const SLOW_MACHINE = 60_000
const MEBIBYTE = 1024 * 1024

const fieldsOf = (fields: Readonly<Record<string, string>>): Metadata => {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(fields)) metadata.set(name, value)
  return metadata
}

describe.each(['connect', 'transparent'] as const)('gRPC by door %s', (door) => {
  let bed: GrpcBed
  let caller: Caller
  beforeAll(async () => {
    bed = await startGrpcBed(door)
    caller = bed.caller()
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  describe('the four kinds of call', () => {
    it('[P17] [C25] unary, over HTTP/2 alone: its path is judged, its status is recorded', async () => {
      bed.serve('/test.Allowed/Unary', { unary: ({ request }, answer) => answer(null, request.toUpperCase()) })
      expect(await caller.unary('/test.Allowed/Unary', 'hello')).toMatchObject({ code: status.OK, value: 'HELLO' })
      const { decided, completed } = await bed.attempt('/test.Allowed/Unary')
      expect(decided).toMatchObject({ door, decision: 'allow', rule: 'calls', method: 'POST', protocol: 'h2' })
      expect(completed).toMatchObject({
        outcome: 'completed',
        status: 200,
        grpc_status: 0,
        bytes_sent: 10,
        bytes_received: 10,
      })
    })

    it('a client stream that is answered before it ends', async () => {
      bed.serve('/test.Allowed/Early', {
        clientStream: (call, answer) => call.once('data', () => answer(null, 'enough')),
      })
      const { call, ended } = caller.clientStream('/test.Allowed/Early')
      call.write('one')
      expect(await ended).toMatchObject({ code: status.OK, value: 'enough' })
      expect((await bed.attempt('/test.Allowed/Early')).completed).toMatchObject({ grpc_status: 0 })
    })

    it('a client stream whose end is its half-close', async () => {
      const got: string[] = []
      bed.serve('/test.Allowed/Upload', {
        clientStream: (call, answer) => {
          call.on('data', (message: string) => got.push(message))
          call.on('end', () => answer(null, got.join(' ')))
        },
      })
      const { call, ended } = caller.clientStream('/test.Allowed/Upload')
      for (const message of ['a', 'b', 'c']) call.write(message)
      call.end()
      expect(await ended).toMatchObject({ code: status.OK, value: 'a b c' })
    })

    it('[P19] a server stream, each message before the next is made', async () => {
      const gates = [gate(), gate(), gate()]
      bed.serve('/test.Allowed/Events', {
        serverStream: async (call: ServerWritableStream<string, string>) => {
          for (const [index, { opened }] of gates.entries()) {
            await opened
            call.write(String(index))
          }
          call.end()
        },
      })
      const { call, ended } = caller.serverStream('/test.Allowed/Events')
      for (const [index, { open }] of gates.entries()) {
        open()
        expect(await messages(call, 1)).toEqual([String(index)])
      }
      call.resume()
      expect(await ended).toMatchObject({ code: status.OK })
    })

    it('[P19] a conversation in which nobody says two things in a row', async () => {
      bed.serve('/test.Allowed/Chat', {
        bidi: (call) => {
          call.on('data', (message: string) => call.write(`${message}!`))
          call.on('end', () => call.end())
        },
      })
      const { call, ended } = caller.bidi('/test.Allowed/Chat')
      for (let turn = 0; turn < 50; turn++) {
        call.write(`turn ${turn}`)
        expect(await messages(call, 1)).toEqual([`turn ${turn}!`])
      }
      call.end()
      call.resume()
      expect(await ended).toMatchObject({ code: status.OK })
    })

    it('[P19] a conversation that the server begins, and goes on with when the client has said its last', async () => {
      bed.serve('/test.Allowed/Greeting', {
        bidi: (call: ServerDuplexStream<string, string>) => {
          call.write('hello')
          call.on('data', (message: string) => call.write(message))
          call.on('end', () => {
            for (const last of ['and', 'another', 'thing']) call.write(last)
            call.end()
          })
        },
      })
      const { call, ended } = caller.bidi('/test.Allowed/Greeting')
      expect(await messages(call, 1)).toEqual(['hello'])
      call.write('goodbye')
      expect(await messages(call, 1)).toEqual(['goodbye'])
      call.end()
      expect(await messages(call, 3)).toEqual(['and', 'another', 'thing'])
      call.resume()
      expect(await ended).toMatchObject({ code: status.OK })
    })

    it('fifty calls at once on one connection', async () => {
      bed.serve('/test.Allowed/Parallel', { unary: ({ request }, answer) => answer(null, request) })
      const texts = Array.from({ length: 50 }, (_, index) => `call ${index}`)
      const ended = await Promise.all(texts.map((text) => caller.unary('/test.Allowed/Parallel', text)))
      expect(ended.map(({ value }) => value)).toEqual(texts)
      const decided = bed.lab.recordsOf('request.decided').filter(({ path }) => path === '/test.Allowed/Parallel')
      expect(decided).toHaveLength(50)
      expect(new Set(decided.map(({ connection_id }) => connection_id)).size).toBe(1)
    })

    it('messages of 4 MiB, both ways', async () => {
      bed.serve('/test.Allowed/Big', { unary: ({ request }, answer) => answer(null, request) })
      const big = 'x'.repeat(4 * MEBIBYTE)
      const { code, value } = await caller.unary('/test.Allowed/Big', big)
      expect(code).toBe(status.OK)
      expect(value === big).toBe(true)
      const { completed } = await bed.attempt('/test.Allowed/Big')
      expect(completed).toMatchObject({ bytes_sent: big.length + 5, bytes_received: big.length + 5 })
    })
  })

  describe('what passes beside the messages', () => {
    it('metadata of the call, of its answer and behind it, text and binary', async () => {
      let heard = new Metadata()
      bed.serve('/test.Allowed/Metadata', {
        unary: (call, answer) => {
          heard = call.metadata
          call.sendMetadata(fieldsOf({ 'x-initial': 'first' }))
          const trailing = fieldsOf({ 'x-trailing': 'last' })
          trailing.set('x-trace-bin', Buffer.of(0, 255, 7))
          answer(null, '', trailing)
        },
      })
      const metadata = fieldsOf({ 'x-custom': 'of the client' })
      metadata.set('x-custom-bin', Buffer.of(1, 2, 250))
      const { initial, trailing } = await caller.unary('/test.Allowed/Metadata', 'x', { metadata })
      expect(heard.get('x-custom')).toEqual(['of the client'])
      expect(heard.get('x-custom-bin')).toEqual([Buffer.of(1, 2, 250)])
      expect(initial.get('x-initial')).toEqual(['first'])
      expect(trailing.get('x-trailing')).toEqual(['last'])
      expect(trailing.get('x-trace-bin')).toEqual([Buffer.of(0, 255, 7)])
    })

    it('[C25] an error that is all of the answer, with its metadata', async () => {
      bed.serve('/test.Allowed/Missing', {
        unary: (_call, answer) =>
          answer({ code: status.NOT_FOUND, details: '100 % gone', metadata: fieldsOf({ 'x-why': 'because' }) }),
      })
      const ended = await caller.unary('/test.Allowed/Missing', 'x')
      expect(ended).toMatchObject({ code: status.NOT_FOUND, details: '100 % gone' })
      expect(ended.trailing.get('x-why')).toEqual(['because'])
      const { completed } = await bed.attempt('/test.Allowed/Missing')
      expect(completed).toMatchObject({ outcome: 'completed', status: 200, grpc_status: 5, bytes_received: 0 })
    })

    it('[C25] an error behind some messages', async () => {
      bed.serve('/test.Allowed/Halfway', {
        serverStream: (call) => {
          call.write('one')
          call.emit('error', { code: status.DATA_LOSS, details: 'no more' })
        },
      })
      const { call, ended } = caller.serverStream('/test.Allowed/Halfway')
      expect(await messages(call, 1)).toEqual(['one'])
      call.resume()
      expect(await ended).toMatchObject({ code: status.DATA_LOSS, details: 'no more' })
      const { completed } = await bed.attempt('/test.Allowed/Halfway')
      expect(completed).toMatchObject({ outcome: 'completed', grpc_status: 15, bytes_received: 8 })
    })

    it('a method that the server does not know', async () => {
      expect(await caller.unary('/test.Allowed/Nowhere', 'x')).toMatchObject({ code: status.UNIMPLEMENTED })
      expect((await bed.attempt('/test.Allowed/Nowhere')).completed).toMatchObject({ grpc_status: 12 })
    })

    it('te, the deadline and the content-type reach the origin', async () => {
      const asked = nextStream(bed)
      const ended = bed
        .caller(HOST, bed.plain.port)
        .unary('/test.Allowed/Fields', 'x', { deadline: Date.now() + 30_000 })
      const [stream, headers] = await asked
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '5' }, { endStream: true })
      await ended
      expect(headers).toMatchObject({ te: 'trailers', 'content-type': 'application/grpc' })
      expect(headers['grpc-timeout']).toMatch(/^\d{5}m$/)
    })
  })

  describe('an end before the end', () => {
    it('a deadline: the origin hears of it at once, though it counts none itself', async () => {
      const asked = nextStream(bed)
      const ended = bed.caller(HOST, bed.plain.port).unary('/test.Allowed/Late', 'x', { deadline: Date.now() + 400 })
      const [stream] = await asked
      const cancelled = once(stream, 'aborted')
      expect(await ended).toMatchObject({ code: status.DEADLINE_EXCEEDED })
      const since = performance.now()
      await cancelled
      expect(performance.now() - since).toBeLessThan(1_000)
      const { completed } = await bed.attempt('/test.Allowed/Late')
      expect(completed).toMatchObject({ outcome: 'client_aborted', reason: 'client_aborted', grpc_status: null })
    })

    it('the client cancels in the middle of a conversation', async () => {
      const cancelled = gate()
      bed.serve('/test.Allowed/Cancelled', {
        bidi: (call) => {
          call.write('hello')
          call.on('cancelled', () => cancelled.open())
        },
      })
      const { call, ended } = caller.bidi('/test.Allowed/Cancelled')
      await messages(call, 1)
      const since = performance.now()
      call.cancel()
      await cancelled.opened
      expect(performance.now() - since).toBeLessThan(1_000)
      expect(await ended).toMatchObject({ code: status.CANCELLED })
      const { completed } = await bed.attempt('/test.Allowed/Cancelled')
      expect(completed).toMatchObject({ outcome: 'client_aborted', status: 200, grpc_status: null })
    })

    it.each([
      ['before its head', '/test.Allowed/ResetFirst', status.UNAVAILABLE, 'failed', 14, false],
      ['behind its head', '/test.Allowed/ResetLater', status.INTERNAL, 'upstream_aborted', null, true],
    ])('the origin resets the stream %s', async (_when, path, code, outcome, recorded, head) => {
      const asked = nextStream(bed)
      const { call, ended } = bed.caller(HOST, bed.plain.port).bidi(path)
      const [stream] = await asked
      if (head) {
        stream.respond({ ':status': 200, 'content-type': 'application/grpc' })
        await once(call, 'metadata')
      }
      stream.on('error', () => undefined).destroy(new Error('of the origin'))
      expect((await ended).code).toBe(code)
      const { completed } = await bed.attempt(path)
      expect(completed).toMatchObject({ outcome, reason: 'upstream_unreachable', grpc_status: recorded })
    })
  })

  it('10,000 messages for a reader that takes its time: the server waits, nothing piles up and nothing is lost', {
    timeout: SLOW_MACHINE,
  }, async () => {
    const size = 4_096
    const total = 10_000
    let made = 0
    const waits = gate()
    bed.serve('/test.Allowed/Flood', {
      serverStream: async (call) => {
        for (; made < total; made++) {
          if (call.write(`${made} `.padEnd(size))) continue
          const taken = await Promise.race([once(call, 'drain').then(() => true), patience()])
          // Only the first time: from there on the reader reads.
          if (taken === 'nobody reads') {
            waits.open()
            await once(call, 'drain')
          }
        }
        waits.open()
        call.end()
      },
    })
    const { call, ended } = caller.serverStream('/test.Allowed/Flood')
    // Until it is read for the first time, grpc-js takes in whatever comes.
    expect((await messages(call, 1))[0]).toMatch(/^0 /)
    await waits.opened
    expect(made * size).toBeLessThan(MEBIBYTE)
    for (let next = 1; next < total; next++) {
      const [message = ''] = await messages(call, 1)
      if (!message.startsWith(`${next} `)) throw new Error(`${message.slice(0, 10)} in the place of ${next}`)
    }
    call.resume()
    expect(await ended).toMatchObject({ code: status.OK })
    const { completed } = await bed.attempt('/test.Allowed/Flood')
    expect(completed).toMatchObject({ outcome: 'completed', grpc_status: 0, bytes_received: total * (size + 5) })
  })
})

describe('a stream of hours [C26]', () => {
  beforeEach(() => stopClock())
  afterEach(() => {
    vi.useRealTimers()
  })

  it('is decided when it begins, may be silent both ways, and ends when the policy no longer has it', {
    timeout: SLOW_MACHINE,
  }, async () => {
    // By a clock that runs ahead every write to the disk would be late, so none is due.
    const bed = await startGrpcBed('connect', { audit: 'checkpoints: { every: 12h }' })
    bed.serve('/test.Allowed/Hours', {
      bidi: (call) => {
        call.write('hello')
        call.on('data', (message: string) => call.write(message))
      },
    })
    const asked = gate()
    bed.serve('/test.Allowed/Silent', {
      bidi: (silent) => {
        asked.open()
        silent.on('data', (message: string) => silent.write(message))
      },
    })
    const caller = bed.caller()
    const { call, ended } = caller.bidi('/test.Allowed/Hours')
    const silent = caller.bidi('/test.Allowed/Silent')
    await messages(call, 1)
    await asked.opened
    await bed.decided('/test.Allowed/Hours')
    // The first of them makes sure that both connections are set up: their acknowledgements are behind it.
    for (const [hours, word] of [
      [0, 'at once'],
      [1, 'an hour later'],
      [1, 'and another'],
    ] as const) {
      await pass(hours * HOUR)
      call.write(word)
      expect(await messages(call, 1)).toEqual([word])
    }
    expect(bed.lab.recordsOf('request.completed')).toEqual([])
    silent.call.write('not a word until now')
    expect(await messages(silent.call, 1)).toEqual(['not a word until now'])
    bed.lab.reload({ rules: bed.rules.replace('/test.Allowed/*', '/test.Allowed/Other') })
    for (const revoked of [call, silent.call]) revoked.resume()
    expect([(await ended).code, (await silent.ended).code]).toEqual([status.CANCELLED, status.CANCELLED])
    const { completed } = await bed.attempt('/test.Allowed/Hours')
    expect(completed).toMatchObject({ outcome: 'revoked', reason: 'policy_revoked', status: 200, grpc_status: null })
    vi.useRealTimers()
    await assertAccounted(bed.lab)
    await bed.close()
  })
})

/** The next request to the plain origin. */
async function nextStream({ plain }: GrpcBed): Promise<[ServerHttp2Stream, Record<string, string>]> {
  return (await once(plain.server, 'stream')) as [ServerHttp2Stream, Record<string, string>]
}

/** Long enough for a reader that reads. */
function patience(): Promise<'nobody reads'> {
  return new Promise((resolve) => {
    setTimeout(() => resolve('nobody reads'), 500)
  })
}
