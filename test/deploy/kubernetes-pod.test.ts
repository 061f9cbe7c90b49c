// The sidecar pod of examples/kubernetes/base without Kubernetes: its containers, one after the other, as their own users with their
// own capabilities, in one network namespace, with folders for volumes.
//
//   pod (the namespace `client`)                              internet (its gateway)
//   uid 10001 workload ─ REDIRECT, HTTPS_PROXY ─▶ uid 10002 proxy ─▶ api.github.com, 198.51.100.10:443

import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GITHUB, machinePossible } from '../e2e/support/machine.ts'
import { type OriginProcess, startOriginProcess } from '../e2e/support/origin-process.ts'
import { type ProxyProcess, startProxyProcess } from '../e2e/support/proxy-process.ts'
import { COMMAND, NEUTRAL, type Spawner } from '../e2e/support/spawner.ts'
import { clientMissing } from '../e2e/support/web-clients.ts'
import { createNetwork, type Finished, type Namespace, type Network } from '../support/netns.ts'
import { createTestRoot } from '../support/origins.ts'
import { type Container, containerOf, LAYOUTS, podOf } from './support/manifests.ts'

const INTERNET = '198.51.100.10'
const PATH = '/repos/acme/app'
const ANSWER = 'what the origin says'

describe.skipIf(!machinePossible || clientMissing('curl') !== null)('the sidecar pod', () => {
  const undo: (() => unknown)[] = []
  const pod = podOf('base', 'mcp-server')
  const [workload, rules, proxyContainer] = ['mcp-server', 'rules', 'proxy'].map((name) => containerOf(pod, name)) as [
    Container,
    Container,
    Container,
  ]
  let network: Network
  let namespace: Namespace
  let origin: OriginProcess
  let proxy: ProxyProcess
  let volumes: string

  /** Paths in a container as they are here: every volume is a folder. */
  const here = ({ volumeMounts }: Container, text: string): string => {
    const folders = new Map((volumeMounts ?? []).map(({ name, mountPath }) => [mountPath, join(volumes, name)]))
    // In one go: what was replaced may begin like another mount.
    return text.replaceAll(new RegExp([...folders.keys()].join('|'), 'g'), (path) => folders.get(path) ?? path)
  }

  /** What the container runtime does with a securityContext. */
  const as = ({ securityContext }: Container, uid = securityContext.runAsUser ?? 0): string[] => {
    const { drop, add = [] } = securityContext.capabilities ?? {}
    const kept = add.map((capability) => `,+${capability.toLowerCase()}`).join('')
    const sets = drop?.includes('ALL') === true ? [`--bounding-set=-all${kept}`, `--inh-caps=-all${kept}`] : []
    const privileges = securityContext.allowPrivilegeEscalation === false ? ['--no-new-privs'] : []
    return [`--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', ...sets, ...privileges, '--']
  }

  /** Runs an init container to its end, as the kubelet does before the next one. */
  const initialise = async (container: Container): Promise<void> => {
    const args = (container.args ?? []).map((arg) => here(container, arg))
    const { code, stderr } = await namespace.exec('setpriv', [...as(container), process.execPath, COMMAND, ...args], {
      env: NEUTRAL,
      timeoutMs: 60_000,
    })
    if (code !== 0) throw new Error(`container ${container.name} ended with ${code}: ${stderr}`)
  }

  /** curl in the workload's container: with the environment of the manifest, or with only its trust. */
  const curl = (url: string, options: { proxied: boolean; uid?: number; method?: string }): Promise<Finished> => {
    const env = Object.fromEntries((workload.env ?? []).map(({ name, value = '' }) => [name, here(workload, value)]))
    const proxyless = options.proxied ? [] : ['--noproxy', '*', '--resolve', `*:443:${INTERNET}`]
    const asked = ['-sS', '-i', '--http1.1', '--max-time', '10', '-X', options.method ?? 'GET', ...proxyless, url]
    return namespace.exec('setpriv', [...as(workload, options.uid), 'curl', ...asked], { env: { ...NEUTRAL, ...env } })
  }

  beforeAll(async () => {
    network = await createNetwork('pod', { client: true, addresses: [`${INTERNET}/32`] })
    undo.push(() => network.close())
    if (network.client === null) throw new Error('a network without its client')
    namespace = network.client
    const hosts = `/etc/netns/${namespace.name}`
    mkdirSync(hosts, { recursive: true })
    undo.push(() => rmSync(hosts, { recursive: true, force: true }))
    writeFileSync(join(hosts, 'hosts'), `127.0.0.1 localhost\n${INTERNET} ${GITHUB}\n`)

    volumes = mkdtempSync(join(tmpdir(), 'mcp-egress-pod-'))
    undo.push(() => rmSync(volumes, { recursive: true, force: true }))
    chmodSync(volumes, 0o755)
    for (const { name, emptyDir } of pod.volumes ?? []) {
      mkdirSync(join(volumes, name))
      // An emptyDir is root's, and open to every user of the containers that mount it.
      chmodSync(join(volumes, name), emptyDir === undefined ? 0o755 : 0o777)
    }
    const root = createTestRoot()
    undo.push(() => root.close())
    chmodSync(dirname(root.file), 0o755)
    const policy = here(proxyContainer, readFileSync(join(LAYOUTS, 'base/mcp-egress.yaml'), 'utf8'))
    const upstream = `upstream: { trust: [${root.file}], allow: ["${INTERNET}/32"] }\n`
    writeFileSync(join(volumes, 'config/mcp-egress.yaml'), policy + upstream)
    origin = await startOriginProcess(network, root, {
      listen: [{ host: INTERNET, port: 443 }],
      names: [GITHUB],
      answers: { [`${GITHUB} ${PATH}`]: { status: 200, headers: {}, body: ANSWER } },
    })
    undo.push(() => origin.stop())
    for (const container of pod.initContainers ?? []) {
      if (container.restartPolicy === 'Always') break
      await initialise(container)
    }
  })

  afterAll(async () => {
    for (const step of undo.reverse()) await step()
  })

  describe('between the rules and the proxy', () => {
    it('is closed: every way into the proxy is refused, and the origin sees nobody', async () => {
      expect((await curl(`https://${GITHUB}${PATH}`, { proxied: false })).code).toBe(7)
      expect((await curl(`https://${GITHUB}${PATH}`, { proxied: true })).code).toBe(7)
      expect(origin.events.filter(({ event }) => event === 'connection')).toEqual([])
    })

    it('the workload has certificates, and no key', () => {
      expect(readdirSync(join(volumes, 'trust')).toSorted()).toEqual(['bundle.pem', 'ca.pem', 'truststore.p12'])
    })
  })

  describe('with the proxy', () => {
    beforeAll(async () => {
      const spawner: Spawner = {
        exec: namespace.exec,
        spawn: (command, args, options) =>
          namespace.spawn('setpriv', [...as(proxyContainer), command, ...args], options),
      }
      const configFile = here(proxyContainer, proxyContainer.args?.[2] ?? '')
      proxy = await startProxyProcess(spawner, { configFile, trailFile: join(volumes, 'audit/trail/audit.jsonl') })
      undo.push(() => proxy.stop())
    })

    it('is healthy, says the probe', async () => {
      const [, ...args] = (proxyContainer.startupProbe?.exec?.command ?? []).map((arg) => here(proxyContainer, arg))
      const asked = [...as(proxyContainer), process.execPath, COMMAND, ...args]
      const { code, stdout } = await namespace.exec('setpriv', asked, { env: NEUTRAL })
      expect([code, stdout]).toEqual([0, 'healthy\n'])
    })

    it.each([
      ['by its variables', true, 'connect'],
      ['without them', false, 'transparent'],
    ])('the workload reaches what the policy allows, %s', async (_how, proxied, door) => {
      const before = proxy.records().length
      const { code, stdout, stderr } = await curl(`https://${GITHUB}${PATH}`, { proxied })
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout.split('\r\n').at(-1)).toBe(ANSWER)
      const records = await proxy.waitFor('end', (found) =>
        found.slice(before).some(({ event }) => event === 'request.completed'),
      )
      expect(records.slice(before).find(({ event }) => event === 'request.decided')).toMatchObject({
        door,
        decision: 'allow',
        rule: 'github-read',
      })
    })

    it.each([
      ['what it does not allow', 10_001, 'POST', `https://${GITHUB}/gists`],
      ['another name', 10_001, 'GET', 'https://evil.example/'],
      ['as a user that nobody named', 4_242, 'GET', 'https://evil.example/'],
      ['as root without capabilities', 0, 'GET', 'https://evil.example/'],
    ])('nobody in the pod reaches %s', async (_what, uid, method, url) => {
      const before = origin.events.length
      const { code, stdout } = await curl(url, { proxied: false, uid, method })
      expect([code, stdout.split('\r\n')[0]]).toEqual([0, 'HTTP/1.1 403 Forbidden'])
      expect(origin.events.slice(before)).toEqual([])
    })

    it.each([
      ['a name that a rule could allow', GITHUB, '["198.18.0.1"]'],
      ['any other name', 'stolen-token.evil.example', 'ENOTFOUND'],
    ])('the proxy answers for the resolver of the cluster: %s', async (_what, name, expected) => {
      // The resolver is nobody: only a redirected question has an answer.
      const script = `const { Resolver } = require('node:dns').promises
        const resolver = new Resolver({ timeout: 5000, tries: 1 })
        resolver.setServers(['10.96.0.10'])
        resolver.resolve4(${JSON.stringify(name)}).then((found) => console.log(JSON.stringify(found)), ({ code }) => console.log(code))`
      const asked = [...as(workload), process.execPath, '-e', script]
      const { stdout } = await namespace.exec('setpriv', asked, { env: NEUTRAL })
      expect(stdout.trim()).toBe(expected)
    })

    it('the workload can not take the rules out', async () => {
      const removed = await namespace.exec('setpriv', [...as(workload, 0), 'iptables', '-t', 'nat', '-F'])
      expect(removed.code).not.toBe(0)
      // With the one capability of the container `rules` it could: it is this that the pod must not hand out.
      const listed = await namespace.exec('setpriv', [...as(rules), 'iptables', '-t', 'nat', '-S'])
      expect(listed.stdout).toContain('-A OUTPUT')
    })
  })
})
