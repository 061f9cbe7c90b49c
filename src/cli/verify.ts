// `mcp-egress iptables verify`: tries every way out from inside and reports each.

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { type Command, Option } from 'commander'
import {
  type Report,
  VerifyError,
  verifyContainment,
  type VerifyOptions,
  type WayResult,
} from '../jail/verify/verify.ts'
import { EXIT, ExitError } from './exit.ts'
import { json, type Output, processOutput, verdict } from './output.ts'
import { userId } from './user-id.ts'

/** Ways named behind a fix. */
const MAX_NAMED = 4

/** What the check needs to know of a configuration. */
export interface VerifyTargets {
  readonly listeners: VerifyOptions['listeners']
  /** Path of ca.pem. */
  readonly caFile: string
}

interface Flags {
  readonly config?: string
  readonly mode: VerifyOptions['mode']
  readonly workloadUid?: string
  readonly proxyUid?: string
  readonly canary?: string
  readonly json?: boolean
}

/** Adds the verb to `iptables`. Exit 0: every way is proven closed; 3: one is open, or not proven closed. */
export function addVerify(
  iptables: Command,
  loadTargets: (configFile: string | undefined) => VerifyTargets,
  output: Output = processOutput(),
): void {
  iptables
    .command('verify')
    .description('try to get out by every way, from inside, and report each')
    .option('-c, --config <file>', 'configuration file: listeners and CA')
    .addOption(
      new Option('--mode <mode>', 'output: the rules are in this network namespace; prerouting: its gateway has them')
        .choices(['output', 'prerouting'])
        .default('output'),
    )
    .option('--workload-uid <user>', 'probe as this user, by uid or name (needs root; default: as you are)')
    .option('--proxy-uid <user>', 'the user the proxy runs as (default: whoever listens on the transparent port)')
    .option('--canary <addresses>', 'hosts of yours that answer, IPv4 and IPv6, in place of public resolvers')
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => {
      const { listeners, caFile } = loadTargets(flags.config)
      const report = await verified({
        mode: flags.mode,
        workloadUid: flags.workloadUid === undefined ? null : userId(flags.workloadUid),
        proxyUid: flags.proxyUid === undefined ? null : userId(flags.proxyUid),
        canary: canaries(flags.canary),
        listeners,
        ca: readIfThere(caFile),
      })
      output.out(flags.json === true ? json(report) : reportText(report, output))
      if (!report.contained) throw new ExitError(EXIT.no, '')
    })
}

async function verified(options: VerifyOptions): Promise<Report> {
  try {
    return await verifyContainment(options)
  } catch (error) {
    if (error instanceof VerifyError) throw new ExitError(EXIT.failure, error.message)
    throw error
  }
}

/** One line a way, holes first; then each fix once; then the sum. */
export function reportText(report: Report, output: Output): string {
  const order = { open: 0, unknown: 1, closed: 2 } as const
  const ways = [...report.ways].sort((one, other) => order[one.verdict] - order[other.verdict])
  const width = (of: (way: WayResult) => string): number => Math.max(0, ...ways.map((way) => of(way).length))
  const target = (way: WayResult): string => way.target ?? ''
  const [wayWidth, targetWidth] = [width(({ way }) => way), width(target)]
  const rows = ways.map((way) => {
    const said = verdict(output, way.verdict.padEnd(7), way.verdict === 'closed')
    const how = way.verdict === 'closed' ? `${way.how}: ${way.evidence}` : way.evidence
    return `${said}  ${(way.family ?? '').padEnd(2)}  ${way.way.padEnd(wayWidth)}  ${target(way).padEnd(targetWidth)}  ${how}`
  })
  const fixes = new Map<string, string[]>()
  for (const way of ways) {
    if (way.verdict === 'closed') continue
    const fix = `${way.verdict === 'open' ? 'hole' : 'not proven closed'}: ${way.fix}`
    fixes.set(fix, [...(fixes.get(fix) ?? []), way.way])
  }
  const advice = [...fixes].map(([fix, names]) => `${fix} (${some([...new Set(names)])})`)
  const { closed, open, unknown } = report.summary
  const sum = report.contained
    ? `Contained: all ${closed} ways are closed for uid ${report.uid}.`
    : `Not contained: ${open} open, ${unknown} not proven closed, ${closed} closed for uid ${report.uid}.`
  return [...rows, '', ...report.notes, ...advice, sum, ''].join('\n')
}

function some(names: readonly string[]): string {
  const more = names.length - MAX_NAMED
  return `${names.slice(0, MAX_NAMED).join(', ')}${more > 0 ? ` and ${more} more` : ''}`
}

function canaries(text: string | undefined): VerifyOptions['canary'] {
  const addresses = text === undefined ? [] : text.split(',').map((part) => part.trim())
  for (const address of addresses) {
    if (isIP(address) === 0) throw new ExitError(EXIT.usage, `--canary: "${address}" is not an IP address`)
  }
  const [v4, v6] = [4, 6].map((version) => addresses.find((address) => isIP(address) === version))
  return { ...(v4 === undefined ? {} : { v4 }), ...(v6 === undefined ? {} : { v6 }) }
}

function readIfThere(file: string): string | null {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return null
  }
}
