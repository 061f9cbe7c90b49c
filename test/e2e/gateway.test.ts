// A client whose DNS names the proxy as every host: the gateway door, found by SNI and by Host, without any redirection.
//
//   client namespace: curl, the origin (192.0.2.2:443, :80)      its gateway: the proxy (192.0.2.1:443, :80)

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CLIENT, createNetwork, type Finished, GATEWAY, type Network, networkTestsPossible } from '../support/netns.ts'
import { createTestRoot } from '../support/origins.ts'
import { type OriginProcess, startOriginProcess } from './support/origin-process.ts'
import { type ProxyProcess, startProxyProcess } from './support/proxy-process.ts'
import { NEUTRAL } from './support/spawner.ts'
import { clientMissing } from './support/web-clients.ts'

const ALLOWED = 'api.allowed.test'
const DENIED = 'denied.test'

describe.skipIf(!networkTestsPossible || clientMissing('curl') !== null)('the gateway door', () => {
  const undo: (() => unknown)[] = []
  let network: Network
  let proxy: ProxyProcess
  let origin: OriginProcess
  let ca: string

  beforeAll(async () => {
    network = await createNetwork('gateway', { client: true })
    undo.push(() => network.close())
    const hosts = `/etc/netns/${network.name}`
    mkdirSync(hosts, { recursive: true })
    undo.push(() => rmSync(hosts, { recursive: true, force: true }))
    writeFileSync(join(hosts, 'hosts'), `${CLIENT.v4} ${ALLOWED}\n`)
    const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-gateway-'))
    undo.push(() => rmSync(folder, { recursive: true, force: true }))
    const root = createTestRoot()
    undo.push(() => root.close())
    const configFile = join(folder, 'mcp-egress.yaml')
    writeFileSync(
      configFile,
      `version: 1
listen: { gateway: ["${GATEWAY.v4}:443"] }
clients:
  - { name: behind, source: [${CLIENT.v4}] }
rules:
  - { id: read, clients: [behind], allow: { hosts: [${ALLOWED}], methods: [GET] } }
upstream: { trust: [${root.file}], allow: ["${CLIENT.v4}/32"] }
`,
    )
    if (network.client === null) throw new Error('a network without its client')
    origin = await startOriginProcess(network.client, root, {
      listen: [{ host: CLIENT.v4, port: 443 }],
      names: [ALLOWED],
    })
    undo.push(() => origin.stop())
    proxy = await startProxyProcess(network, { configFile, trailFile: join(folder, 'logs/audit.jsonl') })
    undo.push(() => proxy.stop())
    ca = join(folder, 'certs/ca.pem')
  })
  afterAll(async () => {
    for (const step of undo.reverse()) await step()
  })

  /** What the client's DNS does: every name is the proxy. */
  const curl = (name: string, path: string, ...args: string[]): Promise<Finished> => {
    const told = ['--resolve', `${name}:443:${GATEWAY.v4}`, '--resolve', `${name}:80:${GATEWAY.v4}`]
    const given = ['-sS', '-i', '--http1.1', '--max-time', '10', '--cacert', ca, ...told, ...args]
    if (network.client === null) throw new Error('a network without its client')
    return network.client.exec('curl', [...given, `https://${name}${path}`], { env: NEUTRAL })
  }

  it('serves a name that a rule allows, from the origin that the proxy resolves', async () => {
    const { stdout, code } = await curl(ALLOWED, '/stream/5')
    expect([code, stdout.split('\r\n')[0]]).toEqual([0, 'HTTP/1.1 200 OK'])
    const seen = await origin.event(({ event, url }) => event === 'request' && url === '/stream/5')
    expect(seen.name).toBe(ALLOWED)
    const peers = origin.events.flatMap(({ peer }) => (peer === undefined ? [] : [peer]))
    expect(peers.every((peer) => peer.includes(GATEWAY.v4))).toBe(true)
    expect(peers).not.toEqual([])
    const records = await proxy.waitFor('the end', (found) => found.some(({ event }) => event === 'request.completed'))
    expect(records.find(({ event }) => event === 'request.decided')).toMatchObject({
      door: 'gateway',
      decision: 'allow',
      client: { name: 'behind', source: CLIENT.v4 },
      sni: ALLOWED,
      original_destination: `${GATEWAY.v4}:443`,
    })
    expect(records.find(({ event }) => event === 'request.completed')).toMatchObject({
      outcome: 'completed',
      upstream_address: `${CLIENT.v4}:443`,
    })
  })

  it.each([
    ['another method', ALLOWED, ['-X', 'DELETE']],
    ['another name', DENIED, []],
  ])('denies %s with an answer that the client trusts', async (_what, name, args) => {
    const { stdout, code } = await curl(name, '/denied', ...args)
    expect([code, stdout.split('\r\n')[0]]).toEqual([0, 'HTTP/1.1 403 Forbidden'])
    expect(origin.events.filter(({ url }) => url === '/denied')).toEqual([])
  })

  it('denies a name under the certificate of another', async () => {
    const { stdout } = await curl(ALLOWED, '/fronted', '-H', `Host: ${DENIED}`)
    expect(stdout.split('\r\n')[0]).toBe('HTTP/1.1 421 Misdirected Request')
    expect(origin.events.filter(({ url }) => url === '/fronted')).toEqual([])
  })
})
