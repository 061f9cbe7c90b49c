// One of the shipped layouts, as it is shipped, on a network of its own with a witness that writes down whatever gets out.

import { type ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stringify, parse } from 'yaml'
import { issue } from '../../support/certificates.ts'
import { compose, docker, dockerChild, type Finished, type RunOptions } from './engine.ts'
import { buildProduct, buildTools, removeImages } from './image.ts'
import { ROOT } from './root.ts'

export const ALLOWED_URL = 'https://api.lab.test/allowed'
export const DENIED_URL = 'https://api.lab.test/denied'
const HOST_PORTS = { sidecar: 47_808, gateway: 47_809 } as const
/** Nobody's (RFC 5737), routed out over the bridge that the sniffer reads. */
const MARKER_ADDRESS = '198.51.100.250'
const UP_TIMEOUT_MS = 180_000
const POLL_MS = 200
const PATIENCE_MS = 45_000

export type LayoutName = 'sidecar' | 'gateway'

/** The Internet of each layout: documentation ranges (RFC 5737, RFC 3849), apart so that both can run at once. */
const WORLDS = {
  sidecar: { subnet4: '203.0.113.0/26', gateway: '203.0.113.1', witness4: '203.0.113.53', six: '2001:db8:57:' },
  gateway: { subnet4: '203.0.113.64/26', gateway: '203.0.113.65', witness4: '203.0.113.117', six: '2001:db8:58:' },
} as const

/** Where the test's own wiring of a layout differs from the other's. */
export interface LayoutWiring {
  readonly name: LayoutName
  /** The proxy as the workload reaches it. */
  readonly proxy: string
  /** More members for services and networks of the override file. */
  readonly services: (world: World) => Record<string, Record<string, unknown>>
  readonly networks?: Record<string, unknown>
  readonly workloadEnvironment?: Record<string, string>
}

export type World = (typeof WORLDS)[LayoutName]

/** What the witness and the sniffer wrote down, less what the unprotected control container did. */
export interface Seen {
  readonly leaks: readonly string[]
  /** Answers the origin gave to the one allowed request. */
  readonly allowed: number
  readonly dropped: number
}

export interface Lab {
  readonly world: World
  /** Starts everything but the network and its witness, which are there from the beginning. */
  up(): Promise<void>
  compose(...args: readonly string[]): Promise<Finished>
  /** The container of a service, for `docker kill`, `pause` and so on. */
  id(service: string): Promise<string>
  exec(service: string, command: readonly string[], options?: RunOptions): Promise<Finished>
  /** Every try of `hostile.py`, once, and what became of each. */
  attack(service?: string): Promise<Record<string, string>>
  /** The quick tries again and again, until `stop`; a workload that dies is no error. */
  assault(): Promise<Assault>
  /** The tries of a container that nothing protects, and the flows that were seen of it. */
  control(): Promise<readonly string[]>
  /** Everything seen up to now: waits until the sniffer has read every earlier frame. */
  seen(): Promise<Seen>
  /** What the shipped example said of its two requests. */
  example(): Promise<string>
  /** The records of the audit trail. */
  trail(): Promise<readonly Readonly<Record<string, unknown>>[]>
  /** Whether the allowed request comes through now. */
  allowedWorks(): Promise<boolean>
  close(): Promise<void>
}

export interface Assault {
  /** Resolves when `count` more rounds have ended. */
  rounds(count: number): Promise<void>
  stop(): Promise<void>
}

