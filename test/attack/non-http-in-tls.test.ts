// A handshake in order, and then something else than HTTP in it: inspection ends there, and so does the connection.

import { expect, it } from 'vitest'
import { clientHello } from '../support/client-hello.ts'
import { eachWay, refusedWith, outcomeOf, TLS_WAYS } from './support/foreign.ts'

const ROWS: [string, string | Buffer, string][] = [
  ['SSH', 'SSH-2.0-OpenSSH_9.6\r\n', 'SSH_BANNER'],
  ['OpenVPN', Buffer.from('000e38112233445566778800 00000000'.replace(' ', ''), 'hex'), 'OPENVPN_RESET'],
  ['WireGuard in TCP', Buffer.concat([Buffer.from('01000000', 'hex'), Buffer.alloc(144, 7)]), 'WIREGUARD_HANDSHAKE'],
  ['DNS over TLS', Buffer.from('001d123401000001000000000000076578616d706c6503636f6d0000010001', 'hex'), 'DNS_QUERY'],
  ['MQTT', Buffer.from('101000044d5154540402003c000474657374', 'hex'), 'MQTT_CONNECT'],
  ['AMQP', 'AMQP\0\0\x09\x01', 'AMQP_HEADER'],
  ['SMTP over TLS', 'EHLO mail.example\r\n', 'SMTP_COMMAND'],
  ['a second TLS handshake', clientHello({ name: 'evil.test' }), 'TLS_CLIENT_HELLO'],
  ['PROXY protocol', 'PROXY TCP4 10.0.0.1 10.0.0.2 40000 443\r\n', 'PROXY_PROTOCOL'],
  ['noise', Buffer.alloc(4_096, 0xa5), 'BAD_METHOD'],
]

eachWay(TLS_WAYS, (bed) => {
  it.each(ROWS)('[G02] %s is 400', async (_name, bytes, code) => {
    const outcome = await outcomeOf(bed(), (wire) => wire.write(bytes))
    expect(outcome).toMatchObject(refusedWith(code))
    expect(outcome.decided).toMatchObject([{ scheme: 'https', host: 'api.allowed.test', method: null, path: null }])
  })

  it('[G02] half of a head, and then noise', async () => {
    const outcome = await outcomeOf(bed(), (wire) =>
      wire.write(`${bed().request('/half').slice(0, -2)}\0\x01\x02noise\r\n\r\n`),
    )
    expect(outcome).toMatchObject(refusedWith('BAD_NAME'))
    expect(outcome.malformed[0]?.['request_line']).toBe('GET /half HTTP/1.1')
  })
})
