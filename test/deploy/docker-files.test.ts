// The files in docker/, read: what they promise holds in every service, also in one that somebody adds later.

import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { testCommand } from '../../src/cli/test-policy.ts'
import { loadConfig } from '../../src/config/load.ts'
import { authorityPaths } from '../../src/tls/authority-files.ts'
import { runtimeEnvironment } from '../../src/tls/runtime-env.ts'
import { run } from '../cli/capture.ts'
import { ROOT } from './support/root.ts'

interface Service {
  readonly image: string
  readonly build?: object
  readonly user?: string
  readonly command?: readonly string[]
  readonly entrypoint?: readonly string[]
  readonly cap_drop?: readonly string[]
  readonly cap_add?: readonly string[]
  readonly security_opt?: readonly string[]
  readonly read_only?: boolean
  readonly privileged?: boolean
  readonly network_mode?: string
  readonly networks?: object
  readonly volumes?: readonly string[]
  readonly tmpfs?: readonly string[]
  readonly healthcheck?: { readonly test?: readonly string[] }
  readonly environment?: Record<string, string>
  readonly restart?: string
  readonly depends_on?: Record<string, { condition: string }>
  readonly dns?: readonly string[]
}

interface ComposeFile {
  readonly version?: string
  readonly services: Record<string, Service>
  readonly networks: Record<string, Network | null>
  readonly volumes: object
}

interface Network {
  readonly internal?: boolean
  readonly labels?: Record<string, string>
  readonly ipam?: { readonly config: readonly { readonly subnet: string }[] }
}

const KEY_VOLUME = 'ca-key:'
const LAYOUTS = ['sidecar', 'gateway'] as const
const read = (path: string): string => readFileSync(`${ROOT}/${path}`, 'utf8')
const layout = (name: string): ComposeFile => parse(read(`docker/${name}/compose.yaml`), { merge: true }) as ComposeFile

describe.each(LAYOUTS)('docker/%s', (name) => {
  const { services, version } = layout(name)

  test('Compose v1 and v2 read it: no version, and conditions that both know', () => {
    expect(version).toBeUndefined()
    expect(read(`docker/${name}/compose.yaml`)).not.toMatch(
      /^\s+(start_interval|include|develop|gw_priority|post_start):/m,
    )
  })

  test('has the members that a Compose file may have', () => {
    const own = Object.keys(layout(name)).filter((member) => !member.startsWith('x-'))
    expect(own).toEqual(['services', 'networks', 'volumes'])
  })

  test.each(Object.entries(services))('%s is consistent, as Compose v2 asks and v1 does not', (_service, spec) => {
    const { networks, volumes } = layout(name)
    const shared = /^service:(.+)$/.exec(spec.network_mode ?? '')?.[1]
    const referred = [...Object.keys(spec.depends_on ?? {}), ...(shared === undefined ? [] : [shared])]
    expect(Object.keys(services)).toEqual(expect.arrayContaining(referred))
    expect(spec.network_mode === undefined || spec.networks === undefined).toBe(true)
    const joined = Array.isArray(spec.networks) ? (spec.networks as string[]) : Object.keys(spec.networks ?? {})
    expect(Object.keys(networks)).toEqual(expect.arrayContaining(joined))
    // With a variable's default in the place of the variable.
    const mounts = (spec.volumes ?? []).map((volume) => volume.replace(/\$\{\w+:-([^}]*)\}/, '$1').split(':'))
    const named = mounts.flatMap(([source = '']) => (source.startsWith('.') ? [] : [source]))
    expect(Object.keys(volumes)).toEqual(expect.arrayContaining(named))
    const targets = [...mounts.map(([, target]) => target), ...(spec.tmpfs ?? []).map((each) => each.split(':')[0])]
    expect(new Set(targets).size).toBe(targets.length)
    expect(['CMD', undefined]).toContain(spec.healthcheck?.test?.[0])
  })

  test.each(Object.entries(services))('%s has no capabilities but those that make the rules', (service, spec) => {
    expect(spec.cap_drop).toEqual(['ALL'])
    expect(spec.security_opt).toEqual(['no-new-privileges:true'])
    expect(spec.privileged).toBeUndefined()
    expect(spec.cap_add).toEqual(service === 'netns' ? ['NET_ADMIN', 'SETUID', 'SETGID'] : undefined)
    expect(spec.read_only ?? false).toBe(spec.build !== undefined)
  })

  test.each(Object.entries(services))(
    '%s mounts the key only where it has to, and never the engine',
    (service, spec) => {
      const volumes = spec.volumes ?? []
      expect(volumes.filter((volume) => volume.includes('docker.sock'))).toEqual([])
      expect(volumes.some((volume) => volume.startsWith(KEY_VOLUME))).toBe(['ca', 'proxy'].includes(service))
      expect(volumes.some((volume) => volume.startsWith('audit:'))).toBe(service === 'proxy')
    },
  )

  test('the server writes to nothing that anybody else reads', () => {
    expect(services['mcp']?.volumes?.filter((volume) => !volume.endsWith(':ro'))).toEqual([])
  })

  test('the server has a user that is neither root nor the proxy, and does not start by itself after a reboot', () => {
    expect(services['mcp']?.user).toBe('10001:10001')
    expect(services['mcp']?.restart).toBeUndefined()
  })

  test('the server trusts the CA in every runtime that `ca env` knows', () => {
    const proxyUrl = name === 'gateway' ? { proxyUrl: 'http://172.30.57.2:3128' } : {}
    expect(services['mcp']?.environment).toEqual(
      runtimeEnvironment({ ...authorityPaths('/etc/mcp-egress-ca'), ...proxyUrl }),
    )
  })

  test('its configuration is valid, and means what its own tests say', async () => {
    const file = `${ROOT}/docker/${name}/mcp-egress.yaml`
    expect(loadConfig(file, {})).toMatchObject({ ok: true })
    const { code, out } = await run(testCommand, ['-c', file])
    expect(out).toContain('3 passed, 0 failed')
    expect(code).toBe(0)
  })
})

