// Clients that say who they are, or send somebody else: identity is the peer address or a token, and nothing that a header claims.

import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, opened, reasonOf, tcp } from '../support/clients.ts'
import { type Origin, startOrigin } from '../support/origins.ts'
import { ALLOWED, DOORS, type DoorName, type Standard, startStandard } from '../support/standard.ts'
import { seenBy, witness } from '../support/witness.ts'

const PRIVILEGED = 'privileged.test'
const B_ADDRESS = '127.0.0.2'
const TOKEN = 'a-token-of-client-c'
const BASIC = `Basic ${Buffer.from(`c:${TOKEN}`).toString('base64')}`

let standard: Standard
let attacker: Origin
beforeAll(async () => {
  standard = await startStandard({
    clients: `  - { name: b, source: [${B_ADDRESS}] }
  - { name: c, token: "\${TOKEN_OF_C}" }`,
    env: { TOKEN_OF_C: TOKEN },
    more: `  - { id: for-b, clients: [b], allow: { hosts: [${PRIVILEGED}], ports: [PORT], schemes: [http, https] } }
  - { id: plain, allow: { hosts: [${ALLOWED}], ports: [PORT], schemes: [http, https] } }`,
    names: { [PRIVILEGED]: ['127.0.0.1'] },
    origin: (root) => startOrigin(root, ALLOWED),
  })
  attacker = await startOrigin(standard.root, 'attacker.test', undefined, { tls: false })
})
afterAll(async () => {
  await standard.close()
  await attacker.close()
})
beforeEach(() => {
  standard.origin.seen.length = 0
})

/** A plain request for the host of client b, written to the proxy listener or through the transparent door. */
async function askFor(
  host: string,
  door: DoorName,
  fields: string,
  from?: string,
  prelude = '',
): ReturnType<typeof exchangeOn> {
  const { lab, origin } = standard
  const authority = `${host}:${origin.port}`
  const port = door === 'connect' ? lab.proxyPort : lab.transparentPort
  const socket = await opened(
    connect({ host: '127.0.0.1', port, ...(from === undefined ? {} : { localAddress: from }) }),
  )
  const target = door === 'connect' ? `http://${authority}/who` : '/who'
  const answer = await exchangeOn(socket, `${prelude}GET ${target} HTTP/1.1\r\nHost: ${authority}\r\n${fields}\r\n`)
  socket.destroy()
  return answer
}

const CLAIMS: [string, string][] = [
  ['X-Forwarded-For', `X-Forwarded-For: ${B_ADDRESS}\r\n`],
  ['Forwarded', `Forwarded: for=${B_ADDRESS};by=${B_ADDRESS}\r\n`],
  ['X-Real-IP', `X-Real-IP: ${B_ADDRESS}\r\n`],
  ['True-Client-IP', `True-Client-IP: ${B_ADDRESS}\r\n`],
  ['Client-IP', `Client-IP: ${B_ADDRESS}\r\n`],
  ['X-Smokescreen-Role', 'X-Smokescreen-Role: b\r\n'],
  ['X-Mcp-Egress-Client', 'X-Mcp-Egress-Client: b\r\nX-Client: b\r\n'],
  ['From', 'From: b@example.test\r\nUser-Agent: b\r\n'],
  [
    'a forwarded identity of Envoy',
    `X-Forwarded-Client-Cert: By=b;Subject="CN=b"\r\nX-Envoy-External-Address: ${B_ADDRESS}\r\n`,
  ],
]

describe.each(DOORS)('through the %s door', (door) => {
  it.each(CLAIMS)('[A22] [A23] %s does not make another client of the sender', async (_name, fields) => {
    const left = await witness(standard, async () => {
      const answer = await askFor(PRIVILEGED, door, fields)
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
    })
    expect(left.decided[0]).toMatchObject({ client: { name: 'anonymous', source: '127.0.0.1' } })
    expect(seenBy(standard)).toEqual([])
  })

  it('[A22] the PROXY protocol is no HTTP', async () => {
    const left = await witness(standard, async () => {
      const prelude = `PROXY TCP4 ${B_ADDRESS} 127.0.0.1 40000 443\r\n`
      expect((await askFor(PRIVILEGED, door, '', undefined, prelude)).status).toBe(400)
    })
    expect(left.decided[0]).toMatchObject({ reason: 'malformed', client: { source: '127.0.0.1' } })
  })

  it('[A22] the address of the peer does: its rule applies, and only to it', async () => {
    const left = await witness(standard, async () => {
      // The origin speaks TLS, so the plain request fails there, after it was allowed.
      expect((await askFor(PRIVILEGED, door, '', B_ADDRESS)).status).toBe(502)
    })
    expect(left.decided[0]).toMatchObject({
      decision: 'allow',
      rule: 'for-b',
      client: { name: 'b', source: B_ADDRESS },
    })
  })

  it('[A23] headers that ask for another way out change nothing', async () => {
    const way = `http://127.0.0.1:${attacker.port}`
    const fields = `X-Upstream-Https-Proxy: ${way}\r\nX-Upstream-Proxy: ${way}\r\nX-Smokescreen-Https-Proxy: ${way}\r\n`
    await witness(standard, async () => expect((await askFor(ALLOWED, door, fields)).status).toBe(502))
    expect(attacker.connections()).toBe(0)
  })
})

