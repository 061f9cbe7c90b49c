import { Buffer } from 'node:buffer'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type ConnectionOptions, connect } from 'node:tls'
import * as fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { type Hello, MAX_HELLO_BYTES, parseHello } from '../../src/core/hello.ts'

/** A big-endian number of `width` bytes. */
const uint = (width: number, value: number): Buffer => {
  const bytes = Buffer.alloc(width)
  bytes.writeUIntBE(value, 0, width)
  return bytes
}
const vector = (width: number, ...parts: (Buffer | string)[]): Buffer => {
  const body = Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)))
  return Buffer.concat([uint(width, body.length), body])
}
const record = (fragment: Buffer, version = 0x0301): Buffer =>
  Buffer.concat([uint(1, 0x16), uint(2, version), vector(2, fragment)])
const extension = (type: number, data: Buffer): Buffer => Buffer.concat([uint(2, type), vector(2, data)])
const hostName = (name: string): Buffer => Buffer.concat([uint(1, 0), vector(2, name)])
const serverName = (name: string): Buffer => extension(0, vector(2, hostName(name)))

interface Parts {
  version?: number
  sessionId?: Buffer
  suites?: Buffer
  compression?: Buffer
  extensions?: Buffer[]
  tail?: Buffer
}

const body = (parts: Parts): Buffer =>
  Buffer.concat([
    uint(2, parts.version ?? 0x0303),
    Buffer.alloc(32, 7),
    vector(1, parts.sessionId ?? Buffer.alloc(32)),
    vector(2, parts.suites ?? uint(2, 0x1301)),
    vector(1, parts.compression ?? uint(1, 0)),
    parts.extensions === undefined ? Buffer.alloc(0) : vector(2, ...parts.extensions),
    parts.tail ?? Buffer.alloc(0),
  ])
const message = (content: Buffer): Buffer => Buffer.concat([uint(1, 1), vector(3, content)])
const made = (parts: Parts): Buffer => record(message(body(parts)))

/** The first flight of a real client, read by a server that never answers. */
const capture = async (options: ConnectionOptions): Promise<Buffer> => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect({ ...options, host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  client.on('error', () => undefined)
  const [socket] = (await once(server, 'connection')) as [Socket]
  const chunks: Buffer[] = []
  for await (const chunk of socket) {
    chunks.push(chunk as Buffer)
    if (parseHello(Buffer.concat(chunks)).kind !== 'more') break
  }
  client.destroy()
  server.close()
  return Buffer.concat(chunks)
}

/** The same handshake message in records of the given sizes, over and over. */
const resplit = (bytes: Buffer, sizes: readonly number[]): Buffer => {
  const handshake = bytes.subarray(5)
  const records: Buffer[] = []
  for (let at = 0; at < handshake.length; ) {
    const size = sizes[records.length % sizes.length] as number
    records.push(record(handshake.subarray(at, at + size)))
    at += size
  }
  return Buffer.concat(records)
}

const captured = new Map<string, Buffer>()
const bytesOf = (name: string): Buffer => captured.get(name) as Buffer

beforeAll(async () => {
  const common = { servername: 'api.github.com', ALPNProtocols: ['h2', 'http/1.1'] }
  captured.set('TLS 1.3', await capture(common))
  captured.set('TLS 1.2 only', await capture({ ...common, maxVersion: 'TLSv1.2' }))
  captured.set('no SNI and no ALPN', await capture({ servername: '' }))
  captured.set('upper-case SNI', await capture({ ...common, servername: 'API.GitHub.com.' }))
  captured.set('path-like SNI', await capture({ ...common, servername: '../../etc/passwd' }))
})

describe('a hello of a real client', () => {
  it.each<[string, { sni: string | null; alpn: string[]; supportedVersions: number[] }]>([
    ['TLS 1.3', { sni: 'api.github.com', alpn: ['h2', 'http/1.1'], supportedVersions: [0x0304, 0x0303] }],
    ['TLS 1.2 only', { sni: 'api.github.com', alpn: ['h2', 'http/1.1'], supportedVersions: [] }],
    ['no SNI and no ALPN', { sni: null, alpn: [], supportedVersions: [0x0304, 0x0303] }],
    ['upper-case SNI', { sni: 'API.GitHub.com.', alpn: ['h2', 'http/1.1'], supportedVersions: [0x0304, 0x0303] }],
    ['path-like SNI', { sni: '../../etc/passwd', alpn: ['h2', 'http/1.1'], supportedVersions: [0x0304, 0x0303] }],
  ])('%s', (name, expected) => {
    expect(parseHello(bytesOf(name))).toEqual({ kind: 'hello', ech: false, ...expected })
  })

  it('is more for every prefix, and the same with anything behind it [H10]', () => {
    for (const bytes of captured.values()) {
      for (let length = 0; length < bytes.length; length += 1) {
        expect(parseHello(bytes.subarray(0, length)).kind).toBe('more')
      }
      const followed = Buffer.concat([bytes, Buffer.from('170303000100', 'hex')])
      expect(parseHello(followed)).toEqual(parseHello(bytes))
    }
  })

  it('is the same in any split into TLS records, and more before each end [H10]', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...captured.values()),
        fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 5 }),
        fc.nat(),
        (bytes, sizes, cut) => {
          const split = resplit(bytes, sizes)
          expect(parseHello(split)).toEqual(parseHello(bytes))
          expect(parseHello(split.subarray(0, cut % split.length)).kind).toBe('more')
        },
      ),
    )
  })

  it('is the same one byte to a record', () => {
    const bytes = bytesOf('TLS 1.3')
    expect(parseHello(resplit(bytes, [1]))).toEqual(parseHello(bytes))
  })

  it('never throws when bytes are changed, and never takes back an answer', () => {
    const change = fc.tuple(fc.nat(), fc.nat({ max: 255 }))
    fc.assert(
      fc.property(
        fc.constantFrom(...captured.values()),
        fc.array(change, { minLength: 1, maxLength: 4 }),
        fc.nat(),
        (bytes, changes, cut) => {
          const mutated = Buffer.from(bytes)
          for (const [at, value] of changes) mutated[at % mutated.length] = value
          const early = parseHello(mutated.subarray(0, cut % mutated.length))
          const whole = parseHello(mutated)
          expect(['more', 'bad', 'hello']).toContain(whole.kind)
          expect(early.kind === 'more' ? whole : early).toEqual(whole)
        },
      ),
      { numRuns: 1000 },
    )
  })

  it('never throws on arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
        const inRecord = record(Buffer.concat([uint(1, 1), vector(3, Buffer.from(tail))]))
        expect(['bad', 'hello']).toContain(parseHello(inRecord).kind)
        expect(['more', 'bad']).toContain(parseHello(tail).kind)
      }),
    )
  })
})