export async function createLab(wiring: LayoutWiring): Promise<Lab> {
  const project = `mcp-egress-test-${wiring.name}`
  const [product, tools] = [`${project}-product`, `${project}-tools`]
  const world = WORLDS[wiring.name]
  const folder = mkdtempSync(join(tmpdir(), `${project}-`))
  chmodSync(folder, 0o755)
  const files = ['-f', `${ROOT}/docker/${wiring.name}/compose.yaml`, '-f', join(folder, 'override.yaml')]
  const env = { MCP_EGRESS_RESOLV_CONF: join(folder, 'resolv.conf') }
  const composed = (...args: readonly string[]): Promise<Finished> =>
    compose(['-p', project, ...files, ...args], { env, timeoutMs: UP_TIMEOUT_MS })
  const children = new Set<ChildProcess>()
  const sniffer = `${project}-sniffer`
  const controlName = `${project}-control`

  const close = async (): Promise<void> => {
    for (const child of children) child.kill('SIGKILL')
    await docker(['rm', '--force', sniffer, controlName], { mayFail: true })
    await compose(['-p', project, ...files, 'down', '--volumes', '--timeout', '2', '--remove-orphans'], {
      env,
      mayFail: true,
    })
    await removeImages([product, tools])
    rmSync(folder, { recursive: true, force: true })
  }

  const support = `${ROOT}/test/deploy/support`
  const attackEnvironment: Record<string, string> = {
    WITNESS4: world.witness4,
    WITNESS6: `${world.six}:53`,
    PROXY: wiring.proxy,
    HOSTS: `${world.gateway} 172.17.0.1`,
    HOST_PORT: String(HOST_PORTS[wiring.name]),
    ...wiring.workloadEnvironment,
  }

  /** What the control container did. A flow of anybody else's differs in its source, a question in its name. */
  const earlier = new Set<string>()
  const logs = async (): Promise<Line[]> => [...(await logLines(sniffer)), ...(await logLines(await lab.id('witness')))]

  const lab: Lab = {
    world,
    compose: composed,
    up: async () => void (await composed('up', '-d', '--no-build')),
    id: async (service) => {
      const labels = [`project=${project}`, `service=${service}`, 'oneoff=False']
      const filters = labels.flatMap((label) => ['--filter', `label=com.docker.compose.${label}`])
      return (await docker(['ps', '--all', '--quiet', '--no-trunc', ...filters])).stdout.trim()
    },
    exec: async (service, command, options = {}) => docker(['exec', await lab.id(service), ...command], options),
    attack: async (service = 'mcp') =>
      JSON.parse((await lab.exec(service, ['python3', '/hostile/hostile.py', 'once'])).stdout) as Record<
        string,
        string
      >,
    assault: async () => startAssault(() => lab.id('mcp'), children),
    control: async () => {
      const environment = Object.entries({ ...attackEnvironment, MARK: 'control' })
      const { stdout } = await docker([
        ...`run --name ${controlName} --network ${project}_egress --dns ${world.witness4} --user 10001`.split(' '),
        ...`--cap-drop ALL --volume ${support}:/hostile:ro`.split(' '),
        ...environment.flatMap(([name, value]) => ['--env', `${name}=${value}`]),
        ...`${tools} python3 /hostile/hostile.py once`.split(' '),
      ])
      if (stdout === '') throw new Error('the control container tried nothing')
      await marked(lab, sniffer)
      const lines = await logs()
      for (const line of lines) earlier.add(JSON.stringify(line))
      return [...earlier]
    },
    seen: async () => {
      const dropped = await marked(lab, sniffer)
      const ours = (await logs()).filter((line) => !earlier.has(JSON.stringify(line)))
      return {
        leaks: ours.filter((line) => isLeak(line, world)).map((line) => JSON.stringify(line)),
        allowed: ours.filter(({ origin }) => origin === 'GET /allowed HTTP/1.1').length,
        dropped,
      }
    },
    example: async () => {
      const said = async (): Promise<string> => (await docker(['logs', await lab.id('mcp')])).stdout
      await poll(async () => (await said()).split('\n').length > 2, 'the example does not say what came back')
      return said()
    },
    trail: async () => {
      const { stdout } = await lab.exec('proxy', ['cat', '/var/log/mcp-egress/audit.jsonl'])
      return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))
    },
    allowedWorks: async () => {
      const script = `fetch(${JSON.stringify(ALLOWED_URL)}).then(async (a) => process.stdout.write(String(a.status)), () => process.exit(1))`
      const { stdout } = await lab.exec('mcp', ['node', '-e', script], { mayFail: true, timeoutMs: 20_000 })
      return stdout === '200'
    },
    close,
  }
  try {
    await Promise.all([buildProduct(product), buildTools(tools)])
    writeWorld(folder, wiring, { product, tools, support, world, attackEnvironment })
    await composed('down', '--volumes', '--timeout', '2', '--remove-orphans')
    await docker(['rm', '--force', sniffer, controlName], { mayFail: true })
    await composed('up', '-d', '--no-build', 'witness')
    const network = (await docker(['network', 'inspect', `${project}_egress`, '--format', '{{.Id}}'])).stdout.trim()
    // Not watched: the witness, and what the host itself says on that bridge.
    const unwatched = `${world.witness4} ${world.six}:53 ${world.gateway} ${world.six}:1 172.17.0.1`
    const bridge = `br-${network.slice(0, 12)}`
    await docker([
      ...`run --detach --name ${sniffer} --network host --cap-drop ALL --cap-add NET_RAW --cap-add NET_ADMIN`.split(
        ' ',
      ),
      ...`--volume ${support}:/hostile:ro ${tools} python3 /hostile/sniffer.py`.split(' '),
      ...`${bridge} ${HOST_PORTS[wiring.name]} ${unwatched}`.split(' '),
    ])
    await poll(async () => (await logLines(sniffer)).some(({ ready }) => ready === true), 'the sniffer is not ready')
    return lab
  } catch (error) {
    await close()
    throw error
  }
}

