import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { docker, dockerTestsPossible } from './support/engine.ts'
import { ALLOWED_URL, createLab, DENIED_URL, disturbed, type Lab, unlike } from './support/lab.ts'
import { ROOT } from './support/root.ts'

const SETUP_MS = 240_000
const TEST_MS = 150_000

/** Another server's network, with a listener on it. */
const OTHER = { subnet: '172.30.57.16/28', neighbour: '172.30.57.19' }

describe.skipIf(!dockerTestsPossible)('the gateway layout, with a hostile MCP server', () => {
  let lab: Lab
  let outcome: Record<string, string>

  beforeAll(async () => {
    lab = await createLab({
      name: 'gateway',
      proxy: '172.30.57.2',
      services: ({ witness4 }) => ({
        witness: { other: { ipv4_address: OTHER.neighbour } },
        proxy: { dns: [witness4] },
      }),
      networks: { other: { internal: true, ipam: { config: [{ subnet: OTHER.subnet }] } } },
      workloadEnvironment: { NEIGHBOUR: OTHER.neighbour, HOSTS: '172.30.57.1 172.30.57.17 172.17.0.1 203.0.113.65' },
    })
    await lab.up()
  }, SETUP_MS)
  afterAll(async () => lab?.close(), SETUP_MS)

  test(
    'the example comes up as it is shipped: one answer, one refusal that can be read, both in the trail',
    async () => {
      const stdout = await lab.example()
      expect(stdout).toContain(`${ALLOWED_URL}: 200 hello from the origin`)
      expect(stdout).toContain(`${DENIED_URL}: 403 {"error":"egress_denied","reason":"no_matching_rule"`)
      const decided = (await lab.trail()).filter(({ event }) => event === 'request.decided')
      expect(decided).toContainEqual(
        expect.objectContaining({
          client: expect.objectContaining({ name: 'mcp' }) as unknown,
          decision: 'allow',
          rule: 'github-read',
          path: '/allowed',
        }),
      )
      expect(decided).toContainEqual(expect.objectContaining({ decision: 'deny', path: '/denied' }))
    },
    TEST_MS,
  )

  test(
    'a client that knows no proxy comes to the same door by DNS',
    async () => {
      const bare = ['curl', '--silent', '--noproxy', '*']
      expect((await lab.exec('mcp', [...bare, ALLOWED_URL])).stdout).toBe('hello from the origin\n')
      expect((await lab.exec('mcp', [...bare, DENIED_URL])).stdout).toContain('"reason":"no_matching_rule"')
      const unknown = await lab.exec('mcp', [...bare, 'https://evil.lab.test/'], { mayFail: true })
      expect(unknown.code).toBe(6) // curl: could not resolve host
      const decided = (await lab.trail()).filter(({ event }) => event === 'request.decided')
      expect(decided).toContainEqual(expect.objectContaining({ door: 'gateway', decision: 'allow', path: '/allowed' }))
    },
    TEST_MS,
  )

  test(
    'the command of the docs writes the clients from the labels of their networks',
    async () => {
      const page = readFileSync(`${ROOT}/docs/docker.md`, 'utf8')
      const [, filter = '', format = ''] =
        /docker network ls --quiet --filter (\S+) \| xargs docker network inspect --format \\\n\s+'(.+)'\n/.exec(
          page,
        ) ?? []
      const { stdout: ids } = await docker(['network', 'ls', '--quiet', '--filter', filter])
      const { stdout } = await docker(['network', 'inspect', '--format', format, ...ids.trim().split('\n')])
      const shipped = parse(readFileSync(`${ROOT}/docker/gateway/mcp-egress.yaml`, 'utf8')) as { clients: unknown }
      expect(parse(`clients:\n${stdout}`)).toEqual({ clients: shipped.clients })
    },
    TEST_MS,
  )

  test(
    'no try of the server gets a packet out',
    async () => {
      outcome = await lab.attack()
      const { leaks, dropped } = await lab.seen()
      expect(leaks).toEqual([])
      expect(dropped).toBe(0)
    },
    TEST_MS,
  )

  test('what was tried was refused, not merely lost', () => {
    const unreachable = /No route to host|Network is unreachable|timed out|PermissionError|Cannot assign/
    const out = ['tls-out', 'tls-witness', 'raw-443', 'tcp-22', 'v6-tcp-443', 'udp-443', 'neighbour', 'metadata']
    const hosts = Object.keys(outcome).filter((name) => name.startsWith('host-'))
    expect(hosts).toHaveLength(4)
    expect(unlike(outcome, unreachable, [...out, ...hosts])).toEqual({})
    expect(unlike(outcome, /PermissionError/, ['raw-socket', 'packet-socket', 'so-mark'])).toEqual({})
    expect(unlike(outcome, /^EPERM$/, ['setuid-proxy', 'user-namespace'])).toEqual({})
    expect(unlike(outcome, /rcode [35]|gaierror|timed out/, ['dns-system', 'dns-embedded-udp'])).toEqual({})
    expect(unlike(outcome, /ConnectionRefused/, ['admin'])).toEqual({})
    expect(unlike(outcome, /^(False|\[\])$/, ['docker-socket', 'files'])).toEqual({})
    expect(unlike(outcome, /PermissionError|Read-only/, ['key-folder', 'ca-writable'])).toEqual({})
  })

  test(
    'nothing gets out while the proxy is killed, paused, restarted and replaced, and the server restarts',
    async () => {
      const assault = await lab.assault()
      const sealed = async (
        what: string,
        disturb: () => Promise<unknown>,
        mend?: () => Promise<unknown>,
      ): Promise<void> => expect(await disturbed(lab, assault, what, disturb, mend)).toEqual({ what, leaks: [] })
      const proxy = await lab.id('proxy')
      await assault.rounds(1)
      await sealed(
        'killed',
        () => docker(['kill', proxy]),
        () => docker(['start', proxy]),
      )
      await sealed(
        'paused',
        () => docker(['pause', proxy]),
        () => docker(['unpause', proxy]),
      )
      await sealed('restarted', () => docker(['restart', '-t', '2', proxy]))
      await sealed('replaced', () =>
        lab.compose('up', '-d', '--no-build', '--no-deps', '--force-recreate', '-t', '2', 'proxy'),
      )
      await sealed('the server restarted', () => lab.id('mcp').then((id) => docker(['restart', '-t', '0', id])))
      await assault.stop()
    },
    TEST_MS,
  )

  test(
    'stopped from below, the server stays cut off; on the other network the same witness sees it',
    async () => {
      const assault = await lab.assault()
      await docker(['stop', '-t', '2', await lab.id('proxy')])
      await assault.rounds(2)
      expect((await lab.seen()).leaks).toEqual([])
      await docker(['network', 'connect', 'mcp-egress-test-gateway_egress', await lab.id('mcp')])
      await assault.rounds(1)
      await assault.stop()
      expect((await lab.seen()).leaks).not.toEqual([])
    },
    TEST_MS,
  )
})
