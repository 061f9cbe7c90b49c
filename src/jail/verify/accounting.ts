// Counts, in the kernel and for as long as a check takes, the packets that probes make and those that would leave; may stop these.

import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { toolPath } from '../system-path.ts'
import type { NetworkProbe, Transport } from './probe.ts'

/** Packets of one probe: as its process made them, before any rule, and at the very end of the way out, after all rules. */
export interface Count {
  readonly made: number
  readonly left: number
}

export interface Accounting {
  readonly kind: 'nft' | 'iptables'
  /** By probe id. Throws AccountingError when the counters are not those that were put in: then nothing is known. */
  read(): ReadonlyMap<string, Count>
  /** Takes the counters out; safe to call twice. */
  stop(): void
}

export class AccountingError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'AccountingError'
  }
}

/** What a killed run leaves behind; the next one replaces it. `iptables remove` may delete it at any time. */
const VERIFY_TABLE = 'mcp_egress_verify'
const VERIFY_CHAINS = [
  { table: 'raw', hook: 'OUTPUT', name: 'MCP_EGRESS_MADE' },
  { table: 'mangle', hook: 'POSTROUTING', name: 'MCP_EGRESS_LEFT' },
] as const

const TIMEOUT_MS = 10_000
const OUTPUT_BYTES = 8 * 1024 * 1024
const LOCK_WAIT = ['-w', '3']
const FAMILIES = [
  { family: 'v4', tool: 'iptables' },
  { family: 'v6', tool: 'ip6tables' },
] as const
const LOOPBACK = { v4: '127.0.0.0/8', v6: '::1' } as const
const PROTOCOL: Readonly<Record<Transport, { readonly v4: string; readonly v6: string }>> = {
  tcp: { v4: 'tcp', v6: 'tcp' },
  udp: { v4: 'udp', v6: 'udp' },
  icmp: { v4: 'icmp', v6: 'ipv6-icmp' },
  udplite: { v4: '136', v6: '136' },
}

/**
 * Counts packets of `uid` to the targets of `probes`; `drop` also stops them where they would leave, so that nothing is sent to
 * strangers. A string says why it can not be had here.
 */
export function startAccounting(probes: readonly NetworkProbe[], uid: number, drop: boolean): Accounting | string {
  if (process.getuid?.() !== 0) return 'counting packets needs root'
  // Those known by their source ports first: their packets count for nobody else.
  const counted = probes
    .filter(({ place }) => place !== 'here')
    .sort((one, other) => Number(other.bound !== null) - Number(one.bound !== null))
  const token = randomBytes(6).toString('hex')
  stopIptables()
  const nft = run('nft', ['-f', '-'], nftScript(counted, uid, drop, token))
  if (nft.ok) return { kind: 'nft', read: () => readNft(token), stop: stopNft }
  for (const { family, tool } of FAMILIES) {
    const own = counted.filter((probe) => probe.family === family)
    if (own.length === 0) continue
    const put = run(`${tool}-restore`, ['--noflush', ...LOCK_WAIT], restoreText(own, uid, drop, token))
    if (put.ok) continue
    stopIptables()
    return `neither nft nor ${tool} counts packets here: ${nft.why}; ${put.why}`
  }
  return { kind: 'iptables', read: () => readIptables(counted, token), stop: stopIptables }
}

/**
 * By its destination before and after translation: a packet that a rule sends elsewhere still is one of the probe's. What comes from
 * a bound socket is known by its source port as well, and where it leaves also when it was rewritten to the loopback.
 * SECURITY: after every rule of ours (mangle, -150, and -155 in nft), so that what they drop did not leave and nothing else is missed.
 */
function nftScript(probes: readonly NetworkProbe[], uid: number, drop: boolean, token: string): string {
  const rule = (probe: NetworkProbe, leaving: boolean): string[] => {
    const { bound } = probe
    const ip = probe.family === 'v4' ? 'ip' : 'ip6'
    const protocol = PROTOCOL[probe.transport][probe.family]
    const address = bare(probe.address)
    const from = bound === null ? '' : `th sport ${bound.sourcePorts.first}-${bound.sourcePorts.last}`
    const who = `meta skuid ${uid} meta l4proto ${protocol} ${from}`
    const where = `meta nfproto ipv${probe.family.slice(1)}`
    const verdict = leaving && drop ? 'drop' : bound === null ? '' : 'return'
    const end = `counter ${verdict} comment "${probe.id}"`
    const port = probe.port === null ? '' : `th dport ${probe.port}`
    if (!leaving) return [`${who} ${ip} daddr ${address} ${port} ${end}`]
    const original = probe.port === null ? '' : `ct original proto-dst ${probe.port}`
    return [
      ...(bound === null ? [] : [`oifname != "lo" ${who} ${ip} daddr ${LOOPBACK[probe.family]} ${end}`]),
      `oifname != "lo" ${who} ${ip} daddr ${address} ${port} ${end}`,
      `oifname != "lo" ${where} ${who} ct original ${ip} daddr ${address} ${original} ${end}`,
    ]
  }
  return `table inet ${VERIFY_TABLE}
delete table inet ${VERIFY_TABLE}
table inet ${VERIFY_TABLE} {
  chain run_${token} { }
  chain made {
    type filter hook output priority -500; policy accept;
    ${probes.flatMap((probe) => rule(probe, false)).join('\n    ')}
  }
  chain left {
    type filter hook postrouting priority 1000; policy accept;
    ${probes.flatMap((probe) => rule(probe, true)).join('\n    ')}
  }
}
`
}

