// A ClientHello in pieces, or one too large or too slow to be honest: the name in it is read whole or the connection ends.

import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, opened, readUntil, reasonOf, tcp } from '../support/clients.ts'
import { clientHello, extension, inPieces, inRecordsOf, records, reshaped } from '../support/client-hello.ts'
import { ALLOWED, DENIED, DOORS, type DoorName, type Standard, startStandard } from '../support/standard.ts'
import { seenBy, witness } from '../support/witness.ts'

const HELLO_MS = 60
const SILENCE_MS = 40

let standard: Standard
beforeAll(async () => {
  standard = await startStandard()
})
afterAll(() => standard.close())
beforeEach(() => {
  standard.origin.seen.length = 0
})

async function rawDoor(at: Standard, door: DoorName): ReturnType<typeof tcp> {
  return door === 'connect' ? (await connectVia(at.lab, at.authority)).socket : tcp(at.lab.transparentPort)
}

type Shape = (flight: Buffer) => readonly Buffer[]

const SHAPES: [string, Shape][] = [
  ['one byte at a time', inPieces(100_000)],
  ['20 segments', inPieces(20)],
  ['TLS records of one byte', inRecordsOf(1)],
  ['TLS records of 37 bytes', inRecordsOf(37)],
  ['TLS records that arrive one byte at a time', (flight) => inPieces(100_000)(Buffer.concat(inRecordsOf(50)(flight)))],
]

/** With so many protocols on offer a hello is as long as one with post-quantum key shares, and longer than a segment. */
const MANY_PROTOCOLS = ['http/1.1', ...Array.from({ length: 200 }, (_value, index) => `protocol-${index}`)]