describe('what a hello says', () => {
  const ok = (hello: Partial<Extract<Hello, { kind: 'hello' }>>): Hello => ({
    kind: 'hello',
    sni: null,
    alpn: [],
    ech: false,
    supportedVersions: [],
    ...hello,
  })
  const grease = extension(0x0a0a, Buffer.alloc(0))

  it.each<[string, Buffer, Hello]>([
    ['nothing, without extensions (TLS 1.2)', made({}), ok({})],
    ['nothing, with an empty extension block', made({ extensions: [] }), ok({})],
    ['a name, bytes beyond ASCII as latin1', made({ extensions: [serverName('a\xff\n')] }), ok({ sni: 'a\xff\n' })],
    ['an empty session id', made({ sessionId: Buffer.alloc(0), extensions: [serverName('a')] }), ok({ sni: 'a' })],
    [
      'that ECH is offered, with its outer name [H09]',
      made({ extensions: [serverName('cloudflare-ech.com'), extension(0xfe0d, Buffer.alloc(120))] }),
      ok({ sni: 'cloudflare-ech.com', ech: true }),
    ],
    [
      'no GREASE, in extensions, protocols and versions',
      made({
        extensions: [
          grease,
          extension(16, vector(2, vector(1, '\x1a\x1a'), vector(1, 'h2'))),
          extension(43, vector(1, uint(2, 0xfafa), uint(2, 0x0304), uint(2, 0x0a1a))),
          extension(0x1a1a, uint(1, 0)),
        ],
      }),
      ok({ alpn: ['h2'], supportedVersions: [0x0304, 0x0a1a] }),
    ],
    [
      'a name behind post-quantum key shares',
      made({ extensions: [extension(51, Buffer.alloc(1300)), serverName('a.test')] }),
      ok({ sni: 'a.test' }),
    ],
  ])('%s', (_what, bytes, expected) => {
    expect(parseHello(bytes)).toEqual(expected)
  })

  it.each([0x0300, 0x0301, 0x0302, 0x0303, 0x0304])('in a record of version %i', (version) => {
    expect(parseHello(record(message(body({})), version)).kind).toBe('hello')
  })
})

