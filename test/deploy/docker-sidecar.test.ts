import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { docker, dockerTestsPossible } from './support/engine.ts'
import { ALLOWED_URL, createLab, DENIED_URL, disturbed, type Lab, poll, unlike } from './support/lab.ts'

const SETUP_MS = 240_000
const TEST_MS = 150_000

describe.skipIf(!dockerTestsPossible)('the sidecar layout, with a hostile MCP server', () => {
  let lab: Lab
  let control: readonly string[]
  let outcome: Record<string, string>

  beforeAll(async () => {
    lab = await createLab({
      name: 'sidecar',
      proxy: '127.0.0.1',
      services: ({ six, subnet4 }) => ({
        netns: { networks: { egress: { ipv4_address: subnet4.replace('0/26', '10'), ipv6_address: `${six}:10` } } },
      }),
    })
    control = await lab.control()
    await lab.up()
  }, SETUP_MS)
  afterAll(async () => lab?.close(), SETUP_MS)

  test('the witness sees all of it from a container that nothing protects', () => {
    const all = control.join('\n')
    for (const flow of [
      ...[22, 25, 80, 443, 853, 5432, 8443].map((port) => `"protocol":6,"port":${port},`),
      ...[53, 443, 4500, 4444, 5353].map((port) => `"protocol":17,"port":${port},`),
      '"protocol":1,',
      '"protocol":58,',
      '2001:db8:ffff::1',
      'ff02::fb',
      '169.254.169.254',
      '"host":',
      '"neighbour":',
      '/leak-control',
      '/denied-control',
      ...[
        'udp-out',
        'udp-witness',
        'tcp-witness',
        'system',
        'embedded-udp',
        'embedded-tcp',
        'port-udp',
        'port-tcp',
      ].map((label) => `${label}-control.exfil.test`),
    ]) {
      expect(all).toContain(flow)
    }
  })

  test(
    'the example comes up as it is shipped: one answer, one refusal that can be read, both in the trail',
    async () => {
      const stdout = await lab.example()
      expect(stdout).toContain(`${ALLOWED_URL}: 200 hello from the origin`)
      expect(stdout).toContain(`${DENIED_URL}: 403 {"error":"egress_denied","reason":"no_matching_rule"`)
      const trail = await lab.trail()
      const decided = trail.filter(({ event }) => event === 'request.decided')
      expect(decided).toContainEqual(
        expect.objectContaining({ door: 'transparent', decision: 'allow', rule: 'github-read', path: '/allowed' }),
      )
      expect(decided).toContainEqual(
        expect.objectContaining({ door: 'transparent', decision: 'deny', path: '/denied' }),
      )
      expect((await lab.seen()).allowed).toBe(1)
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
    const kernel = ['udp-443', 'v6-udp-443', 'icmp', 'multicast', 'broadcast', 'source-route', 'so-bindtodevice-udp']
    expect(unlike(outcome, /PermissionError/, [...kernel, 'raw-socket', 'packet-socket', 'so-mark'])).toEqual({})
    expect(unlike(outcome, /^EPERM$/, ['setuid-proxy', 'user-namespace'])).toEqual({})
    const tools = ['iptables-flush', 'iptables-legacy', 'nft-flush', 'route', 'link']
    expect(unlike(outcome, /^(exit [1-9]|not here)/, tools)).toEqual({})
    const judged = ['tls-out', 'tls-witness', 'tls-fronted', 'http-80', 'metadata']
    expect(unlike(outcome, /^HTTP\/1\.1 403 Forbidden$/, judged)).toEqual({})
    const noRequest = ['raw-443', 'tcp-22', 'tcp-853', 'v6-tcp-443', 'neighbour']
    expect(unlike(outcome, /^HTTP\/1\.1 400 Bad Request$/, noRequest)).toEqual({})
    expect(unlike(outcome, /ConnectionRefused/, ['admin'])).toEqual({})
    expect(unlike(outcome, /^(False|\[\])$/, ['docker-socket', 'files'])).toEqual({})
    expect(unlike(outcome, /PermissionError|Read-only/, ['key-folder', 'ca-writable'])).toEqual({})
  })

  test(
    'nothing gets out while the proxy is killed, paused, restarted and replaced, and the rules are applied anew',
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
      await sealed('the rules applied anew', async () => {
        const spec = (await docker(['inspect', '--format', '{{json .Config.Cmd}}', await lab.id('netns')])).stdout
        await lab.exec('netns', ['mcp-egress', 'iptables', 'apply', ...(JSON.parse(spec) as string[])])
      })
      await sealed('the server restarted', () => lab.id('mcp').then((id) => docker(['restart', '-t', '0', id])))
      await assault.stop()
    },
    TEST_MS,
  )

  test(
    'the owner of the namespace holds no privilege, and a namespace it makes anew has its rules',
    async () => {
      const { stdout } = await lab.exec('netns', ['cat', '/proc/1/status'])
      expect(stdout).toMatch(/^CapEff:\s+0+$/m)
      expect(stdout).toMatch(/^CapPrm:\s+0+$/m)
      expect(stdout).toMatch(/^Uid:\s+65534\s+65534\s+65534\s+65534$/m)
      expect(stdout).toMatch(/^NoNewPrivs:\s+1$/m)

      const assault = await lab.assault()
      await assault.rounds(1)
      await docker(['restart', '-t', '0', await lab.id('netns')])
      await assault.rounds(2) // still in the old namespace, which has lost its network
      const health = ['inspect', '--format', '{{.State.Health.Status}}', await lab.id('netns')]
      await poll(async () => (await docker(health)).stdout === 'healthy\n', 'the rules are not in force again')
      await docker(['restart', '-t', '0', await lab.id('mcp')])
      await assault.rounds(2) // in the new namespace, alone: the proxy is in the old one
      expect((await lab.seen()).leaks).toEqual([])
      await docker(['restart', '-t', '2', await lab.id('proxy')])
      await poll(() => lab.allowedWorks(), 'the allowed request does not come back')
      await assault.stop()
      expect((await lab.seen()).leaks).toEqual([])
    },
    TEST_MS,
  )

  test(
    'stopped from below, the server stays cut off; without the rules the same witness sees it',
    async () => {
      const assault = await lab.assault()
      await docker(['stop', '-t', '2', await lab.id('proxy')])
      await assault.rounds(2)
      expect((await lab.seen()).leaks).toEqual([])
      await lab.exec('netns', ['mcp-egress', 'iptables', 'remove'])
      await assault.rounds(1)
      await assault.stop()
      expect((await lab.seen()).leaks).not.toEqual([])
    },
    TEST_MS,
  )
})
