// Real programs with the name server in their resolv.conf: allowed names work, denied ones fail at once.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type OriginProcess, startOriginProcess } from '../e2e/support/origin-process.ts'
import { NEUTRAL } from '../e2e/support/spawner.ts'
import { clientMissing } from '../e2e/support/web-clients.ts'
import { type DnsNetwork, startDnsNetwork } from '../support/dns-network.ts'
import { CLIENT, type Finished, GATEWAY, networkTestsPossible } from '../support/netns.ts'

const ALLOWED = 'api.allowed.test'
const DENIED = 'denied.test'
/** Far from the 5 s after which a stub resolver asks a second time, and far from the time a loaded machine takes. */
const AT_ONCE_MS = 3_000

/** One lookup by each way that Node has, and how long it took. */
const LOOKUP = `
const dns = require('node:dns').promises
const [, way, name] = process.argv
const started = performance.now()
const ask = { lookup: () => dns.lookup(name, { all: true }), resolve4: () => dns.resolve4(name), resolve6: () => dns.resolve6(name), resolveTxt: () => dns.resolveTxt(name) }[way]
ask().then((said) => ({ said }), ({ code }) => ({ code })).then((result) =>
  console.log(JSON.stringify({ ...result, ms: performance.now() - started })))
`
const PYTHON = `
import json, socket, sys, time
started = time.monotonic()
try:
    result = {"said": sorted({info[4][0] for info in socket.getaddrinfo(sys.argv[1], 443)})}
except socket.gaierror as error:
    result = {"code": error.args[0] == socket.EAI_NONAME and "EAI_NONAME" or str(error)}
print(json.dumps({**result, "ms": (time.monotonic() - started) * 1000}))
`

describe.skipIf(!networkTestsPossible || clientMissing('curl') !== null)('a stub resolver', () => {
  let lab: DnsNetwork
  let origin: OriginProcess

  beforeAll(async () => {
    lab = await startDnsNetwork({
      name: 'dns-stub',
      yaml: (root) => `
clients:
  - { name: behind, source: [${CLIENT.v4}, "${CLIENT.v6}"] }
rules:
  - { id: read, clients: [behind], allow: { hosts: [${ALLOWED}] } }
upstream: { trust: [${root.file}], allow: ["${CLIENT.v4}/32"] }
`,
      before: async (network, root) => {
        if (network.client === null) throw new Error('a network without its client')
        origin = await startOriginProcess(network.client, root, {
          listen: [{ host: CLIENT.v4, port: 443 }],
          names: [ALLOWED],
        })
        return () => origin.stop()
      },
    })
  })
  afterAll(() => lab.close())

  const run = (command: string, ...args: string[]): Promise<Finished> =>
    lab.client.exec(command, args, { env: NEUTRAL })
  const measured = async (
    command: string,
    ...args: string[]
  ): Promise<{ said?: unknown; code?: string; ms: number }> => {
    const { stdout, stderr } = await run(command, ...args)
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as { said?: unknown; code?: string; ms: number }
  }
  const node = (way: string, name: string): ReturnType<typeof measured> =>
    measured(process.execPath, '-e', LOOKUP, way, name)

  it('announces its address', () => {
    expect(lab.proxy.ports.get('dns')).toBe(53)
  })

  it('getent ahosts (glibc)', async () => {
    const { code, stdout } = await run('getent', 'ahosts', ALLOWED)
    expect([code, stdout.split(/\s+/)[0]]).toEqual([0, GATEWAY.v4])
    expect((await run('getent', 'ahosts', DENIED)).code).toBe(2)
  })

  it('and nobody else was asked', async () => {
    expect(await lab.leaked()).toEqual([])
  })

  it('curl finds the gateway by it, and the origin behind the gateway', async () => {
    const { stdout, code, stderr } = await run(
      'curl',
      '-sS',
      '-i',
      '--max-time',
      '10',
      '--cacert',
      lab.ca,
      `https://${ALLOWED}/stream/5`,
    )
    expect([code, stdout.split('\r\n')[0], stderr]).toEqual([0, 'HTTP/2 200 ', ''])
    expect((await origin.event(({ event }) => event === 'request')).name).toBe(ALLOWED)
    // The proxy asked for it, after it had recorded its decision; nobody asked because of a question.
    expect(await lab.leaked()).toEqual([ALLOWED])
    const events = lab.proxy.records().map(({ event }) => event)
    expect(events.indexOf('dns.question')).toBeLessThan(events.indexOf('request.decided'))
  })

  it('curl is told at once that a denied name does not exist', async () => {
    const { stderr, code } = await run('curl', '-sS', '--max-time', String(AT_ONCE_MS / 1_000), `https://${DENIED}/`)
    expect([code, stderr]).toEqual([6, expect.stringContaining('Could not resolve host')])
  })

  it.each(['lookup', 'resolve4'])('Node dns.%s', async (way) => {
    const allowed = await node(way, ALLOWED)
    const expected = way === 'lookup' ? [{ address: GATEWAY.v4, family: 4 }] : [GATEWAY.v4]
    expect(allowed.said).toEqual(expected)
    const denied = await node(way, DENIED)
    expect(denied.code).toBe('ENOTFOUND')
    expect(denied.ms).toBeLessThan(AT_ONCE_MS)
  })

  it.each(['resolve6', 'resolveTxt'])('Node dns.%s of an allowed name has no data', async (way) => {
    const { code, ms } = await node(way, ALLOWED)
    expect(code).toBe('ENODATA')
    expect(ms).toBeLessThan(AT_ONCE_MS)
  })

  it('Python getaddrinfo', async () => {
    expect((await measured('python3', '-c', PYTHON, ALLOWED)).said).toEqual([GATEWAY.v4])
    const denied = await measured('python3', '-c', PYTHON, DENIED)
    expect(denied.code).toBe('EAI_NONAME')
    expect(denied.ms).toBeLessThan(AT_ONCE_MS)
  })
})
