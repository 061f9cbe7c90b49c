// Old protocols and weak ciphers, on either side of the proxy: an alert, a record of it, and nothing passes.

import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, opened, readUntil, reasonOf, tcp } from '../support/clients.ts'
import { clientHello, ECDHE_ECDSA_AES_128_GCM_SHA256, fatalAlert, type HelloSpec } from '../support/client-hello.ts'
import { ALLOWED, ask, DOORS, type DoorName, type Standard, startStandard } from '../support/standard.ts'
import { serverFlight, startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { seenBy, witness } from '../support/witness.ts'

const OLD = 'old.test'

let standard: Standard
let canary: TlsCanary
beforeAll(async () => {
  canary = await startTlsCanary()
  standard = await startStandard({
    more: `  - { id: old, allow: { hosts: [${OLD}], ports: [${canary.port}] } }`,
    names: { [OLD]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})
beforeEach(() => {
  standard.origin.seen.length = 0
})

async function sendTo(door: DoorName, bytes: Buffer): Promise<string> {
  const { lab, authority } = standard
  const socket = door === 'connect' ? (await connectVia(lab, authority)).socket : await tcp(lab.transparentPort)
  const answer = readUntil(socket)
  socket.write(bytes)
  return answer
}

const ALERT = { handshakeFailure: 40, protocolVersion: 70, inappropriateFallback: 86 } as const

const REFUSED: [string, HelloSpec, number, string][] = [
  // SSL 3.0 has no alert for a version.
  ['SSL 3.0', { version: 0x0300, suites: [0x000a, 0x002f] }, ALERT.handshakeFailure, 'protocol_version'],
  ['TLS 1.0', { version: 0x0301, suites: [0xc009, 0x002f] }, ALERT.protocolVersion, 'protocol_version'],
  ['TLS 1.1', { version: 0x0302, suites: [0xc009, 0x002f] }, ALERT.protocolVersion, 'protocol_version'],
  ['TLS 1.1 in supported_versions', { versions: [0x0302, 0x0301] }, ALERT.protocolVersion, 'protocol_version'],
  [
    'TLS 1.2 as a fallback',
    { suites: [ECDHE_ECDSA_AES_128_GCM_SHA256, 0x5600] },
    ALERT.inappropriateFallback,
    'protocol_version',
  ],
  ['RC4', { suites: [0x0004, 0x0005, 0xc007, 0xc011] }, ALERT.handshakeFailure, 'no_shared_cipher'],
  ['3DES', { suites: [0x000a, 0xc008, 0xc012] }, ALERT.handshakeFailure, 'no_shared_cipher'],
  ['export ciphers', { suites: [0x0003, 0x0008, 0x0014] }, ALERT.handshakeFailure, 'no_shared_cipher'],
  ['no encryption', { suites: [0x0001, 0x0002, 0xc006, 0xc010] }, ALERT.handshakeFailure, 'no_shared_cipher'],
  ['no authentication', { suites: [0x001b, 0x0034, 0x00a6, 0xc018] }, ALERT.handshakeFailure, 'no_shared_cipher'],
  ['RSA key exchange', { suites: [0x002f, 0x0035, 0x009c, 0x009d] }, ALERT.handshakeFailure, 'no_shared_cipher'],
  ['CBC', { suites: [0xc009, 0xc00a, 0xc023, 0xc024] }, ALERT.handshakeFailure, 'no_shared_cipher'],
]

describe.each(DOORS)('a client at the %s door', (door) => {
  it.each(REFUSED)('[H05] that offers only %s', async (_name, hello, alert, cause) => {
    const left = await witness(
      standard,
      async () => expect(fatalAlert(await sendTo(door, clientHello({ name: ALLOWED, ...hello })))).toBe(alert),
      { decided: 0, rejected: 1 },
    )
    expect(left.rejected[0]).toMatchObject({ cause, door })
    expect(seenBy(standard)).toEqual([])
  })

  it('[H05] whose hello is of SSL 2.0: bytes that are no TLS and no HTTP', async () => {
    const suites = Buffer.from('0700c0030080', 'hex')
    const hello = Buffer.concat([
      Buffer.from([0x01, 0x00, 0x02, 0, suites.length, 0, 0, 0, 16]),
      suites,
      Buffer.alloc(16, 7),
    ])
    const left = await witness(standard, async () => {
      expect(await sendTo(door, Buffer.concat([Buffer.from([0x80, hello.length]), hello]))).toMatch(/^HTTP\/1\.1 400 /)
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', reason: 'malformed' })
    expect(left.malformed).toHaveLength(1)
    expect(seenBy(standard)).toEqual([])
  })
})

it.each(['TLSv1', 'TLSv1.1'] as const)('[H05] a real client that goes no higher than %s', async (maxVersion) => {
  const left = await witness(
    standard,
    async () => {
      const { socket } = await connectVia(standard.lab, standard.authority)
      const options = { minVersion: 'TLSv1', maxVersion, ciphers: 'ALL:@SECLEVEL=0' } as const
      const tls = connectTls({ socket, servername: ALLOWED, ca: standard.lab.ca, ...options })
      await expect(opened(tls, 'secureConnect')).rejects.toThrow(/protocol version/)
    },
    { decided: 0, rejected: 1 },
  )
  expect(left.rejected[0]).toMatchObject({ cause: 'protocol_version', sni: ALLOWED })
})

describe('an origin', () => {
  const transfer = async (): Promise<void> => {
    const answer = await ask(standard.lab, 'connect', `${OLD}:${canary.port}`, { target: '/secret' })
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_tls'])
  }

  it.each([
    ['TLS 1.0', { minVersion: 'TLSv1', maxVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['TLS 1.1', { minVersion: 'TLSv1', maxVersion: 'TLSv1.1', ciphers: 'ALL:@SECLEVEL=0' }],
    ['no encryption', { maxVersion: 'TLSv1.2', ciphers: 'eNULL:@SECLEVEL=0' }],
    ['no authentication', { maxVersion: 'TLSv1.2', ciphers: 'aNULL:@SECLEVEL=0' }],
  ] as const)('[H05] that offers only %s', async (_name, options) => {
    canary.secured(OLD, { ...standard.root.issue(OLD), ...options })
    const left = await witness(standard, transfer)
    expect(left.completed[0]).toMatchObject({ outcome: 'failed', reason: 'upstream_tls', bytes_sent: 0 })
    expect(canary.received(OLD)).toBe('')
  })

  it('[H05] whose random says that somebody took TLS 1.3 out of our hello (RFC 8446 \u00a74.1.3)', async () => {
    const random = Buffer.concat([Buffer.alloc(24, 7), Buffer.from('DOWNGRD\u0001')])
    let said = ''
    canary.on(OLD, (raw, hello) => {
      raw.on('data', (chunk: Buffer) => {
        said += chunk.toString('latin1')
      })
      raw.resume()
      said = ''
      raw.write(serverFlight(Buffer.alloc(0), random))
      expect(hello.length).toBeGreaterThan(0)
    })
    const left = await witness(standard, transfer)
    expect(left.completed[0]).toMatchObject({ outcome: 'failed', reason: 'upstream_tls' })
    expect(fatalAlert(said.slice(-7))).toBe(47)
  })
})