function readNft(token: string): ReadonlyMap<string, Count> {
  const listed = run('nft', ['-j', 'list', 'table', 'inet', VERIFY_TABLE], '')
  if (!listed.ok) throw new AccountingError(`the counters are gone: ${listed.why}`)
  const { nftables } = JSON.parse(listed.out) as {
    nftables: {
      chain?: { name: string }
      rule?: { chain: string; comment?: string; expr: { counter?: { packets: number } }[] }
    }[]
  }
  if (!nftables.some(({ chain }) => chain?.name === `run_${token}`)) throw replaced()
  const counts = new Map<string, Count>()
  for (const { rule } of nftables) {
    if (rule?.comment === undefined) continue
    const packets = rule.expr.find(({ counter }) => counter !== undefined)?.counter?.packets ?? 0
    add(counts, rule.comment, rule.chain === 'made' ? { made: packets, left: 0 } : { made: 0, left: packets })
  }
  return counts
}

function stopNft(): void {
  run('nft', ['delete', 'table', 'inet', VERIFY_TABLE], '')
}

function restoreText(probes: readonly NetworkProbe[], uid: number, drop: boolean, token: string): string {
  return VERIFY_CHAINS.map(({ table, hook, name }) => {
    const leaving = table === 'mangle'
    const rules = probes.flatMap((probe) => iptablesRules(probe, { name, leaving, uid, drop, token }))
    // First where packets are made, last where they leave.
    const jump = leaving ? `-A ${hook} -j ${name}` : `-I ${hook} 1 -j ${name}`
    return `*${table}\n:${name} - [0:0]\n${jump}\n${rules.join('\n')}\nCOMMIT\n`
  }).join('')
}

interface Into {
  readonly name: string
  readonly leaving: boolean
  readonly uid: number
  readonly drop: boolean
  readonly token: string
}

function iptablesRules(probe: NetworkProbe, { name, leaving, uid, drop, token }: Into): string[] {
  const { bound, family } = probe
  const from = bound === null ? '' : `--sport ${bound.sourcePorts.first}:${bound.sourcePorts.last} `
  const port = probe.port === null || probe.transport === 'udplite' ? '' : `--dport ${probe.port} `
  const out = leaving ? '! -o lo ' : ''
  const target = leaving && drop ? '-j DROP' : bound === null ? '' : '-j RETURN'
  const rule = (address: string, ports: string): string =>
    `-A ${name} -d ${address} -p ${PROTOCOL[probe.transport][family]} ${ports}${out}-m owner --uid-owner ${uid} ` +
    `-m comment --comment ${token}:${probe.id} ${target}`
  const direct = rule(bare(probe.address), from + port)
  return leaving && bound !== null ? [rule(LOOPBACK[family], from), direct] : [direct]
}

function readIptables(probes: readonly NetworkProbe[], token: string): ReadonlyMap<string, Count> {
  const counts = new Map<string, Count>()
  for (const { family, tool } of FAMILIES) {
    const own = probes.filter((probe) => probe.family === family)
    if (own.length === 0) continue
    for (const { table, hook, name } of VERIFY_CHAINS) {
      const listed = run(`${tool}-save`, ['-c', '-t', table], '')
      if (!listed.ok) throw new AccountingError(listed.why)
      const found = [...listed.out.matchAll(/^\[(\d+):\d+\] -A (MCP_EGRESS_\w+) .*--comment "?(\w+):(p\d+)"?/gm)]
      const mine = found.filter(([, , chain, run_]) => chain === name && run_ === token)
      const put = own.length + (table === 'mangle' ? own.filter(({ bound }) => bound !== null).length : 0)
      if (mine.length !== put || !listed.out.includes(`-A ${hook} -j ${name}`)) throw replaced()
      for (const [, packets, , , id = ''] of mine) {
        add(counts, id, table === 'raw' ? { made: Number(packets), left: 0 } : { made: 0, left: Number(packets) })
      }
    }
  }
  return counts
}

function stopIptables(): void {
  for (const { tool } of FAMILIES) {
    for (const { table, hook, name } of VERIFY_CHAINS) {
      // Looked for first: to delete from a table that is not there makes it.
      if (!run(`${tool}-save`, ['-t', table], '').out.includes(`:${name} `)) continue
      // As many jumps as killed runs left.
      while (run(tool, [...LOCK_WAIT, '-t', table, '-D', hook, '-j', name], '').ok);
      run(tool, [...LOCK_WAIT, '-t', table, '-F', name], '')
      run(tool, [...LOCK_WAIT, '-t', table, '-X', name], '')
    }
  }
}

function replaced(): AccountingError {
  return new AccountingError('another verify, or somebody else, replaced the counters: run it again alone')
}

function add(counts: Map<string, Count>, id: string, { made, left }: Count): void {
  const before = counts.get(id) ?? { made: 0, left: 0 }
  counts.set(id, { made: before.made + made, left: before.left + left })
}

function bare(address: string): string {
  return address.split('%', 1)[0] ?? ''
}

function run(command: string, args: readonly string[], input: string): { ok: boolean; out: string; why: string } {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    input,
    encoding: 'utf8',
    timeout: TIMEOUT_MS,
    maxBuffer: OUTPUT_BYTES,
    env: { ...process.env, PATH: toolPath(process.env) },
  })
  const why = error === undefined ? (stderr.trim().split('\n', 1)[0] ?? '') : error.message
  return { ok: status === 0, out: stdout ?? '', why: `${command}: ${why}` }
}