/** Polls a condition; its deadline is generous because machines of tests are slow. */
export async function poll(condition: () => Promise<boolean>, otherwise: string): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(otherwise)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** Of the tries named, those that did not end as expected; one that was not made at all is among them. */
export function unlike(
  outcome: Readonly<Record<string, string>>,
  expected: RegExp,
  names: readonly string[],
): Record<string, string> {
  const results = names.map((name): [string, string] => [name, outcome[name] ?? 'not tried'])
  return Object.fromEntries(results.filter(([, result]) => !expected.test(result)))
}

/** Disturbs a running lab under assault, mends it, and demands that the allowed request comes back and nothing else got out. */
export async function disturbed(
  lab: Lab,
  assault: Assault,
  what: string,
  disturb: () => Promise<unknown>,
  mend: () => Promise<unknown> = () => Promise.resolve(),
): Promise<{ what: string; leaks: readonly string[] }> {
  await disturb()
  await assault.rounds(2)
  await mend()
  await poll(() => lab.allowedWorks(), `${what}: the allowed request does not come back`)
  return { what, leaks: (await lab.seen()).leaks }
}

type Line = Readonly<Record<string, unknown>>

async function logLines(container: string): Promise<Line[]> {
  const { stdout } = await docker(['logs', container])
  return stdout.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line) as Line]))
}

let markers = 0

/** Sends a frame that the sniffer knows over the same bridge and waits until it was read; gives the frames lost until then. */
async function marked(lab: Lab, sniffer: string): Promise<number> {
  markers += 1
  const marker = `marker:${process.pid}-${markers}`
  const send = `import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"${marker}", ("${MARKER_ADDRESS}", 9))`
  await lab.exec('witness', ['python3', '-c', send])
  let dropped = 0
  await poll(async () => {
    const line = (await logLines(sniffer)).find((one) => one['marker'] === marker)
    dropped = Number(line?.['dropped'] ?? 0)
    return line !== undefined
  }, `the sniffer does not see ${marker}`)
  return dropped
}

/** What the proxy may do: TLS to the origin, and questions for its name. Everything else on that bridge got out. */
function isLeak(line: Line, world: World): boolean {
  if ('ready' in line || 'marker' in line) return false
  if ('question' in line) return line['question'] !== 'api.lab.test'
  if ('origin' in line) return line['origin'] !== 'GET /allowed HTTP/1.1' || line['sni'] !== 'api.lab.test'
  if (!('destination' in line)) return true
  const toWitness = [world.witness4, `${world.six}:53`].includes(String(line['destination']))
  const tls = line['protocol'] === 6 && line['port'] === 443
  const question = (line['protocol'] === 17 && line['name'] === 'api.lab.test') || line['protocol'] === 6
  return !(toWitness && (tls || (line['port'] === 53 && question)))
}

