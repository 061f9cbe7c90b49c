// The manifests of examples/kubernetes: valid for Kubernetes to the last field, and meaning what they promise.

import { execFileSync, spawnSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { loadConfig } from '../../src/config/load.ts'
import { authorityPaths } from '../../src/tls/authority-files.ts'
import { runtimeEnvironment } from '../../src/tls/runtime-env.ts'
import { COMMAND } from '../e2e/support/spawner.ts'
import {
  type Container,
  containerOf,
  type Layout,
  LAYOUTS,
  type Manifest,
  manifestsOf,
  podOf,
  type PodSpec,
  type Probe,
  problemsOf,
} from './support/manifests.ts'

const EVERY: readonly Layout[] = ['base', 'gateway']
const ENVIRONMENT = { GITHUB_MCP_TOKEN: 'a-token-that-is-long-enough' }
const TRUST = '/srv/mcp-egress-ca'

const containers = (pod: PodSpec): readonly Container[] => [...(pod.initContainers ?? []), ...pod.containers]
const pods = (layout: Layout): [string, PodSpec][] =>
  manifestsOf(layout)
    .filter(({ kind }) => kind === 'Deployment')
    .map(({ name }) => [name, podOf(layout, name)])
const uidOf = (pod: PodSpec, { securityContext }: Container): number | undefined =>
  securityContext.runAsUser ?? pod.securityContext.runAsUser
const volumesOf = ({ volumeMounts }: Container): string[] => (volumeMounts ?? []).map(({ name }) => name)

function flag(args: readonly string[], name: string): string | undefined {
  const at = args.indexOf(name)
  return at === -1 ? undefined : args[at + 1]
}

function run(args: readonly string[]): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [COMMAND, ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...ENVIRONMENT },
  })
  return { code: status, stdout, stderr }
}

