// Encrypted Client Hello: the outer name is the only one we can see, so it is the one that is judged, and the record says so.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectVia, readUntil, tcp } from '../support/clients.ts'
import { clientHello, extension } from '../support/client-hello.ts'
import { askWithOpenssl } from '../support/openssl-client.ts'
import { ALLOWED, DOORS, type DoorName, type Standard, startStandard } from '../support/standard.ts'
import { startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { seenBy, witness } from '../support/witness.ts'
import { available } from '../tls/fixture.ts'

const OUTER = 'cloudflare-ech.com'
const PINNED = 'updates.vendor.test'
const ENCRYPTED_CLIENT_HELLO = 0xfe0d

let standard: Standard
let canary: TlsCanary
beforeAll(async () => {
  canary = await startTlsCanary()
  standard = await startStandard({
    more: `  - { id: pinned, passthrough: { hosts: [${PINNED}], ports: [${canary.port}] } }`,
    names: { [PINNED]: ['127.0.0.1'], [OUTER]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})

describe.skipIf(!available('openssl', ['version']))('a client that sends the extension', () => {
  /** openssl finishes the handshake of the outer hello, as a server without the key does (GREASE). */
  const ask = (door: DoorName, name: string, host: string): Promise<string> =>
    askWithOpenssl(
      standard,
      { door, name, more: ['-serverinfo', String(ENCRYPTED_CLIENT_HELLO)] },
      `GET /ech HTTP/1.1\r\nHost: ${host}:${standard.origin.port}\r\nConnection: close\r\n\r\n`,
    )

  it.each(DOORS)('[H09] the outer name is denied, %s', async (door) => {
    const left = await witness(standard, async () => expect(await ask(door, OUTER, OUTER)).toMatch(/^HTTP\/1\.1 403 /))
    expect(left.decided[0]).toMatchObject({
      decision: 'deny',
      sni: OUTER,
      host: OUTER,
      security_flags: ['ech_offered'],
    })
    expect(standard.lab.resolved).not.toContain(OUTER)
  })

  it.each(DOORS)('[H09] the outer name is denied, the Host is allowed, %s', async (door) => {
    const left = await witness(standard, async () =>
      expect(await ask(door, OUTER, ALLOWED)).toMatch(/^HTTP\/1\.1 421 /),
    )
    expect(left.decided[0]).toMatchObject({ reason: 'identity_mismatch', security_flags: ['ech_offered'] })
    expect(seenBy(standard)).toEqual([])
  })

  it.each(DOORS)('[H09] the outer name is allowed: served under that name, and flagged, %s', async (door) => {
    const left = await witness(standard, async () =>
      expect(await ask(door, ALLOWED, ALLOWED)).toMatch(/^HTTP\/1\.1 200 /),
    )
    expect(left.decided[0]).toMatchObject({ decision: 'allow', sni: ALLOWED, security_flags: ['ech_offered'] })
  })
})

it.each(DOORS)('[H09] a name that is passed through unread is not, once its hello hides another, %s', async (door) => {
  const { lab } = standard
  lab.redirectTo({ address: '127.0.0.1', port: canary.port })
  const left = await witness(
    standard,
    async () => {
      const authority = `${PINNED}:${canary.port}`
      const socket = door === 'connect' ? (await connectVia(lab, authority)).socket : await tcp(lab.transparentPort)
      const answer = readUntil(socket)
      const hidden = extension(ENCRYPTED_CLIENT_HELLO, Buffer.alloc(200, 1))
      socket.end(clientHello({ name: PINNED, extensions: [hidden] }))
      await answer
    },
    { decided: 0, rejected: 1 },
  )
  expect(left.rejected[0]).toMatchObject({ sni: PINNED })
  expect(canary.hellos(PINNED)).toEqual([])
  lab.redirectTo({ address: '127.0.0.1', port: standard.origin.port })
})
