// Bytes of no protocol that is served, right behind a connect: closed and recorded once, and not a byte of them is passed on.

import { expect, it } from 'vitest'
import { tcp } from '../support/clients.ts'
import { Wire } from '../support/wire.ts'
import { EVERY_WAY, eachWay, refusedWith, outcomeOf, PLAIN_WAYS } from './support/foreign.ts'

const ROWS: [string, string | Buffer, string][] = [
  ['a word', 'CANARY\r\n', 'TEXT_LINE'],
  ['a word and a bare line feed', 'CANARY\n', 'TEXT_LINE'],
  ['a NUL', '\0', 'BAD_METHOD'],
  ['64 KiB of noise', Buffer.alloc(65_536, 0xa5), 'BAD_METHOD'],
  ['HTTP/0.9', 'GET /index.html\r\n', 'HTTP_09'],
  ['an answer where a request belongs', 'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'BAD_METHOD'],
  ['JSON-RPC without HTTP', '{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n', 'JSON_TEXT'],
  ['Redis', '*1\r\n$4\r\nPING\r\n', 'REDIS_COMMAND'],
  ['BitTorrent', '\x13BitTorrent protocol\0\0\0\0\0\0\0\0', 'BITTORRENT_HANDSHAKE'],
  ['AMQP', 'AMQP\0\0\x09\x01', 'AMQP_HEADER'],
  ['an SSLv2 hello', Buffer.from('802e0103030015000000100100800700c0', 'hex'), 'SSLV2_HELLO'],
  ['RDP', Buffer.from('030000130ee000000000000100080000000000', 'hex'), 'RDP_CONNECTION_REQUEST'],
  ['MQTT', Buffer.from('101000044d5154540402003c000474657374', 'hex'), 'MQTT_CONNECT'],
  ['DNS over TCP', Buffer.from('001d12340100000100000000000007', 'hex'), 'DNS_QUERY'],
]

eachWay(EVERY_WAY, (bed) => {
  it.each(ROWS)('[G01] %s is 400', async (_name, bytes, code) => {
    expect(await outcomeOf(bed(), (wire) => wire.write(bytes))).toMatchObject(refusedWith(code))
  })

  it('[G01] the bytes themselves are not in the trail, only their length and fingerprint', async () => {
    const secret = 'CANARY-b6d1f0c2-c4d9\r\n'
    const { malformed } = await outcomeOf(bed(), (wire) => wire.write(secret))
    expect(malformed).toMatchObject([{ length: secret.length, request_line: null, headers: [] }])
    expect(JSON.stringify(bed().lab.records())).not.toContain('b6d1f0c2')
  })

  it('[G01] the beginning of a line, and then the end of the connection', async () => {
    const outcome = await outcomeOf(bed(), (wire) => wire.socket.end('CANARY'))
    expect(outcome.malformed).toMatchObject([{ code: 'TRUNCATED_HEAD', length: 6 }])
  })
})

eachWay(PLAIN_WAYS, (bed) => {
  it('[G01] what begins like TLS and is none gets an alert, or where only HTTP is spoken a 400', async () => {
    const { way } = bed()
    const outcome = await outcomeOf(bed(), (wire) => wire.write(Buffer.from('1603ff0000', 'hex')))
    const [code, said] =
      way.door === 'absolute'
        ? ['TLS_CLIENT_HELLO', /^HTTP\/1\.1 400 /]
        : ['not a TLS handshake record', /^\x15\x03\x03\x00\x02\x02\x32$/]
    expect(outcome.said).toMatch(said)
    expect(outcome.malformed).toMatchObject([{ code }])
  })

  it('[G01] noise behind a request that was answered', async () => {
    const { open, request, lab } = bed()
    const before = lab.recordsOf('request.malformed').length
    const wire = await open()
    wire.write(`${request('/before-noise')}SSH-2.0-canary\r\n`)
    expect((await wire.message()).body).toBe('ok')
    expect((await wire.message()).status).toBe(400)
    expect(await wire.closed()).toBe('end')
    wire.socket.destroy()
    const malformed = await lab.waitFor('request.malformed', before + 1)
    expect(malformed.slice(before)).toMatchObject([{ code: 'SSH_BANNER' }])
  })
})

eachWay([{ door: 'transparent', tls: false }], (bed) => {
  it('[G01] the same at the door of a gateway', async () => {
    const gateway = { ...bed(), open: async () => new Wire(await tcp(bed().lab.gatewayPort)) }
    expect(await outcomeOf(gateway, (wire) => wire.write('CANARY\r\n'))).toMatchObject(refusedWith('TEXT_LINE'))
  })
})