describe.each(EVERY)('layout %s', (layout) => {
  const folder = join(LAYOUTS, layout)

  it.each(manifestsOf(layout).map((manifest): [string, Manifest] => [`${manifest.kind} ${manifest.name}`, manifest]))(
    '%s is what Kubernetes takes, without an unknown field',
    (_what, { value }) => {
      expect(problemsOf(value)).toEqual([])
    },
  )

  it('uses every file it has, and has every file it uses', () => {
    const kustomization = parse(readFileSync(join(folder, 'kustomization.yaml'), 'utf8')) as {
      resources: string[]
      namespace: string
      configMapGenerator: { name: string; files: string[] }[]
    }
    const generated = kustomization.configMapGenerator.flatMap(({ files }) => files)
    expect(new Set(['kustomization.yaml', ...kustomization.resources, ...generated])).toEqual(
      new Set(readdirSync(folder)),
    )
    expect(
      manifestsOf(layout)
        .filter(({ kind }) => kind === 'Namespace')
        .map(({ name }) => name),
    ).toEqual([kustomization.namespace])
    expect(kustomization.configMapGenerator.map(({ name }) => name)).toEqual(['mcp-egress'])
  })

  it('has a policy that is valid and passes its own tests', () => {
    const file = join(folder, 'mcp-egress.yaml')
    expect(run(['validate-config', '-c', file])).toMatchObject({ code: 0 })
    expect(run(['test', '-c', file])).toMatchObject({ code: 0 })
  })

  it('starts the proxy with the policy, and puts what it writes into volumes of its own', () => {
    const loaded = loadConfig(join(folder, 'mcp-egress.yaml'), ENVIRONMENT)
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
    const proxyPod = podOf(layout, layout === 'base' ? 'mcp-server' : 'mcp-egress')
    const proxy = containerOf(proxyPod, 'proxy')
    expect(proxy.args).toEqual(['proxy', '-c', '/etc/mcp-egress/mcp-egress.yaml'])
    const mounts = proxy.volumeMounts ?? []
    const [admin] = loaded.config.listen.admin
    const written = [
      loaded.config.caDirectory,
      loaded.config.audit.path,
      admin?.kind === 'unix' ? admin.path : 'no socket',
    ]
    for (const path of written) {
      expect(mounts.find(({ mountPath, readOnly }) => path.startsWith(mountPath) && readOnly !== true)).toBeDefined()
    }
    const workload = containerOf(podOf(layout, 'mcp-server'), 'mcp-server')
    expect(volumesOf(workload)).toEqual(['trust', 'tmp'])
    expect(workload.volumeMounts?.[0]).toEqual({ name: 'trust', mountPath: TRUST, readOnly: true })
  })

  it('asks the proxy for its health with a command that exists', () => {
    const proxy = containerOf(podOf(layout, layout === 'base' ? 'mcp-server' : 'mcp-egress'), 'proxy')
    const asked = (probe: Probe | undefined): unknown => probe?.exec?.command
    for (const probe of [proxy.startupProbe, proxy.readinessProbe, proxy.livenessProbe]) {
      expect(asked(probe)).toEqual(['mcp-egress', 'health', '-c', '/etc/mcp-egress/mcp-egress.yaml'])
    }
    // The probe in the image is `mcp-egress`, from PATH.
    expect(run(['health', '--help']).stdout).toContain('--config')
  })

  it.each(pods(layout))('pod %s gives nothing away', (_name, pod) => {
    expect(pod).toMatchObject({ automountServiceAccountToken: false, securityContext: { runAsNonRoot: true } })
    expect(pod.securityContext.seccompProfile).toEqual({ type: 'RuntimeDefault' })
    expect([pod.hostNetwork, pod.hostPID, pod.shareProcessNamespace].filter(Boolean)).toEqual([])
    expect((pod.volumes ?? []).filter(({ hostPath }) => hostPath !== undefined)).toEqual([])
    expect(manifestsOf(layout)).toContainEqual(
      expect.objectContaining({ kind: 'ServiceAccount', name: pod.serviceAccountName }),
    )
    for (const container of containers(pod)) {
      expect(container.securityContext).toMatchObject({
        allowPrivilegeEscalation: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
      })
      expect(container.securityContext.privileged).toBeUndefined()
      const mounted = volumesOf(container)
      expect((pod.volumes ?? []).map(({ name }) => name)).toEqual(expect.arrayContaining(mounted))
      if (container.name === 'rules') continue
      expect(container.securityContext.capabilities?.add).toBeUndefined()
      expect(uidOf(pod, container)).toBeGreaterThan(0)
    }
  })

  it('gives the workload what `ca env` says', () => {
    const workload = containerOf(podOf(layout, 'mcp-server'), 'mcp-server')
    const given = Object.fromEntries((workload.env ?? []).map(({ name, value }) => [name, value]))
    const proxyUrl = layout === 'base' ? 'http://127.0.0.1:3128' : undefined
    const { JAVA_TOOL_OPTIONS, ...wanted } = runtimeEnvironment({
      ...authorityPaths(TRUST),
      ...(proxyUrl === undefined ? {} : { proxyUrl }),
    })
    // There is no trust store in the ConfigMap of the gateway.
    expect(given['JAVA_TOOL_OPTIONS']).toBe(layout === 'base' ? JAVA_TOOL_OPTIONS : undefined)
    for (const [name, value] of Object.entries(wanted)) {
      expect([name, given[name]]).toEqual([name, layout === 'base' ? value : value.replace('/ca.pem', '/bundle.pem')])
    }
  })

  it('denies by default on the network, and has metadata in no block', () => {
    const policies = manifestsOf(layout).filter(({ kind }) => kind === 'NetworkPolicy')
    expect(policies.find(({ name }) => name === 'default-deny')?.value['spec']).toEqual({
      podSelector: {},
      policyTypes: ['Ingress', 'Egress'],
    })
    const text = JSON.stringify(policies.map(({ value }) => value))
    expect(text.match(/"cidr":"0\.0\.0\.0\/0"/g)?.length).toBe(text.match(/"except":\["169\.254\.0\.0\/16"\]/g)?.length)
    expect(text.match(/"cidr":"::\/0"/g)?.length).toBe(text.match(/"fd00:ec2::254\/128"\]/g)?.length)
  })

  const kubectl = spawnSync('kubectl', ['kustomize', '--help']).status === 0
  if (!kubectl) process.stderr.write('the build of the kustomizations is SKIPPED: no kubectl\n')
  it.runIf(kubectl)('is built by kubectl kustomize, everything in its namespace and valid still', () => {
    const built = parseAllDocuments(execFileSync('kubectl', ['kustomize', folder], { encoding: 'utf8' })).map(
      (document) => document.toJS() as Manifest['value'] & { kind: string; metadata: { namespace?: string } },
    )
    const [maps, others] = [
      built.filter(({ kind }) => kind === 'ConfigMap'),
      built.filter(({ kind }) => kind !== 'ConfigMap'),
    ]
    expect(maps.map((map) => (map['data'] as Record<string, string>)['mcp-egress.yaml'])).toEqual([
      readFileSync(join(folder, 'mcp-egress.yaml'), 'utf8'),
    ])
    expect(others.flatMap((manifest) => problemsOf(manifest))).toEqual([])
    const namespaces = new Set(
      others.filter(({ kind }) => kind !== 'Namespace').map(({ metadata }) => metadata.namespace),
    )
    expect(namespaces.size).toBe(1)
    // The generated name, with its hash, has reached the volumes.
    const [map] = maps as unknown as { metadata: { name: string } }[]
    expect(JSON.stringify(others)).toContain(`"configMap":{"name":"${map?.metadata.name}"}`)
  })
})

