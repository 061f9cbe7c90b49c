// A network of its own in which the rules under test are set, with servers that say who they are and clients that try to get out.

import { type ChildProcess, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import type { Backend } from '../../../src/jail/rules/backend.ts'
import { type JailOptions, planRules, type RedirectOptions } from '../../../src/jail/rules/plan.ts'
import type { Family, RuleSet } from '../../../src/jail/rules/rule.ts'
import { createNetwork, type Namespace, type Network, networkTestsPossible } from '../../support/netns.ts'

export const BOTH: readonly Family[] = ['v4', 'v6']
export const PROXY = 64_001
export const WORKLOAD = 64_002
export const OTHER = 64_003
export const OUTSIDE = { v4: '198.51.100.7', v6: '2001:db8::7' } as const

export const OPTIONS: RedirectOptions = {
  mode: 'output',
  proxyUid: PROXY,
  workloadUids: [{ first: WORKLOAD, last: WORKLOAD }],
  inInterface: null,
  ports: [],
  dns: [OUTSIDE.v4],
  listeners: [
    { kind: 'tcp', host: '127.0.0.1', port: 15001 },
    { kind: 'tcp', host: '::1', port: 15001 },
  ],
  dnsListeners: [
    { kind: 'tcp', host: '127.0.0.1', port: 15053 },
    { kind: 'tcp', host: '::1', port: 15053 },
  ],
  adminPorts: [9901],
}

export type Target = ['tcp' | 'udp', string, number]
export type Served = [string, number, string]

const PATH = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`
const TOOLS = [
  ...['iptables', 'ip6tables'].flatMap((tool) =>
    ['', '-nft', '-legacy'].flatMap((kind) => ['', '-restore', '-save'].map((verb) => `${tool}${kind}${verb}`)),
  ),
  'nft',
]

/** The back ends that work on this machine's kernel; what does not is said aloud: a skipped one is never silent. */
export const BACKENDS: readonly Backend[] = networkTestsPossible ? backendsHere() : []

/** Milliseconds for one test: a network is made, rules set several times, and the machine may be busy. */
export const PATIENCE = 90_000

export const PYTHON = '/usr/bin/python3'

/** Answers on every address with its own name; the name tells where a connection ended up. UDP is answered with the name too. */
const SERVER = `
import net from 'node:net'
import dgram from 'node:dgram'
const [tcp, udp] = JSON.parse(process.argv[2])
for (const [host, port, name] of tcp) {
  await new Promise((up) => net.createServer((socket) => socket.on('error', () => {}).end(name)).listen({ host, port, ipv6Only: host === '::' }, up))
}
for (const [host, port, name] of udp) {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
  socket.on('message', (_, from) => socket.send(name, from.port, from.address))
  await new Promise((up) => socket.bind(port, host, up))
}
console.log('ready')
`

/** Tries each [protocol, host, port] as a user; prints what came back: the server's name, or the error code. */
const PROBE = `
import net from 'node:net'
import dgram from 'node:dgram'
const [uid, ...targets] = JSON.parse(process.argv[2])
process.setgroups([]); process.setgid(uid); process.setuid(uid)
const tcp = (host, port) => new Promise((done) => {
  let text = ''
  net.connect(port, host).on('data', (bytes) => (text += bytes)).on('end', () => done(text)).on('error', ({ code }) => done(code))
})
const udp = (host, port) => new Promise((done) => {
  const socket = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4')
  const finish = (what) => (socket.close(), done(what))
  socket.on('message', (bytes) => finish(String(bytes))).on('error', ({ code }) => finish(code))
  socket.connect(port, host, () => socket.send('x', (error) => error && finish(error.code)))
})
const answers = []
for (const [protocol, host, port] of targets) answers.push(await (protocol === 'tcp' ? tcp : udp)(host, port))
console.log(JSON.stringify(answers))
process.exit()
`

/** Does with sockets what it is told, a JSON line at a time, and answers with a JSON line: the result, or the name of the error. */
const TALKER = `
import errno, json, socket, struct, sys
talk = None
def family(host): return socket.AF_INET6 if ':' in host else socket.AF_INET
def listen(host, port):
    global server
    server = socket.socket(family(host))
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    server.bind((host, port)); server.listen()
def accept():
    global talk
    server.settimeout(10); talk, _ = server.accept()
def connect(host, port):
    global talk
    talk = socket.socket(family(host))
    talk.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 400000)
    talk.settimeout(10); talk.connect((host, port))
def udp(host, port):
    global talk
    talk = socket.socket(family(host), socket.SOCK_DGRAM); talk.connect((host, port))
def bind(host, port):
    global talk
    talk = socket.socket(family(host), socket.SOCK_DGRAM); talk.bind((host, port))
def port(): return talk.getsockname()[1]
def send(text): talk.sendall(text.encode())
def receive(seconds):
    talk.settimeout(seconds); return talk.recv(65536).decode()
def meet(seconds):
    talk.settimeout(seconds); text, who = talk.recvfrom(65536); talk.connect(who); return text.decode()
def fill(size, last): talk.sendall(b'x' * size + last.encode())
def drain(seconds):
    talk.settimeout(seconds); text = b''
    try:
        while chunk := talk.recv(65536): text += chunk
    except socket.timeout: pass
    return text[-20:].decode()
