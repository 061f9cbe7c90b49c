// Protocols that begin in the clear and change to TLS: the beginning is refused, so the change never comes.

import { expect, it } from 'vitest'
import { clientHello } from '../support/client-hello.ts'
import { EVERY_WAY, eachWay, refusedWith, outcomeOf } from './support/foreign.ts'

const ROWS: [string, string | Buffer, string][] = [
  ['SMTP', 'EHLO mail.example\r\n', 'SMTP_COMMAND'],
  ['STARTTLS of SMTP, at once', 'STARTTLS\r\n', 'STARTTLS'],
  ['IMAP', 'a001 STARTTLS\r\n', 'STARTTLS'],
  ['POP3', 'STLS\r\n', 'STARTTLS'],
  ['FTP', 'AUTH TLS\r\n', 'STARTTLS'],
  ['Postgres', Buffer.from('0000000804d2162f', 'hex'), 'POSTGRES_SSL_REQUEST'],
  [
    'Postgres that does not ask',
    Buffer.from('0000002900030000757365720061006461746162617365006200', 'hex'),
    'POSTGRES_STARTUP',
  ],
  ['LDAP', Buffer.from('301d02010177188016312e332e362e312e342e312e313436362e3230303337', 'hex'), 'LDAP_REQUEST'],
  ['SQL Server', Buffer.from('1201002f0000010000001a00060100200001', 'hex'), 'TDS_PRELOGIN'],
]
const CLIENT_HELLO = clientHello({ name: 'api.allowed.test' })

eachWay(EVERY_WAY, (bed) => {
  it.each(ROWS)('[P33] %s is 400, and the ClientHello behind it is not answered', async (_name, begin, code) => {
    const outcome = await outcomeOf(bed(), (wire) => {
      wire.write(begin)
      wire.write(CLIENT_HELLO)
    })
    expect(outcome).toMatchObject(refusedWith(code))
    expect(outcome.said).not.toContain('\x16\x03')
  })

  it('[G02] TLS in the clear text of another protocol, and TLS in TLS', async () => {
    const { lab, request, open } = bed()
    const before = lab.recordsOf('request.malformed').length
    const wire = await open()
    wire.write(request('/before-tls'))
    expect((await wire.message()).body).toBe('ok')
    wire.write(CLIENT_HELLO)
    expect((await wire.message()).status).toBe(400)
    expect(await wire.closed()).toBe('end')
    wire.socket.destroy()
    const malformed = await lab.waitFor('request.malformed', before + 1)
    expect(malformed.slice(before)).toMatchObject([{ code: 'TLS_CLIENT_HELLO' }])
  })
})
