// Which version is spoken on either side is agreed on, never guessed: by ALPN alone, and a version that nobody offered is none.

import type { TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { DOORS, openDoor } from '../support/standard.ts'
import { Wire } from '../support/wire.ts'
import { type Http2Bed, type Http2Cell, startHttp2Bed } from './support/http2-bed.ts'
import { outcomeOn, PREFACE, RawPeer } from './support/http2-wire.ts'

const CELLS: Http2Cell[] = DOORS.flatMap((door) => [
  { door, origin: 'http/1.1' },
  { door, origin: 'h2' },
])

describe.each(CELLS)('through the door $door to an origin of $origin', ({ door, origin }) => {
  let bed: Http2Bed
  beforeAll(async () => {
    bed = await startHttp2Bed({ door, origin })
  })
  afterAll(() => bed?.close())
  const open = async (alpn: string[]): Promise<TLSSocket> =>
    (await openDoor(bed.lab, door, bed.authority, { alpn })) as TLSSocket
  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: ${bed.authority}\r\n\r\n`
  const seen = (path: string): number => bed.canary.take().filter(({ target }) => target === path).length

  const overHttp1 = async (socket: TLSSocket, path: string): Promise<string> => {
    const wire = new Wire(socket)
    wire.write(get(path))
    return String((await wire.message()).status)
  }
  const overHttp2 = async (socket: TLSSocket, path: string): Promise<string | undefined> => {
    const peer = new RawPeer(socket)
    peer.begin()
    peer.write(peer.headers(1, bed.asked('GET', path)))
    return (await outcomeOn(peer, 1)).status
  }

  it.each<[string[], string]>([
    [['h2'], 'h2'],
    [['h2', 'http/1.1'], 'h2'],
    [['http/1.1', 'h2'], 'h2'],
    [['http/1.1'], 'http/1.1'],
    [['spdy/3', 'http/1.1'], 'http/1.1'],
    [['http/1.0'], 'http/1.0'],
  ])('[C27] a client that offers %j speaks %s, and is served whatever the origin speaks', async (alpn, agreed) => {
    const path = `/agreed/${alpn.join('-').replaceAll('/', '')}`
    const socket = await open(alpn)
    expect(socket.alpnProtocol).toBe(agreed)
    const speak = agreed === 'h2' ? overHttp2 : overHttp1
    expect(await speak(socket, path)).toBe('200')
    socket.destroy()
    expect(seen(path)).toBe(1)
  })

  it('[C27] a client that offers only what nobody speaks gets no connection, and reaches no origin', async () => {
    const before = bed.lab.recordsOf('tls.rejected').length
    await expect(open(['spdy/3'])).rejects.toThrow(/alert|disconnected|ECONNRESET/)
    await bed.lab.waitFor('tls.rejected', before + 1)
    expect(bed.canary.take()).toEqual([])
  })

  it('[C27] HTTP/1.1 where h2 was agreed on is refused, and recorded', async () => {
    const before = bed.lab.recordsOf('request.decided').length
    const peer = new RawPeer(await open(['h2']))
    peer.write(Buffer.from(get('/other-version')))
    await peer.until(() => peer.closed)
    expect(peer.goaway).toBe('PROTOCOL_ERROR')
    await bed.lab.waitFor('request.completed', before + 1)
    expect(bed.lab.recordsOf('request.malformed').at(-1)).toMatchObject({ code: 'H2_PREFACE' })
    expect(bed.lab.recordsOf('request.decided').at(-1)).toMatchObject({ decision: 'deny', reason: 'malformed' })
    expect(seen('/other-version')).toBe(0)
  })

  it('[B45] h2 where HTTP/1.1 was agreed on is refused, and recorded', async () => {
    const before = bed.lab.recordsOf('request.decided').length
    const wire = new Wire(await open(['http/1.1']))
    wire.write(PREFACE)
    await wire.closed()
    await bed.lab.waitFor('request.completed', before + 1)
    expect(bed.lab.recordsOf('request.decided').at(-1)).toMatchObject({ decision: 'deny', reason: 'malformed' })
  })
})