def close(): talk.close()
def syn(source, sport, host, dport):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
    head = lambda check: struct.pack('!HHIIBBHHH', sport, dport, 7, 0, 5 << 4, 2, 1000, check, 0)
    data = socket.inet_aton(source) + socket.inet_aton(host) + struct.pack('!BBH', 0, 6, 20) + head(0)
    total = sum(struct.unpack('!16H', data))
    total = (total & 0xffff) + (total >> 16); total += total >> 16
    raw.sendto(head(~total & 0xffff), (host, 0))
for line in sys.stdin:
    name, *args = json.loads(line)
    try: answer = globals()[name](*args)
    except socket.timeout: answer = 'silence'
    except OSError as error: answer = errno.errorcode.get(error.errno, str(error))
    print(json.dumps(answer), flush=True)
`

export interface Talker {
  /** Runs one of the functions of the script; null when it has nothing to say. */
  ask(name: string, ...args: readonly (string | number)[]): Promise<unknown>
}

export interface RuledNetwork {
  readonly network: Network
  /** Where tools are found first: those that work inside the network. */
  readonly folder: string
  serve(where: Namespace, tcp: readonly Served[], udp?: readonly Served[], uid?: number): Promise<void>
  probe(where: Namespace, uid: number, targets: readonly Target[]): Promise<unknown>
  talker(where: Namespace, uid?: number): Talker
  /** All rules of everybody, as each kind of iptables lists them. */
  rulesNow(): Promise<string>
  close(): Promise<void>
}

export function planned(
  options: RedirectOptions | JailOptions,
  families: readonly Family[] = BOTH,
): readonly RuleSet[] {
  const plan = planRules(options, families)
  if (!plan.ok) throw new Error(plan.problems.join('\n'))
  return plan.sets
}

/** The client is there unless the network is to have nothing but loopback. */
export async function createRuledNetwork(name: string, client = true): Promise<RuledNetwork> {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-rules-'))
  const network = await createNetwork(name, { addresses: [`${OUTSIDE.v4}/32`, `${OUTSIDE.v6}/128`], client })
  // The servers read their program as whoever they run as.
  chmodSync(folder, 0o755)
  const path = process.env['PATH']
  writeFileSync(join(folder, 'server.mjs'), SERVER)
  writeFileSync(join(folder, 'probe.mjs'), PROBE)
  // The code under test finds its tools by PATH; these run the real ones, inside the namespace.
  for (const tool of TOOLS) {
    const real = PATH.split(':').find((place) => existsSync(join(place, tool)))
    if (real === undefined) continue
    writeFileSync(join(folder, tool), `#!/bin/sh\nexec ip netns exec ${network.name} ${join(real, tool)} "$@"\n`)
    chmodSync(join(folder, tool), 0o755)
  }
  process.env['PATH'] = `${folder}:${path ?? ''}`

  return {
    network,
    folder,
    serve: (where, tcp, udp = [], uid) =>
      ready(where.spawn(process.execPath, [join(folder, 'server.mjs'), JSON.stringify([tcp, udp])], as(uid))),
    probe: async (where, uid, targets) => {
      const args = [join(folder, 'probe.mjs'), JSON.stringify([uid, ...targets])]
      const { stdout, stderr } = await where.exec(process.execPath, args)
      if (stdout === '') throw new Error(`probe gave nothing (no answer in time?): ${stderr}`)
      return JSON.parse(stdout)
    },
    talker: (where, uid) => talker(where.spawn(PYTHON, ['-u', '-c', TALKER], as(uid))),
    rulesNow: async () => {
      const listings = await Promise.all(
        ['iptables', 'ip6tables'].flatMap((tool) =>
          ['filter', 'mangle', 'nat'].map(
            async (table) => `${tool} ${table}\n${(await network.exec(tool, ['-t', table, '-S'])).stdout}`,
          ),
        ),
      )
      return listings.join('')
    },
    close: async () => {
      process.env['PATH'] = path
      await network.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function as(uid: number | undefined): { readonly uid?: number } {
  return uid === undefined ? {} : { uid }
}

function ready(child: ChildProcess): Promise<void> {
  let errors = ''
  child.stderr?.on('data', (text: Buffer) => (errors += String(text)))
  return new Promise((resolve, reject) => {
    child.stdout?.once('data', () => resolve())
    child.once('close', () => reject(new Error(errors)))
  })
}

function talker(child: ChildProcess): Talker {
  if (child.stdout === null) throw new Error('no pipe')
  const answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  let errors = ''
  child.stderr?.on('data', (text: Buffer) => (errors += String(text)))
  return {
    ask: async (...command) => {
      child.stdin?.write(`${JSON.stringify(command)}\n`)
      const { done, value } = await answers.next()
      if (done === true) throw new Error(`${command.join(' ')}: ${errors}`)
      return JSON.parse(value)
    },
  }
}

function backendsHere(): Backend[] {
  const trials: [Backend, string][] = [
    ['iptables', 'iptables -t nat -S && ip6tables -t nat -S'],
    ['legacy', 'iptables-legacy -t nat -S && ip6tables-legacy -t nat -S'],
    ['nft', 'nft add table ip trial && nft add chain ip trial out "{ type nat hook output priority -105; }"'],
  ]
  return trials.flatMap(([backend, trial]) => {
    const { status, stderr } = spawnSync('unshare', ['--net', 'sh', '-c', trial], {
      env: { ...process.env, PATH },
      encoding: 'utf8',
    })
    if (status === 0) return [backend]
    process.stderr.write(`rules by back end ${backend} are SKIPPED: ${stderr.trim()}\n`)
    return []
  })
}