async function startAssault(workload: () => Promise<string>, children: Set<ChildProcess>): Promise<Assault> {
  let ended = 0
  let stopped = false
  let child: ChildProcess
  const start = async (): Promise<void> => {
    child = dockerChild(['exec', '--interactive', await workload(), 'python3', '/hostile/hostile.py', 'loop'])
    children.add(child)
    child.stdin?.on('error', () => undefined)
    if (child.stdout !== null) createInterface(child.stdout).on('line', () => (ended += 1))
    child.once('close', () => {
      children.delete(child)
      // The container was restarted under us: begin again as soon as it is back.
      if (!stopped) setTimeout(() => void start().catch(() => undefined), POLL_MS)
    })
  }
  await start()
  return {
    rounds: async (count) => {
      const goal = ended + count
      await poll(async () => ended >= goal, `the assault made ${count} rounds no more`)
    },
    stop: async () => {
      stopped = true
      const closed = new Promise<void>((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) resolve()
        else child.once('close', () => resolve())
      })
      child.stdin?.end()
      await closed
    },
  }
}

interface Wired {
  readonly product: string
  readonly tools: string
  readonly support: string
  readonly world: World
  readonly attackEnvironment: Record<string, string>
}

/** The files that put the layout on the witness's network: what is shipped stays as it is, and this comes on top. */
function writeWorld(folder: string, wiring: LayoutWiring, wired: Wired): void {
  const { product, tools, support, world, attackEnvironment } = wired
  const root = issue({ commonName: 'container test root', ca: true })
  const leaf = issue({ issuer: root, names: ['api.lab.test'] })
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  const config = `${folder}/mcp-egress.yaml:/etc/mcp-egress/mcp-egress.yaml:ro`
  write('root.pem', root.pem)
  write('origin.pem', leaf.cert)
  write('origin.key', leaf.key)
  write('resolv.conf', `nameserver ${world.witness4}\n`)
  write('mcp-egress.yaml', labConfig(wiring.name, world))

  const own = wiring.services(world)
  const services = {
    ca: { image: product },
    proxy: { image: product, volumes: [config, `${folder}/root.pem:/etc/mcp-egress/root.pem:ro`], ...own['proxy'] },
    mcp: {
      image: tools,
      volumes: [`${support}:/hostile:ro`],
      environment: { EXAMPLE_ALLOWED: ALLOWED_URL, EXAMPLE_DENIED: DENIED_URL, ...attackEnvironment },
      ...own['mcp'],
    },
    witness: {
      image: tools,
      command: ['python3', '-u', '/hostile/witness.py'],
      environment: { WITNESS4: world.witness4 },
      volumes: [`${support}:/hostile:ro`, `${folder}:/witness:ro`],
      networks: { egress: { ipv4_address: world.witness4, ipv6_address: `${world.six}:53` }, ...own['witness'] },
    },
    ...(own['netns'] === undefined ? {} : { netns: { image: product, volumes: [config], ...own['netns'] } }),
  }
  const networks = {
    egress: { enable_ipv6: true, ipam: { config: [{ subnet: world.subnet4 }, { subnet: `${world.six}:/64` }] } },
    ...wiring.networks,
  }
  write('override.yaml', stringify({ services, networks }, { aliasDuplicateObjects: false }))
}

/** The shipped configuration with the witness as its only origin. */
function labConfig(layout: LayoutName, world: World): string {
  const shipped = parse(readFileSync(`${ROOT}/docker/${layout}/mcp-egress.yaml`, 'utf8')) as {
    rules: { allow: object }[]
    tests?: unknown
  }
  const { tests: _, ...rest } = shipped
  const rules = shipped.rules.map((rule) => ({
    ...rule,
    allow: { hosts: ['api.lab.test'], methods: ['GET'], paths: ['/allowed'] },
  }))
  const upstream = { trust: ['root.pem'], allow: [`${world.witness4}/32`] }
  return stringify({ ...rest, rules, upstream })
}