describe('what is no hello is bad', () => {
  const two = vector(2, hostName('a.test'), hostName('b.test'))
  it.each<[string, Buffer]>([
    ['an SSLv2 hello [H05]', Buffer.from('802e0100020015', 'hex')],
    ['an HTTP request', Buffer.from('G')],
    ['an SSH banner', Buffer.from('SSH-2.0-x\r\n')],
    ['an alert record', Buffer.from('15', 'hex')],
    ['a record of major version 2', Buffer.from('1602', 'hex')],
    ['a record of minor version 5', Buffer.from('160305', 'hex')],
    ['a record over 2^14 by its first length byte', Buffer.from('16030141', 'hex')],
    ['a record over 2^14 by one', Buffer.from('1603014001', 'hex')],
    ['an empty record', Buffer.from('1603010000', 'hex')],
    ['an empty record after a part of the hello', Buffer.concat([record(Buffer.from([1])), record(Buffer.alloc(0))])],
    ['another record type after a part of the hello', Buffer.concat([record(Buffer.from([1])), Buffer.from([0x17])])],
    ['a ServerHello', Buffer.from('160301000402', 'hex')],
    ['a length of 2^16 by its first byte', Buffer.from('16030100040101', 'hex')],
    ['a length over the limit', Buffer.from('1603013fff01003ff8', 'hex')],
    ['a record that goes on behind the hello', Buffer.from('16030100050100000058', 'hex')],
    ['a second hello in the same record', record(Buffer.concat([message(body({})), message(body({}))]))],
    [
      'a record that announces more than the hello',
      record(Buffer.concat([message(body({})), uint(1, 0)])).subarray(0, -1),
    ],
    ['an empty body', record(message(Buffer.alloc(0)))],
    ['a legacy version of 2.255', made({ version: 0x02ff })],
    ['a legacy version of 3.4', made({ version: 0x0304 })],
    ['a session id of 33 bytes', made({ sessionId: Buffer.alloc(33) })],
    ['no cipher suite', made({ suites: Buffer.alloc(0) })],
    ['half a cipher suite', made({ suites: Buffer.alloc(3) })],
    ['no compression method', made({ compression: Buffer.alloc(0) })],
    ['one byte behind the compression methods', made({ tail: Buffer.alloc(1) })],
    ['one byte behind the extensions', made({ extensions: [], tail: Buffer.alloc(1) })],
    ['extensions shorter than they say', made({ tail: Buffer.from([0, 9, 0]) })],
    ['an extension that is cut off', made({ extensions: [Buffer.from([0, 1, 0, 9])] })],
    ['one name twice', made({ extensions: [serverName('a.test'), serverName('b.test')] })],
    ['an unknown extension twice', made({ extensions: [extension(999, uint(1, 0)), extension(999, uint(1, 0))] })],
    ['two names in one list', made({ extensions: [extension(0, two)] })],
    ['an empty name', made({ extensions: [serverName('')] })],
    ['an empty list of names', made({ extensions: [extension(0, uint(2, 0))] })],
    ['an empty server_name', made({ extensions: [extension(0, Buffer.alloc(0))] })],
    ['a name of unknown type', made({ extensions: [extension(0, vector(2, uint(1, 1), vector(2, 'a.test')))] })],
    [
      'bytes behind the list of names',
      made({ extensions: [extension(0, Buffer.concat([vector(2, hostName('a')), uint(1, 0)]))] }),
    ],
    ['an empty list of protocols', made({ extensions: [extension(16, uint(2, 0))] })],
    ['an empty protocol', made({ extensions: [extension(16, vector(2, vector(1, ''), vector(1, 'h2')))] })],
    ['a protocol that is cut off', made({ extensions: [extension(16, vector(2, '\x05h2'))] })],
    [
      'bytes behind the list of protocols',
      made({ extensions: [extension(16, Buffer.concat([vector(2, '\x02h2'), uint(1, 0)]))] }),
    ],
    ['an empty list of versions', made({ extensions: [extension(43, uint(1, 0))] })],
    ['half a version', made({ extensions: [extension(43, vector(1, '\x03\x04\x03'))] })],
    [
      'bytes behind the list of versions',
      made({ extensions: [extension(43, Buffer.concat([vector(1, '\x03\x04'), uint(1, 0)]))] }),
    ],
  ])('%s', (_what, bytes) => {
    expect(parseHello(bytes)).toEqual({ kind: 'bad', why: expect.any(String) as string })
  })
})

describe('the limit', () => {
  const padded = (total: number): Buffer => {
    const empty = made({ extensions: [extension(21, Buffer.alloc(0))] }).length
    return made({ extensions: [extension(21, Buffer.alloc(total - empty))] })
  }

  it('takes a hello that fills it, and refuses one byte more at its header', () => {
    expect(padded(MAX_HELLO_BYTES)).toHaveLength(MAX_HELLO_BYTES)
    expect(parseHello(padded(MAX_HELLO_BYTES)).kind).toBe('hello')
    expect(parseHello(padded(MAX_HELLO_BYTES).subarray(0, -1)).kind).toBe('more')
    expect(parseHello(padded(MAX_HELLO_BYTES + 1).subarray(0, 9)).kind).toBe('bad')
  })

  it('counts the headers of many records', () => {
    const split = resplit(padded(4000), [1])
    expect(split.length).toBeGreaterThan(MAX_HELLO_BYTES)
    expect(parseHello(split.subarray(0, MAX_HELLO_BYTES - 1)).kind).toBe('more')
    expect(parseHello(split.subarray(0, MAX_HELLO_BYTES)).kind).toBe('bad')
    expect(parseHello(split).kind).toBe('bad')
  })
})
