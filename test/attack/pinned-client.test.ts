// Clients that do not take our certificate: the connection ends, the cause is on record, and nothing was decided or sent.

import { createServer, type AddressInfo, type Socket } from 'node:net'
import { createSecureContext, connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { terminate, type Terminated } from '../../src/proxy/terminate.ts'
import { connectVia, exchangeOn, opened, tcp } from '../support/clients.ts'
import { clientHello } from '../support/client-hello.ts'
import { ALLOWED, DOORS, type DoorName, type Standard, startStandard } from '../support/standard.ts'
import { seenBy, witness } from '../support/witness.ts'
import { available, bareEnvironment, run } from '../tls/fixture.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard()
})
afterAll(() => standard.close())
beforeEach(() => {
  standard.origin.seen.length = 0
})

async function rawDoor(door: DoorName): Promise<Socket> {
  const { lab, authority } = standard
  return door === 'connect' ? (await connectVia(lab, authority)).socket : tcp(lab.transparentPort)
}

const CURLE_PEER_FAILED_VERIFICATION = 60
const REJECTED = { decided: 0, rejected: 1 } as const

describe.each(DOORS)('through the %s door', (door) => {
  it.each(['TLSv1.2', 'TLSv1.3'] as const)('[H07] a client that trusts other roots, %s', async (maxVersion) => {
    const left = await witness(
      standard,
      async () => {
        const options = { socket: await rawDoor(door), servername: ALLOWED, ca: standard.root.pem, maxVersion }
        await expect(opened(connectTls(options), 'secureConnect')).rejects.toThrow(/unable to verify|self-signed/)
      },
      REJECTED,
    )
    expect(left.rejected[0]).toMatchObject({ door, sni: ALLOWED, host: ALLOWED, cause: expect.any(String) })
    expect(['certificate_rejected', 'closed', 'reset', 'closed_without_request']).toContain(left.rejected[0]?.['cause'])
    expect(seenBy(standard)).toEqual([])
  })

  it('[H07] a client that looks at the certificate after the handshake, and leaves without a word', async () => {
    const left = await witness(
      standard,
      async () => {
        const options = { socket: await rawDoor(door), servername: ALLOWED, ca: standard.lab.ca }
        const tls = await opened(connectTls(options), 'secureConnect')
        tls.end()
      },
      REJECTED,
    )
    expect(left.rejected[0]).toMatchObject({ cause: 'closed_without_request', sni: ALLOWED })
    expect(seenBy(standard)).toEqual([])
  })

  it.each([
    ['bad_certificate', 42, 'certificate_rejected'],
    ['unsupported_certificate', 43, 'certificate_rejected'],
    ['certificate_revoked', 44, 'certificate_rejected'],
    ['certificate_expired', 45, 'certificate_rejected'],
    ['certificate_unknown', 46, 'certificate_rejected'],
    ['unknown_ca', 48, 'certificate_rejected'],
    ['access_denied', 49, 'certificate_rejected'],
    ['decrypt_error', 51, 'certificate_rejected'],
    ['protocol_version', 70, 'protocol_version'],
    ['handshake_failure', 40, 'handshake_failed'],
  ])('[H07] a client that says %s', async (_name, description, cause) => {
    const left = await witness(
      standard,
      async () => {
        const socket = await rawDoor(door)
        socket.write(clientHello({ name: ALLOWED }))
        socket.once('data', () => socket.end(Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, description])))
        await new Promise((done) => socket.once('close', done))
      },
      REJECTED,
    )
    expect(left.rejected[0]).toMatchObject({ cause })
  })

  it.each([
    ['closes', (socket: Socket) => socket.end(), 'closed'],
    ['resets', (socket: Socket) => socket.resetAndDestroy(), 'reset'],
  ] as const)('[H07] a client that %s in the middle of the handshake', async (_name, leave, cause) => {
    const left = await witness(
      standard,
      async () => {
        const socket = await rawDoor(door)
        socket.write(clientHello({ name: ALLOWED }))
        socket.once('data', () => leave(socket))
        await new Promise((done) => socket.once('close', done))
      },
      REJECTED,
    )
    expect(left.rejected[0]).toMatchObject({ cause })
  })

  it('[H07] a client that speaks HTTP/2 and nothing else is not guessed at', async () => {
    const left = await witness(
      standard,
      async () => {
        const options = { socket: await rawDoor(door), servername: ALLOWED, ca: standard.lab.ca, ALPNProtocols: ['h9'] }
        await expect(opened(connectTls(options), 'secureConnect')).rejects.toThrow(/no application protocol/)
      },
      REJECTED,
    )
    expect(left.rejected[0]).toMatchObject({ cause: 'no_application_protocol' })
  })

  it('[H06] a client that verifies nothing is inspected like any other', async () => {
    const { authority } = standard
    const left = await witness(
      standard,
      async () => {
        const options = { socket: await rawDoor(door), servername: ALLOWED, rejectUnauthorized: false }
        const tls = await opened(connectTls(options), 'secureConnect')
        const allowed = await exchangeOn(tls, `GET /insecure HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
        const refused = await exchangeOn(tls, 'GET /x HTTP/1.1\r\nHost: evil.test\r\n\r\n')
        tls.destroy()
        expect([allowed.status, refused.status]).toEqual([200, 421])
      },
      { decided: 2 },
    )
    expect(left.decided.map((record) => record['decision'])).toEqual(['allow', 'deny'])
    expect(seenBy(standard)).toEqual(['/insecure'])
  })
})

describe('what the record says to do', () => {
  /** A client with another root, through the explicit door; resolves when it has been refused. */
  async function pinned(own: Standard, authority: string, servername = authority.replace(/:\d+$/, '')): Promise<void> {
    const { socket, refused } = await connectVia(own.lab, authority)
    expect(refused).toBeNull()
    const tls = connectTls({ socket, servername, ca: own.root.pem, maxVersion: 'TLSv1.2' })
    await expect(opened(tls, 'secureConnect')).rejects.toThrow(/unable to verify|self-signed/)
  }
  let own: Standard
  beforeAll(async () => {
    own = await startStandard({ more: '  - { id: literal, allow: { hosts: [127.0.0.1], ports: [PORT] } }\n' })
  })
  afterAll(() => own.close())

  it('[P47] how often it happened for the host, and both ways out', async () => {
    const { lab, authority } = own
    for (let times = 1; times <= 3; times++) {
      await pinned(own, authority)
      const rejected = await lab.waitFor('tls.rejected', times)
      const often = times === 1 ? 'once' : `${times} times`
      expect(rejected.at(-1)).toMatchObject({
        rejections: times,
        hint: expect.stringContaining(`for ${ALLOWED}, ${often}: `) as unknown,
      })
    }
    expect(lab.recordsOf('tls.rejected').at(-1)?.['hint']).toMatch(
      /trust the CA \(docs\/ca\.md\) or add `passthrough: \{ hosts: \[api\.allowed\.test\] \}`$/,
    )
  })

  it('[P47] each host counts for itself, and one that no rule allows is not to be passed through', async () => {
    const before = own.lab.recordsOf('tls.rejected').length
    await pinned(own, 'evil.test:443')
    const rejected = (await own.lab.waitFor('tls.rejected', before + 1)).at(-1)
    expect(rejected).toMatchObject({ rejections: 1, host: 'evil.test' })
    expect(rejected?.['hint']).toMatch(/for evil\.test, once: trust the CA \(docs\/ca\.md\) to read the refusal/)
    expect(rejected?.['hint']).not.toContain('passthrough')
  })

  it('[P47] without a server name nothing could be passed through', async () => {
    const { lab, origin } = own
    const before = lab.recordsOf('tls.rejected').length
    await pinned(own, `127.0.0.1:${origin.port}`, '')
    const rejected = (await lab.waitFor('tls.rejected', before + 1)).at(-1)
    expect(rejected?.['hint']).toMatch(/for 127\.0\.0\.1, once: trust the CA \(docs\/ca\.md\)$/)
  })

  it('[P47] a handshake that failed for another reason counts for nothing, and has no hint', async () => {
    const { lab, authority } = own
    const before = lab.recordsOf('tls.rejected').length
    const { socket } = await connectVia(lab, authority)
    const tls = connectTls({ socket, servername: ALLOWED, ca: lab.ca, ALPNProtocols: ['h9'] })
    await expect(opened(tls, 'secureConnect')).rejects.toThrow(/no application protocol/)
    const rejected = (await lab.waitFor('tls.rejected', before + 1)).at(-1)
    expect(rejected).toMatchObject({ cause: 'no_application_protocol', rejections: null, hint: null })
  })

  it('a token in the name is in neither the host nor the hint', async () => {
    const { lab } = own
    const token = 'ghp-16c7e42f292c6912e7710c838347ae178b4a'.replace('-', '_')
    const before = lab.recordsOf('tls.rejected').length
    await pinned(own, `${token}.evil.test:443`)
    const rejected = (await lab.waitFor('tls.rejected', before + 1)).at(-1)
    expect(rejected?.['hint']).toMatch(/for hmac:[0-9a-f]{16}\.evil\.test, once: /)
    expect(JSON.stringify(lab.records())).not.toContain('16c7e42f292c6912')
  })
})

describe.skipIf(!available('curl', ['--version']))('curl', () => {
  it.each(['1.2', '1.3'])('[H07] that trusts other roots says so, TLS %s', async (version) => {
    const { lab, root, authority } = standard
    const left = await witness(
      standard,
      async () => {
        const how = ['--cacert', root.file, '--tls-max', version, '--proxy', `http://127.0.0.1:${lab.proxyPort}`]
        const asked = run('curl', ['--silent', '--max-time', '5', ...how, `https://${authority}/`], {
          env: bareEnvironment(),
        })
        await expect(asked).rejects.toMatchObject({ code: CURLE_PEER_FAILED_VERIFICATION })
      },
      REJECTED,
    )
    expect(left.rejected[0]).toMatchObject({ cause: 'certificate_rejected', sni: ALLOWED })
  })
})

it('[H07] a handshake that never ends is ended', async () => {
  const terminated: Promise<Terminated>[] = []
  const context = createSecureContext(standard.root.issue(ALLOWED))
  const server = createServer((socket) => {
    terminated.push(terminate(socket, context, 20))
  })
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done))
  const socket = await tcp((server.address() as AddressInfo).port)
  socket.write(clientHello({ name: ALLOWED }))
  socket.resume()
  await new Promise((done) => socket.once('close', done))
  expect(await Promise.all(terminated)).toEqual([{ kind: 'rejected', cause: 'handshake_timeout' }])
  server.close()
})