describe('the sidecar', () => {
  const pod = podOf('base', 'mcp-server')
  const rules = containerOf(pod, 'rules')
  const proxy = containerOf(pod, 'proxy')
  const workload = containerOf(pod, 'mcp-server')

  it('starts rules, CA, proxy and workload in this order, and only the proxy stays beside the workload', () => {
    expect(pod.initContainers?.map(({ name, restartPolicy }) => [name, restartPolicy])).toEqual([
      ['rules', undefined],
      ['ca', undefined],
      ['trust', undefined],
      ['proxy', 'Always'],
    ])
    expect(pod.containers.map(({ name }) => name)).toEqual(['mcp-server'])
    expect(proxy.startupProbe).toBeDefined()
  })

  it('has NET_ADMIN in the rules, and nowhere else, and root there alone', () => {
    expect(rules.securityContext).toMatchObject({ runAsUser: 0, capabilities: { add: ['NET_ADMIN'] } })
    expect(volumesOf(rules)).toEqual(['config'])
  })

  it('exempts the uid of the proxy and no other', () => {
    const args = rules.args ?? []
    const exempt = Number(flag(args, '--proxy-uid'))
    expect(exempt).toBe(uidOf(pod, proxy))
    expect(uidOf(pod, workload)).toBeDefined()
    expect(uidOf(pod, workload)).not.toBe(exempt)
    expect(args).not.toContain('--workload-uid')
  })

  it('prints rules from its policy, for both families, with that uid', () => {
    const config = join(LAYOUTS, 'base/mcp-egress.yaml')
    const [verb = '', action = '', ...flags] = (rules.args ?? []).map((arg) =>
      arg === '/etc/mcp-egress/mcp-egress.yaml' ? config : arg,
    )
    expect([verb, action]).toEqual(['iptables', 'apply'])
    const { code, stdout, stderr } = run(['iptables', 'print', ...flags])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain('--uid-owner 10002 -j RETURN')
    expect(stdout).not.toContain('--uid-owner 10001')
    expect(stdout).toContain('--to-ports 15001')
  })

  it('keeps the CA, the trail and the admin socket from the workload, by volume', () => {
    const own = ['state', 'audit', 'run', 'config']
    expect(volumesOf(proxy).toSorted()).toEqual(own.toSorted())
    expect(volumesOf(workload).filter((name) => own.includes(name))).toEqual([])
    const exported = containerOf(pod, 'trust')
    expect(exported.args?.slice(0, 3)).toEqual(['ca', 'export', TRUST])
    expect(volumesOf(exported)).toEqual(['config', 'state', 'trust'])
  })

  it('lets the proxy finish: the grace of the pod is longer than its own', () => {
    const loaded = loadConfig(join(LAYOUTS, 'base/mcp-egress.yaml'), {})
    if (!loaded.ok) throw new Error('the policy does not load')
    expect((pod.terminationGracePeriodSeconds ?? 0) * 1000).toBeGreaterThan(loaded.config.shutdownGraceMs + 2000)
  })
})