describe('docker/sidecar', () => {
  const { services } = layout('sidecar')

  test('everybody shares the namespace whose owner has the rules, and nobody else has a network', () => {
    expect(services['proxy']?.network_mode).toBe('service:netns')
    expect(services['mcp']?.network_mode).toBe('service:netns')
    expect(services['ca']?.network_mode).toBe('none')
  })

  test('a namespace without rules is joined by nobody: it does not come back by itself, and all wait for its health', () => {
    expect(services['netns']?.restart).toBe('no')
    for (const guest of ['proxy', 'mcp']) {
      expect(services[guest]?.depends_on).toMatchObject({ netns: { condition: 'service_healthy' } })
    }
  })

  test('nobody but the proxy is exempt from the rules, and no resolver of the host is behind the embedded one', () => {
    expect(services['netns']?.command).toEqual([
      '-c',
      '/etc/mcp-egress/mcp-egress.yaml',
      '--proxy-uid',
      '10002',
      '--dns',
      'proxy',
    ])
    expect(services['netns']?.dns).toEqual(['192.0.2.53'])
    expect(read('docker/Dockerfile')).toContain('USER 10002:10002\n')
  })
})

describe('docker/gateway', () => {
  test('the server is on an internal network only, and asks nobody but the proxy for names', () => {
    const { services, networks } = layout('gateway')
    const own = Object.keys(services['mcp']?.networks ?? {})
    expect(own.map((network) => networks[network]?.internal)).toEqual([true])
    expect(services['mcp']?.dns).toEqual(['172.30.57.2'])
    expect(services['mcp']?.volumes).toContain('./resolv.conf:/etc/resolv.conf:ro')
    expect(read('docker/gateway/resolv.conf').match(/^nameserver .*$/gm)).toEqual(['nameserver 172.30.57.2'])
  })
})

test('docker/gateway labels the network of its client with the name that the configuration gives it', () => {
  const { networks } = layout('gateway')
  const { clients } = parse(read('docker/gateway/mcp-egress.yaml')) as { clients: unknown }
  const labelled = Object.values(networks).flatMap((network) => {
    const client = network?.labels?.['mcp-egress.client']
    return client === undefined ? [] : [{ name: client, source: network?.ipam?.config.map(({ subnet }) => subnet) }]
  })
  expect(labelled).toEqual(clients)
})

describe('docker/Dockerfile', () => {
  const text = read('docker/Dockerfile')

  test('starts what it starts without a shell', () => {
    for (const instruction of ['ENTRYPOINT', 'CMD']) expect(text).toMatch(new RegExp(`^${instruction} \\["`, 'm'))
    expect(text).toMatch(/^HEALTHCHECK [^\n]*\\\n\s+CMD \["node", /m)
    expect(text).toMatch(/^STOPSIGNAL SIGTERM$/m)
  })

  test('takes only what it copies into the build, so that no key and no trail can get into an image', () => {
    const [first, ...allowed] = read('.dockerignore')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    expect(first).toBe('*')
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = '']) => paths.split(' '))
    expect(allowed.map((line) => line.replace(/^!/, '')).sort()).toEqual(copied.sort())
  })
})
