import { readFileSync } from 'node:fs'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { foreignProtocol } from '../../src/core/foreign-protocol.ts'
import { parseRequestHead } from '../../src/core/http1.ts'

/** Spaces are for the eye. */
const hex = (digits: string): Buffer => Buffer.from(digits.replaceAll(' ', ''), 'hex')
const text = (written: string): Buffer => Buffer.from(written, 'latin1')

const KNOWN: [string, Buffer, string][] = [
  ['[G02] the banner of an SSH client', text('SSH-2.0-OpenSSH_9.6\r\n'), 'SSH_BANNER'],
  ['[G14] SOCKS5 without authentication', hex('05 01 00'), 'SOCKS5_GREETING'],
  ['[G14] SOCKS5 with a request right behind it', text('\x05\x01\0GET / HTTP/1.1\r\n\r\n'), 'SOCKS5_GREETING'],
  ['[G14] SOCKS5 with two methods', hex('05 02 00 02'), 'SOCKS5_GREETING'],
  ['[G14] SOCKS4 to an address', hex('04 01 01bb 5db8d822 726f6f74 00'), 'SOCKS4_REQUEST'],
  ['[G14] SOCKS4 BIND', hex('04 02 01bb 5db8d822 00'), 'SOCKS4_REQUEST'],
  ['[G14] SOCKS4a to a name', hex('04 01 01bb 00000001 00 6576696c2e74657374 00'), 'SOCKS4A_REQUEST'],
  ['[P16] HTTP/2 with prior knowledge', text('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), 'H2C_PRIOR_KNOWLEDGE'],
  ['as much of its preface as shows the version', text('PRI * HTTP/2'), 'H2C_PRIOR_KNOWLEDGE'],
  ['a TLS ClientHello', hex('16 0301 0200 01'), 'TLS_CLIENT_HELLO'],
  ['an SSLv2 hello that offers SSLv2', hex('80 2e 01 0002 0015 0000 0010'), 'SSLV2_HELLO'],
  ['[P28] an SSLv2 hello that offers TLS 1.2', hex('80 2e 01 0303 0015 0000 0010'), 'SSLV2_HELLO'],
  ['[P33] a Postgres client that asks for TLS', hex('00000008 04d2162f'), 'POSTGRES_SSL_REQUEST'],
  ['a Postgres client that asks for Kerberos', hex('00000008 04d21630'), 'POSTGRES_GSS_REQUEST'],
  ['a Postgres client that cancels', hex('00000010 04d2162e 00000001 00000002'), 'POSTGRES_CANCEL'],
  ['a Postgres client without TLS', hex('00000029 00030000 7573657200'), 'POSTGRES_STARTUP'],
  ['RDP', hex('0300 0013 0e e0 0000 0000 00 01000800 0b000000'), 'RDP_CONNECTION_REQUEST'],
  ['AMQP', text('AMQP\0\0\x09\x01'), 'AMQP_HEADER'],
  ['BitTorrent', text('\x13BitTorrent protocol\0\0\0\0'), 'BITTORRENT_HANDSHAKE'],
  ['SMB1', hex('00 000054 ff534d42 72'), 'SMB_NEGOTIATE'],
  ['SMB2', hex('00 000054 fe534d42 40'), 'SMB_NEGOTIATE'],
  ['SQL Server', hex('12 01 002f 0000 0100'), 'TDS_PRELOGIN'],
  ['MongoDB', hex('3f000000 01000000 00000000 d4070000'), 'MONGODB_MESSAGE'],
  ['MongoDB, new', hex('3f000000 01000000 00000000 dd070000'), 'MONGODB_MESSAGE'],
  ['MQTT 3.1.1', hex('10 10 0004 4d515454 04 02'), 'MQTT_CONNECT'],
  ['MQTT 3.1', hex('10 12 0006 4d5149736470 03 02'), 'MQTT_CONNECT'],
  ['MQTT of which the length takes two bytes', hex('10 8001 0004 4d515454 04 02'), 'MQTT_CONNECT'],
  ['DNS over TCP', hex('001d 1234 0100 0001 0000 0000 0000 07 6578616d706c6503636f6d00 0001 0001'), 'DNS_QUERY'],
  ['WireGuard in TCP', Buffer.concat([hex('01000000'), Buffer.alloc(144, 7)]), 'WIREGUARD_HANDSHAKE'],
  ['OpenVPN', hex('000e 38 1122334455667788 00 00000000'), 'OPENVPN_RESET'],
  ['OpenVPN with a wrapped key', hex('000e 50 1122334455667788 00 00000000'), 'OPENVPN_RESET'],
  ['an LDAP bind', hex('30 0c 02 01 01 60 07 02 01 03 04 00 80 00'), 'LDAP_REQUEST'],
  ['an LDAP search with a long length', hex('30 84 00000020 02 01 01 63 00'), 'LDAP_REQUEST'],
  ['[P33] LDAP StartTLS', hex('30 1d 02 01 01 77 18'), 'LDAP_REQUEST'],
  ['Telnet', hex('ff fd 03 ff fb 18'), 'TELNET_NEGOTIATION'],
  ['git', text('0033git-upload-pack /project.git\0host=example.com\0'), 'GIT_REQUEST'],
  ['a Redis array', text('*1\r\n$4\r\nPING\r\n'), 'REDIS_COMMAND'],
  ['a Redis array of ten', text('*10\r\n$3\r\nSET\r\n'), 'REDIS_COMMAND'],
  ['a Redis command on a line', text('PING\r\n'), 'REDIS_COMMAND'],
  ['JSON-RPC on a socket', text('{"jsonrpc":"2.0","id":1,"method":"tools/call"}\n'), 'JSON_TEXT'],
  ['a batch of it', text('[{"jsonrpc":"2.0"}]\n'), 'JSON_TEXT'],
  ['PROXY protocol 1', text('PROXY TCP4 10.0.0.1 10.0.0.2 40000 443\r\n'), 'PROXY_PROTOCOL'],
  ['PROXY protocol 2', hex('0d0a0d0a000d0a515549540a 21 11 000c'), 'PROXY_PROTOCOL'],
  ['SMTP', text('EHLO mail.example\r\n'), 'SMTP_COMMAND'],
  ['SMTP of old', text('helo mail.example\r\n'), 'SMTP_COMMAND'],
  ['LMTP', text('LHLO mail.example\r\n'), 'SMTP_COMMAND'],
  ['SMTP further on', text('MAIL FROM:<a@b.example>\r\n'), 'SMTP_COMMAND'],
  ['SMTP further on still', text('RCPT TO:<a@b.example>\n'), 'SMTP_COMMAND'],
  ['[P33] STARTTLS of SMTP', text('STARTTLS\r\n'), 'STARTTLS'],
  ['[P33] STLS of POP3', text('STLS\r\n'), 'STARTTLS'],
  ['[P33] STARTTLS of IMAP', text('a001 STARTTLS\r\n'), 'STARTTLS'],
  ['[P33] AUTH TLS of FTP', text('AUTH TLS\r\n'), 'STARTTLS'],
  ['IMAP', text('a001 LOGIN me secret\r\n'), 'IMAP_COMMAND'],
  ['POP3', text('CAPA\r\n'), 'POP3_COMMAND'],
  ['POP3 with a digest', text('APOP me c4c9334bac560ecc979e58001b3e22fb\r\n'), 'POP3_COMMAND'],
  ['what FTP and POP3 say alike', text('USER anonymous\r\n'), 'FTP_OR_POP3_COMMAND'],
  ['... and then', text('PASS secret\r\n'), 'FTP_OR_POP3_COMMAND'],
  ['[G01] a word', text('CANARY\r\n'), 'TEXT_LINE'],
  ['[G01] a word with a bare line feed', text('CANARY\nGET / HTTP/1.1\r\n'), 'TEXT_LINE'],
]

describe('a protocol by its first bytes', () => {
  it.each(KNOWN)('%s', (_name, bytes, code) => {
    expect(foreignProtocol(bytes)).toBe(code)
  })

  it('is explained, code by code, in docs/refusals.md', () => {
    const page = readFileSync('docs/refusals.md', 'utf8')
    const codes = [...new Set(KNOWN.map(([, , code]) => code))]
    expect(codes.filter((code) => !page.includes(`\`${code}\``))).toEqual([])
  })

  // OpenVPN carries its length: what is longer is something else.
  it.each(KNOWN.filter(([, , code]) => code !== 'OPENVPN_RESET'))('%s, whatever follows', (_name, bytes, code) => {
    expect(foreignProtocol(Buffer.concat([bytes, Buffer.alloc(2_000, 'x')]))).toBe(code)
  })
})

describe('no name for', () => {
  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['a NUL', hex('00')],
    ['the first byte of SOCKS5', hex('05')],
    ['SOCKS5 with no method', hex('05 00 00')],
    ['the first bytes of SOCKS4', hex('04 01 01bb 5db8d822')],
    ['SOCKS4 without the end of the name', hex('04 01 01bb 5db8d822 726f6f74')],
    ['a SOCKS4 command that is none', hex('04 03 01bb 5db8d822 00')],
    ['a byte over 0x7f', hex('80')],
    ['an SSLv2 hello of version 9', hex('80 2e 01 0909 0015 0000 0010')],
    ['another SSLv2 message', hex('80 2e 02 0002 0015 0000 0010')],
    ['DNS that is cut off', hex('001d 1234 0100 0001 0000 0000 0000')],
    ['DNS of twelve bytes', hex('000c 1234 0100 0001 0000 0000 0000 00')],
    ['a DNS answer', hex('001d 1234 8180 0001 0000 0000 0000 07 65')],
    ['a DNS question that failed', hex('001d 1234 0103 0001 0000 0000 0000 07 65')],
    ['two DNS questions', hex('001d 1234 0100 0002 0000 0000 0000 07 65')],
    ['a DNS question with an answer', hex('001d 1234 0100 0001 0001 0000 0000 07 65')],
    ['a DNS name that is compressed', hex('001d 1234 0100 0001 0000 0000 0000 c0 0c')],
    ['an OpenVPN reset with more behind it', hex('000e 38 1122334455667788 00 0000000000')],
    ['OpenVPN data', hex('000e 30 1122334455667788 00 00000000')],
    ['another MQTT message', hex('10 10 0004 4d514d51 04 02')],
    ['another LDAP message', hex('30 0c 02 01 01 42 00')],
    ['a BER sequence of something else', hex('30 0c 04 01 01 60 00')],
    ['a message id of two bytes', hex('30 0c 02 02 01 60 00')],
    ['a short WireGuard handshake', Buffer.concat([hex('01000000'), Buffer.alloc(100, 7)])],
    ['a Telnet escape', hex('ff ff')],
    ['a line that has not ended', text('CANARY')],
    ['a word that is not ASCII', text('CAN\xc4RY\r\n')],
    ['two words', text('CANARY CANARY\r\n')],
    ['a method alone', text('GET\r\n')],
    ['HTTP/0.9', text('GET /index.html\r\n')],
    ['an HTTP method with an IMAP word', text('GET LOGIN\r\n')],
    ['an HTTP/1.1 request with a broken field', text('GET / HTTP/1.1\r\nHost : x\r\n\r\n')],
    ['an HTTP/1.0 request with a strange method', text('EHLO / HTTP/1.0\nHost: x\r\n\r\n')],
    ['an HTTP/1.1 request with a method like a banner', text('SSH-2.0 / HTTP/1.1\r\nHost : x\r\n\r\n')],
    ['an HTTP version that does not exist', text('GET / HTTP/3.0\r\n\r\n')],
    ['an empty line', text('\r\n')],
  ])('%s', (_name, bytes) => {
    expect(foreignProtocol(bytes)).toBeNull()
  })

  it('bytes that our reader takes for a request, or for the beginning of one whose line has ended', () => {
    const method = fc.constantFrom('GET', 'SSH-2.0', 'AMQP', 'EHLO', 'PRI', 'PING', 'a001', '0033git-upload-pack')
    const target = fc.constantFrom('/', '*', 'LOGIN', 'STARTTLS', 'http://a.example/')
    const version = fc.constantFrom('1.0', '1.1')
    const rest = fc.string({ maxLength: 40 })
    fc.assert(
      fc.property(method, target, version, rest, (...[verb, path, digits, more]) => {
        const bytes = text(`${verb} ${path} HTTP/${digits}\r\n${more}`)
        expect(foreignProtocol(bytes)).toBeNull()
      }),
      { numRuns: 500 },
    )
  })
})

it('never names what is a request, and never throws', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
      const buffer = Buffer.from(bytes)
      const named = foreignProtocol(buffer)
      expect(named === null || parseRequestHead(buffer).kind !== 'head').toBe(true)
    }),
    { numRuns: 2_000 },
  )
})

it.each(KNOWN)('%s: our reader refuses it, or waits for more', (_name, bytes) => {
  expect(parseRequestHead(bytes).kind).not.toBe('head')
})