describe('the gateway', () => {
  const workloadPod = podOf('gateway', 'mcp-server')
  const policy = (name: string): unknown =>
    manifestsOf('gateway').find((manifest) => manifest.kind === 'NetworkPolicy' && manifest.name === name)?.value[
      'spec'
    ]

  it('lets a workload reach the proxy and nothing else, no resolver either', () => {
    expect(policy('mcp-server')).toMatchObject({
      podSelector: { matchLabels: { 'mcp-egress/client': 'true' } },
      policyTypes: ['Ingress', 'Egress'],
      egress: [
        {
          to: [{ podSelector: { matchLabels: { 'app.kubernetes.io/name': 'mcp-egress' } } }],
          ports: [{ protocol: 'TCP', port: 3128 }],
        },
      ],
    })
    expect(workloadPod).toMatchObject({ dnsPolicy: 'None', dnsConfig: { nameservers: ['127.0.0.1'] } })
  })

  it('selects its pods by the labels that they have', () => {
    const labels = manifestsOf('gateway')
      .filter(({ kind }) => kind === 'Deployment')
      .map(({ value }) => (value as unknown as { spec: { template: { metadata: { labels: object } } } }).spec.template)
      .map(({ metadata }) => metadata.labels)
    expect(labels).toEqual([
      { 'app.kubernetes.io/name': 'mcp-egress' },
      { 'app.kubernetes.io/name': 'mcp-server', 'mcp-egress/client': 'true' },
    ])
  })

  it('tells clients apart by the token that both sides take from one secret', () => {
    const token = {
      name: 'GITHUB_MCP_TOKEN',
      valueFrom: { secretKeyRef: { name: 'mcp-egress-tokens', key: 'GITHUB_MCP_TOKEN' } },
    }
    expect(containerOf(workloadPod, 'mcp-server').env).toContainEqual(token)
    const proxyPod = podOf('gateway', 'mcp-egress')
    for (const name of ['ca', 'proxy']) expect(containerOf(proxyPod, name).env).toEqual([token])
  })

  it('does not have the group of the volume opened at every start, the key of the CA with it', () => {
    expect(podOf('gateway', 'mcp-egress').securityContext).toMatchObject({
      fsGroup: 10_002,
      fsGroupChangePolicy: 'OnRootMismatch',
    })
  })
})

describe('a fault in a manifest is found', () => {
  const deployment = (): Manifest['value'] => {
    const found = manifestsOf('base').find(({ kind }) => kind === 'Deployment')
    if (found === undefined) throw new Error('no Deployment')
    return found.value
  }
  const planted = (from: string, to: string): string[] => {
    const text = JSON.stringify(deployment())
    expect(text).toContain(from)
    return problemsOf(JSON.parse(text.replace(from, to)) as Manifest['value'])
  }

  it.each([
    [
      'a misspelt field',
      '"readOnlyRootFilesystem"',
      '"readOnlyRootFileSystem"',
      /unknown field .*\/readOnlyRootFileSystem$/,
    ],
    [
      'a field in the wrong place',
      '"replicas":1',
      '"replicas":1,"hostNetwork":true',
      /^unknown field \/spec\/hostNetwork$/,
    ],
    ['a number where a text belongs', '"--proxy-uid","10002"', '"--proxy-uid",10002', /args\/7 must be string$/],
    ['a kind nobody knows', '"kind":"Deployment"', '"kind":"Deploy"', /no schema for apps\/v1 Deploy/],
    ['a missing selector', '"selector"', '"selectors"', /must have required property selector\n/],
  ])('%s', (_what, from, to, message) => {
    expect(planted(from, to).join('\n')).toMatch(message)
  })
})
