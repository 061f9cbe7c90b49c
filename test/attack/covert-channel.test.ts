// Words hidden in an allowed request: what can be spelled in more than one way reaches the origin in one, and what passes as text stands in the trail.

import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Hello, parseHello } from '../../src/core/hello.ts'
import { type Bed, HOST } from '../doors/support/bed.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { ok } from '../support/scripted-origin.ts'
import { DOORS, openDoor } from '../support/standard.ts'
import { CLOSING, startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { Wire } from '../support/wire.ts'
import { startFrameOrigin } from '../proxy/support/frame-origin.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'
import { eachCell } from './support/http2-bed.ts'
import { FRAME_FLAG, FRAME_TYPE, data, head, literals, outcomeOn, raw, RawPeer } from './support/http2-wire.ts'

const RULES = `  - { id: open, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }\n`
/** What is to be smuggled out. */
const WORD = 'w0rd'
const FINGERPRINT = 'hmac:[0-9a-f]{16}'

interface Place {
  /** Origin-form or absolute-form. */
  readonly target: string
  readonly authority: string
}
/** The bytes of one request. */
type Spelled = (place: Place) => string

const sized: Spelled = ({ target, authority }) =>
  `POST ${target} HTTP/1.1\r\nHost: ${authority}\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nhi`
const inChunks =
  (body: string, coding = 'chunked'): Spelled =>
  ({ target, authority }) =>
    `POST ${target} HTTP/1.1\r\nHost: ${authority}\r\nX-A: 1\r\nTransfer-Encoding: ${coding}\r\n\r\n${body}`
const chunked = inChunks('8\r\nfour fiv\r\n0\r\n\r\n')
const withFields =
  (fields: string): Spelled =>
  (place) =>
    sized(place).replace('X-A: 1\r\n', fields)

/** By what is spelled otherwise: two requests of which the origin must not be able to tell which one was sent. */
const SPELLINGS: readonly (readonly [what: string, plain: Spelled, spelled: Spelled])[] = [
  [
    'the case of the host',
    sized,
    ({ target, authority }) => sized({ target, authority: authority.replace('api.allowed', 'aPi.ALLowed') }),
  ],
  [
    'a dot behind the host',
    sized,
    ({ target, authority }) => sized({ target, authority: authority.replace(':', '.:') }),
  ],
  ['the case of the name Host', sized, (place) => sized(place).replace('\r\nHost:', '\r\nhOsT:')],
  [
    'the place of Host',
    sized,
    (place) => sized(place).replace(`Host: ${place.authority}\r\nX-A: 1\r\n`, `X-A: 1\r\nHost: ${place.authority}\r\n`),
  ],
  ['blanks and tabs around values', sized, withFields('X-A:\t \t1  \t\r\n')],
  ['no blank before a value', sized, withFields('X-A:1\r\n')],
  ['an empty line before it', sized, (place) => `\r\n${sized(place)}`],
  ['the version', sized, (place) => sized(place).replace('HTTP/1.1', 'HTTP/1.0')],
  ['zeros before the length', sized, (place) => sized(place).replace('Length: 2', 'Length: 0000002')],
  ['options of the connection', sized, withFields(`X-A: 1\r\nConnection: keep-alive, ${WORD}\r\n${WORD}: ${WORD}\r\n`)],
  ['Keep-Alive', sized, withFields(`X-A: 1\r\nKeep-Alive: ${WORD}=1\r\nProxy-Connection: ${WORD}\r\n`)],
  ['codings that would be taken', sized, withFields(`TE: ${WORD};q=0.5\r\nX-A: 1\r\nTrailer: ${WORD}\r\n`)],
  [
    'a protocol that is not asked for',
    sized,
    withFields(`X-A: 1\r\nUpgrade: ${WORD}/1\r\nHTTP2-Settings: ${WORD}\r\n`),
  ],
  ['the case of an expectation', sized, withFields('X-A: 1\r\nExpect: 100-CONTinue\r\n')],
  ['the sizes of chunks', chunked, inChunks('1\r\nf\r\n3\r\nour\r\n2\r\n f\r\n2\r\niv\r\n0\r\n\r\n')],
  ['extensions of chunks', chunked, inChunks(`8;${WORD}="${WORD}";x\r\nfour fiv\r\n0;${WORD}\r\n\r\n`)],
  ['zeros before the size', chunked, inChunks('0008\r\nfour fiv\r\n0000\r\n\r\n')],
  ['fields behind the body', chunked, inChunks(`8\r\nfour fiv\r\n0\r\n${WORD}: ${WORD}\r\n\r\n`)],
  ['the case of the coding', chunked, inChunks('8\r\nfour fiv\r\n0\r\n\r\n', 'cHuNkEd')],
]

/** Every byte of the request for `path`, as it came to the origin. */
async function received({ origin, open, authority, way }: Bed, path: string, spelled: Spelled): Promise<string> {
  let bytes = ''
  origin.on(path, async (wire, asked) => {
    const coded = asked.head.includes('Transfer-Encoding')
    bytes = asked.head + (coded ? await wire.takeUntil('0\r\n\r\n') : await wire.take(2))
    wire.write(ok('ok'))
  })
  const target = way.door === 'absolute' ? `http://${authority()}${path}` : path
  const wire = await open()
  wire.write(spelled({ target, authority: authority() }))
  let answer = await wire.message()
  while (answer.status < 200) answer = await wire.message()
  wire.socket.destroy()
  expect(answer.status).toBe(200)
  return bytes
}

eachWay(
  EVERY_WAY,
  (bed, way) => {
    it.each(SPELLINGS)('[J04] %s says nothing to the origin', async (what, plain, spelled) => {
      const path = `/spelled/${what.replaceAll(' ', '-')}`
      const one = await received(bed(), path, plain)
      expect(one).toMatch(/^POST .*(?:hi|four fiv\r\n0\r\n\r\n)$/s)
      expect(await received(bed(), path, spelled)).toBe(one)
      expect(one).not.toContain(WORD)
    })

    it.skipIf(way.door !== 'absolute')('[J04] nor does the spelling of an absolute URL', async () => {
      const one = await received(bed(), '/absolute', sized)
      const spelled: Spelled = ({ target, authority }) =>
        sized({ target: target.replace('http://api', 'hTTp://aPi'), authority })
      expect(await received(bed(), '/absolute', spelled)).toBe(one)
    })

    it('[J04] what passes as text stands in the trail: method, path, query, names with their order and case, values', async () => {
      const { ask, authority, decided, origin } = bed()
      const fields: [string, string][] = [
        ['uSER-aGENT', `${WORD}/1 (a covert one)`],
        ['X-b', '1'],
        ['x-A', WORD],
        ['X-b', '0'],
        ['X-Empty', ''],
        ['accept-LANGUAGE', 'w0rd;q=0.123'],
      ]
      const lines = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const path = `/a/${WORD}/%77%30rd/~`
      expect((await ask(`${path}?${WORD}&x=%2e`, { method: 'X-w0rd.!', fields: lines })).status).toBe(200)
      expect(origin.askedFor(path)[0]?.fields).toEqual([['Host', authority()], ...fields])
      expect(await decided(path)).toMatchObject({
        method: 'X-w0rd.!',
        path,
        query: `${WORD}&x=%2e`,
        request_headers: [['Host', authority()], ...fields],
      })
    })

    it('[J04] of cookies and credentials the trail has the names, and the same mark for the same value', async () => {
      const { ask, decided } = bed()
      const marks: (string | undefined)[] = []
      for (const [at, value] of ['0', '1', '0'].entries()) {
        await ask(`/cookie/${at}`, { fields: `Cookie: ${WORD}=${value}${WORD}; b=2\r\n` })
        const { request_headers: fields } = await decided(`/cookie/${at}`)
        const cookie = (fields as [string, string][]).find(([name]) => name === 'Cookie')?.[1] ?? ''
        marks.push(new RegExp(`^${WORD}=(${FINGERPRINT}); b=${FINGERPRINT}$`).exec(cookie)?.[1])
      }
      expect(marks[0]).toBeDefined()
      expect([marks[2], marks[1] === marks[0]]).toEqual([marks[0], false])
    })
  },
  { rules: RULES },
)

eachCell((bed, cell) => {
  it('[J04] how a request is cut into frames of HTTP/2 says nothing to the origin', async () => {
    const { asked, attack } = bed()
    const fields = asked('POST', '/framed', 'x-a', '1')
    const block = literals(fields)
    const sent = async (...frames: Buffer[]): Promise<unknown> => {
      const { got, bytes } = await attack(1, async (peer) => {
        peer.write(...frames)
        expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
      })
      return { got, bytes }
    }
    const plain = await sent(head(1, fields, false), data(1, 'four fiv', true))
    expect(plain).toMatchObject({ got: [{ body: 'four fiv' }] })
    const padding = Buffer.concat([Buffer.of(4), Buffer.from('f'), Buffer.from(WORD)])
    const cut = await sent(
      raw(FRAME_TYPE.HEADERS, 0, 1, block.subarray(0, 7)),
      raw(FRAME_TYPE.CONTINUATION, 0, 1, block.subarray(7, 9)),
      raw(FRAME_TYPE.CONTINUATION, FRAME_FLAG.END_HEADERS, 1, block.subarray(9)),
      raw(FRAME_TYPE.PRIORITY, 0, 1, Buffer.of(0, 0, 0, 0, 0x77)),
      raw(0x77, 0x30, 1, WORD),
      raw(FRAME_TYPE.DATA, FRAME_FLAG.PADDED, 1, padding),
      data(1, ''),
      data(1, 'our'),
      data(1, ' f'),
      data(1, 'iv', true),
    )
    expect(cut).toEqual(plain)
  })

  it.runIf(cell.origin === 'http/1.1')('[J04] nor does the case of what HTTP/2 has in small letters', async () => {
    const { asked, attack, authority } = bed()
    const { bytes } = await attack(1, async (peer) => {
      const fields = asked('GET', '/case').map((value) => (value === authority ? value.replace('api', 'aPi') : value))
      peer.write(head(1, fields))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
    })
    expect(bytes).toBe(`GET /case HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  })
})

/** Sends a body in as many pieces as it has bytes, at once; answers the status. */
async function inFrames(socket: Socket, authority: string): Promise<number> {
  const peer = new RawPeer(socket)
  peer.begin()
  const fields = [':method', 'POST', ':scheme', 'https', ':authority', authority, ':path', '/pieces']
  const pieces = Array.from('four fiv', (text, at) => data(1, text, at === 7))
  peer.write(head(1, fields, false), ...pieces)
  return Number((await outcomeOn(peer, 1)).status)
}

/** The same in HTTP/1.1. */
async function inManyChunks(socket: Socket, authority: string): Promise<number> {
  const wire = new Wire(socket)
  const pieces = Array.from('four fiv', (text) => `1\r\n${text}\r\n`).join('')
  wire.write(`POST /pieces HTTP/1.1\r\nHost: ${authority}\r\nTransfer-Encoding: chunked\r\n\r\n${pieces}0\r\n\r\n`)
  return (await wire.message()).status
}

describe.each(DOORS)('through the door %s', (door) => {
  let root: TestRoot
  beforeAll(() => {
    root = createTestRoot()
  })
  afterAll(() => root.close())

  it.each([
    ['HTTP/2 in pieces', 'h2'],
    ['HTTP/1.1 in chunks', 'http/1.1'],
  ])('[J04] a body that came over %s reaches an origin of HTTP/2 in frames of our own', async (_how, client) => {
    const origin = await startFrameOrigin(root, HOST, async (peer) => {
      peer.settings()
      const { streamId } = await peer.asked()
      await peer.body()
      peer.head(streamId, [':status', '200']).data(streamId, 'ok', true)
    })
    const authority = `${HOST}:${origin.port}`
    const lab = await startLab({
      root,
      rules: RULES.replaceAll('PORT', String(origin.port)),
      names: { [HOST]: ['127.0.0.1'] },
      original: { address: '127.0.0.1', port: origin.port },
    })
    const socket = await openDoor(lab, door, authority, { alpn: [client] })
    expect(await (client === 'h2' ? inFrames : inManyChunks)(socket, authority)).toBe(200)
    socket.destroy()
    const [peer] = origin.peers
    const frames = peer?.seen.filter((type) => type === 'data') ?? []
    await lab.close()
    await origin.close()
    // One for the bytes and, where the end came behind them, one for the end.
    expect(frames.length).toBeLessThanOrEqual(2)
  })

  describe('of the handshake', () => {
    let canary: TlsCanary
    let lab: Lab
    beforeAll(async () => {
      canary = await startTlsCanary()
      canary.secured(HOST, root.issue(HOST), CLOSING)
      lab = await startLab({
        root,
        rules: RULES.replaceAll('PORT', String(canary.port)),
        names: { [HOST]: ['127.0.0.1'] },
        original: { address: '127.0.0.1', port: canary.port },
      })
    })
    afterAll(async () => {
      await lab.close()
      await canary.close()
    })
    beforeEach(() => lab.waitFor('request.completed', lab.recordsOf('request.decided').length))

    const helloFor = async (path: string, servername: string, alpn: string[]): Promise<Buffer> => {
      const authority = `${HOST}:${canary.port}`
      const socket = await openDoor(lab, door, authority, { servername, alpn })
      const wire = new Wire(socket)
      wire.write(`GET ${path} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      expect((await wire.message()).status).toBe(200)
      socket.destroy()
      return canary.hellos(HOST).at(-1) ?? Buffer.alloc(0)
    }

    it('[J04] the protocols a client offers and the case of its SNI stay here; the trail has its SNI', async () => {
      const said = (bytes: Buffer): Hello => parseHello(bytes)
      const plain = said(await helloFor('/hello/plain', HOST, ['http/1.1']))
      expect(plain).toMatchObject({ kind: 'hello', sni: HOST })
      const spelled = await helloFor('/hello/spelled', 'aPI.allOWED.tESt', [WORD, 'http/1.1', 'x-exfil'])
      expect(said(spelled)).toEqual(plain)
      expect(spelled.toString('latin1')).not.toMatch(/w0rd|x-exfil|aPI/)
      expect(canary.hellos(HOST)).toHaveLength(2)
      const sni = lab.recordsOf('request.decided').map((record) => [record['path'], record['sni'], record['host']])
      expect(sni).toContainEqual(['/hello/spelled', 'aPI.allOWED.tESt', HOST])
    })

    it('[J04] an offer of nothing but words ends the handshake, and no origin hears of it', async () => {
      const before = canary.hellos(HOST).length
      await expect(openDoor(lab, door, `${HOST}:${canary.port}`, { alpn: [WORD] })).rejects.toThrow(/alert|protocol/i)
      const [rejected] = await lab.waitFor('tls.rejected', 1)
      expect(rejected).toMatchObject({ cause: 'no_application_protocol', sni: HOST })
      expect(canary.hellos(HOST)).toHaveLength(before)
    })
  })
})

it('[J04] the threat model names what is left', () => {
  const text = readFileSync(new URL('../../SECURITY.md', import.meta.url), 'utf8').replaceAll(/\s+/g, ' ')
  const [, left = ''] = /- Covert channels in ([^]*?) - /.exec(text) ?? []
  for (const word of ['timing', 'order', 'size', 'case', 'number', '`audit: headers`', 'version of HTTP']) {
    expect(left).toContain(word)
  }
})