describe.each(DOORS)('through the %s door', (door) => {
  it.each(SHAPES)('[H10] a hello in %s is read whole', async (_name, shape) => {
    const { lab, authority } = standard
    const left = await witness(standard, async () => {
      const pieces = reshaped(await rawDoor(standard, door), shape)
      const tls = await opened(connectTls({ socket: pieces, servername: ALLOWED, ca: lab.ca }), 'secureConnect')
      const answer = await exchangeOn(tls, `GET /pieces HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      tls.destroy()
      expect(answer.status).toBe(200)
    })
    expect(left.decided[0]).toMatchObject({ decision: 'allow', sni: ALLOWED })
    expect(seenBy(standard)).toEqual(['/pieces'])
  })

  it.each(SHAPES)('[H10] a denied name in %s is denied', async (_name, shape) => {
    const { lab, origin } = standard
    const left = await witness(standard, async () => {
      const authority = `${DENIED}:${origin.port}`
      const socket = door === 'connect' ? (await connectVia(lab, authority)).socket : await tcp(lab.transparentPort)
      const pieces = reshaped(socket, shape)
      const tls = await opened(connectTls({ socket: pieces, servername: DENIED, ca: lab.ca }), 'secureConnect')
      const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      tls.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', sni: DENIED })
    expect(seenBy(standard)).toEqual([])
  })

  it('[H10] a hello of post-quantum size', async () => {
    const { lab, authority } = standard
    await witness(standard, async () => {
      let length = 0
      const measured = reshaped(await rawDoor(standard, door), (flight) => {
        length = flight.length
        return [flight]
      })
      const options = { socket: measured, servername: ALLOWED, ca: lab.ca, ALPNProtocols: MANY_PROTOCOLS }
      const tls = await opened(connectTls(options), 'secureConnect')
      const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      tls.destroy()
      expect(length).toBeGreaterThan(1_800)
      expect(answer.status).toBe(200)
    })
  })

  it.each([
    [
      '[H10] an extension of nearly 64 KiB',
      clientHello({ name: ALLOWED, extensions: [extension(0xabcd, Buffer.alloc(65_000))] }),
    ],
    ['[H10] a hello that announces 16 MiB', Buffer.from('16030140000100ffff0303', 'hex')],
    ['[H10] a second hello in the record of the first', twoHellos(40_000)],
    ['[H10] two host names in one server_name', clientHello({ extensions: [twoNames()] })],
    ['[H10] two server_name extensions', clientHello({ name: ALLOWED, extensions: [extension(0, Buffer.alloc(5))] })],
    ['[H10] another handshake message', Buffer.from('160301000402000000', 'hex')],
    ['[H10] an empty record', Buffer.from('1603010000', 'hex')],
  ])('%s is refused, not guessed at', async (_name, bytes) => {
    const left = await witness(standard, async () => {
      const socket = await rawDoor(standard, door)
      const answer = readUntil(socket)
      socket.write(bytes)
      await answer
      socket.destroy()
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'malformed', path: null, method: null })
    expect(left.malformed).toHaveLength(1)
    expect(seenBy(standard)).toEqual([])
  })

  it('[H10] a second hello in a record of its own ends the handshake with the first', async () => {
    const left = await witness(
      standard,
      async () => {
        const socket = await rawDoor(standard, door)
        const answer = readUntil(socket)
        socket.write(twoHellos(0))
        await answer
      },
      { decided: 0, rejected: 1 },
    )
    expect(left.rejected[0]).toMatchObject({ sni: ALLOWED })
    expect(seenBy(standard)).toEqual([])
  })

  it('[H10] a client that hangs up in the middle of its hello', async () => {
    const left = await witness(standard, async () => {
      const socket = await rawDoor(standard, door)
      socket.resume()
      socket.end(clientHello({ name: ALLOWED }).subarray(0, 40))
    })
    expect(left.malformed[0]).toMatchObject({ code: 'TRUNCATED_HELLO', length: 40 })
  })
})

describe('with short deadlines', () => {
  let hasty: Standard
  beforeAll(async () => {
    hasty = await startStandard({ peekDeadlines: { helloMs: HELLO_MS, silenceMs: SILENCE_MS } })
  })
  afterAll(() => hasty.close())

  it.each(DOORS)('[H10] a hello that does not come to its end, %s', async (door) => {
    const left = await witness(hasty, async () => {
      const socket = await rawDoor(hasty, door)
      const answer = readUntil(socket)
      socket.write(clientHello({ name: ALLOWED }).subarray(0, 40))
      await answer
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'client_timeout', path: null })
    expect(left.malformed[0]).toMatchObject({ code: 'SLOW_HELLO', length: 40 })
    expect(left.completed[0]).toMatchObject({ outcome: 'refused', reason: 'client_timeout' })
  })

  it.each(DOORS)('[H10] one more byte each time does not buy more time, %s', async (door) => {
    const left = await witness(hasty, async () => {
      const socket = await rawDoor(hasty, door)
      const hello = clientHello({ name: ALLOWED })
      let sent = 0
      const drip = setInterval(() => socket.write(hello.subarray(sent, (sent += 1))), HELLO_MS / 6)
      await readUntil(socket)
      clearInterval(drip)
      expect(sent).toBeLessThan(hello.length)
    })
    expect(left.decided[0]).toMatchObject({ reason: 'client_timeout' })
  })

  it.each(DOORS)('a connection on which nothing is said is let go, and is no attempt, %s', async (door) => {
    await witness(hasty, async () => expect(await readUntil(await rawDoor(hasty, door))).toBe(''), { decided: 0 })
  })
})

/** One hello for each name, in one record where that may be so large. */
function twoHellos(recordBytes: number): Buffer {
  const hellos = [clientHello({ name: ALLOWED }), clientHello({ name: DENIED })]
  return recordBytes === 0
    ? Buffer.concat(hellos)
    : records(Buffer.concat(hellos.map((hello) => hello.subarray(5))), recordBytes)
}

/** A list of two names: which one counts depends on the reader (RFC 6066 \u00a73 forbids it). */
function twoNames(): Buffer {
  const one = (name: string): Buffer => Buffer.concat([Buffer.from([0, 0, name.length]), Buffer.from(name)])
  const list = Buffer.concat([one(ALLOWED), one(DENIED)])
  return extension(0, Buffer.concat([Buffer.from([0, list.length]), list]))
}