it('[A23] the same on the CONNECT itself', async () => {
  const { lab, origin } = standard
  const left = await witness(standard, async () => {
    const claims = CLAIMS.map(([, fields]) => fields).join('')
    const way = `X-Upstream-Https-Proxy: http://127.0.0.1:${attacker.port}\r\n`
    const { socket, refused } = await connectVia(lab, `${PRIVILEGED}:${origin.port}`, claims + way)
    expect(refused).toBeNull()
    const tls = await opened(connectTls({ socket, servername: PRIVILEGED, ca: lab.ca }), 'secureConnect')
    const answer = await exchangeOn(tls, `GET / HTTP/1.1\r\nHost: ${PRIVILEGED}:${origin.port}\r\n\r\n`)
    tls.destroy()
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
  })
  expect(left.decided[0]).toMatchObject({ client: { name: 'anonymous' } })
  expect(attacker.connections()).toBe(0)
})

describe('credentials', () => {
  it('[A23] for the proxy never reach an origin, from wherever they were sent', async () => {
    const { lab, authority } = standard
    await witness(standard, async () => {
      const { socket } = await connectVia(lab, authority, `Proxy-Authorization: ${BASIC}\r\n`)
      const tls = await opened(connectTls({ socket, servername: ALLOWED, ca: lab.ca }), 'secureConnect')
      const answer = await exchangeOn(
        tls,
        `GET /c HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${BASIC}\r\n\r\n`,
      )
      tls.destroy()
      expect(answer.status).toBe(200)
    })
    expect(seenBy(standard)).toEqual(['/c'])
    expect(JSON.stringify(standard.origin.seen)).not.toContain(BASIC)
    expect(JSON.stringify(lab.records())).not.toContain(BASIC)
    expect(JSON.stringify(lab.records())).not.toContain(TOKEN)
  })

  it('[A23] inside a tunnel do not change who opened it', async () => {
    const { lab, authority } = standard
    const left = await witness(standard, async () => {
      const { socket } = await connectVia(lab, authority)
      const tls = await opened(connectTls({ socket, servername: ALLOWED, ca: lab.ca }), 'secureConnect')
      await exchangeOn(tls, `GET /c HTTP/1.1\r\nHost: ${authority}\r\nProxy-Authorization: ${BASIC}\r\n\r\n`)
      tls.destroy()
    })
    expect(left.decided[0]).toMatchObject({ client: { name: 'anonymous' } })
  })
})

describe('[A24] a relay in the sandbox', () => {
  let relay: Server
  const relayed = new Set<Socket>()
  beforeAll(async () => {
    relay = createServer((inner) => {
      const outer = connect(standard.lab.proxyPort, '127.0.0.1')
      for (const socket of [inner, outer]) {
        relayed.add(socket)
        socket.on('error', () => undefined)
      }
      inner.pipe(outer).pipe(inner)
    })
    await new Promise<void>((done) => relay.listen(0, '127.0.0.1', done))
  })
  afterAll(() => {
    for (const socket of relayed) socket.destroy()
    relay.close()
  })

  it.each([
    ['an allowed name', ALLOWED, 200],
    ['a denied name', PRIVILEGED, 403],
  ])('gets the same decision as a direct client: %s', async (_name, host, status) => {
    const { lab, origin } = standard
    const left = await witness(standard, async () => {
      const socket = await tcp((relay.address() as AddressInfo).port)
      const authority = `${host}:${origin.port}`
      const established = new Promise((done) => socket.once('data', done))
      socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      await established
      const tls = await opened(connectTls({ socket, servername: host, ca: lab.ca }), 'secureConnect')
      const answer = await exchangeOn(tls, `GET /relayed HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
      tls.destroy()
      expect(answer.status).toBe(status)
    })
    expect(left.decided[0]).toMatchObject({
      decision: status === 200 ? 'allow' : 'deny',
      client: { name: 'anonymous' },
    })
  })

  it('a CONNECT in a CONNECT does not lead to a second destination', async () => {
    const { lab, authority, origin } = standard
    const left = await witness(standard, async () => {
      const { socket } = await connectVia(lab, authority)
      const nested = `${PRIVILEGED}:${origin.port}`
      const answer = await exchangeOn(socket, `CONNECT ${nested} HTTP/1.1\r\nHost: ${nested}\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([400, 'malformed'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', enforced: true })
    expect(seenBy(standard)).toEqual([])
  })
})
