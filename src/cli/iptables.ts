// The verb `iptables`: prints, applies and removes the redirection rules for the listeners of a configuration.

import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'

import { Command, Option } from 'commander'

import { type Backend, type BackendChoice, chooseBackend, FirewallError } from '../jail/rules/backend.ts'
import { applyRules, kernelFamilies, removeRules } from '../jail/rules/firewall.ts'
import { type DnsChoice, type Mode, planRules, type RulePlan, type TransparentListener } from '../jail/rules/plan.ts'
import { nftRule, nftScript } from '../jail/rules/nft.ts'
import { ruleText, shellScript } from '../jail/rules/restore.ts'
import type { RuleSet, UidRange } from '../jail/rules/rule.ts'
import { EXIT, ExitError } from './exit.ts'
import { userId } from './user-id.ts'

/** Where results go, in whole lines. */
export interface Output {
  out(text: string): void
}

/** What the rules need to know of a configuration. */
export interface RedirectListeners {
  readonly transparent: readonly TransparentListener[]
  readonly adminPorts: readonly number[]
  /** Each serves UDP and TCP. */
  readonly dns: readonly TransparentListener[]
}

interface Flags {
  readonly config?: string
  readonly mode: Mode
  readonly proxyUid?: string
  readonly workloadUid?: string
  readonly inInterface?: string
  readonly ports?: string
  readonly dns?: string
  readonly backend: BackendChoice
  readonly json?: boolean
}

type Planned = Extract<RulePlan, { ok: true }>

export function iptablesCommand(
  loadListeners: (configFile: string | undefined) => RedirectListeners,
  output: Output = { out: (text) => void process.stdout.write(text) },
): Command {
  const command = new Command('iptables').description('the redirection rules, IPv4 and IPv6')

  planning(command.command('print').description('print the rules as a script')).action((flags: Flags) => {
    const { sets, notes } = plan(flags, loadListeners(flags.config))
    const backend = printedFor(flags.backend, sets)
    output.out(flags.json ? json({ backend, notes, rules: sets.map(texts(backend)) }) : script(backend, sets, notes))
  })

  planning(command.command('apply').description('put the rules in force; again and again if you like')).action(
    (flags: Flags) => {
      const { sets, notes } = plan(flags, loadListeners(flags.config))
      const backend = firewall(() => applyRules(sets, flags.backend))
      const applied = sets.map(({ family, chains }) => ({ family, chains: chains.map(({ name }) => name) }))
      output.out(flags.json ? json({ backend, notes, applied }) : lines([`Rules are in force (${backend}).`, ...notes]))
    },
  )

  command
    .command('remove')
    .description('take the rules out; done also when there are none')
    .option('--json', 'print JSON')
    .action((flags: Pick<Flags, 'json'>) => {
      const removed = firewall(() => removeRules(kernelFamilies()))
      const count = removed.reduce((sum, { chains }) => sum + chains.length, 0)
      const text = count === 0 ? 'There were no rules of ours.' : `Removed ${count} chains and the jumps to them.`
      const named = removed.map(({ backend, family, chains }) => ({ backend, family, chains }))
      output.out(flags.json ? json({ removed: named }) : lines([text]))
    })
  return command
}

/** Printing needs no tools: where there are none, it is iptables. */
function printedFor(choice: BackendChoice, sets: readonly RuleSet[]): Backend {
  try {
    return chooseBackend(
      choice,
      sets.map(({ family }) => family),
    )
  } catch (error) {
    if (error instanceof FirewallError) return 'iptables'
    throw error
  }
}

function script(backend: Backend, sets: readonly RuleSet[], notes: readonly string[]): string {
  return backend === 'nft' ? nftScript(sets, notes) : shellScript(sets, notes, backend === 'legacy' ? '-legacy' : '')
}

/** Rules as the back end writes them, for those who read JSON. */
function texts(backend: Backend): (set: RuleSet) => unknown {
  const write = backend === 'nft' ? nftRule : ruleText
  return ({ family, chains }) => ({
    family,
    chains: chains.map((chain) => ({ ...chain, rules: chain.rules.map((rule) => write(rule, family)) })),
  })
}

function planning(command: Command): Command {
  return command
    .option('-c, --config <file>', 'configuration file')
    .addOption(
      new Option('--mode <mode>', 'output: the workload runs here; prerouting: this host is its gateway')
        .choices(['output', 'prerouting'])
        .default('output'),
    )
    .option('--proxy-uid <user>', 'the user the proxy runs as, by uid or name (default: you, unless you are root)')
    .option(
      '--workload-uid <users>',
      'only these users: uids, ranges or names, comma-separated (default: all but the proxy)',
    )
    .option('--in-interface <name>', 'where the packets of the workload come in (prerouting)')
    .option('--ports <ports>', 'TCP ports to redirect, comma-separated; other TCP is refused (default: every port)')
    .option(
      '--dns <what>',
      'proxy: all questions go to listen.dns; allow: to the resolvers of /etc/resolv.conf; reject; or addresses of resolvers (default: proxy where listen.dns serves, else allow)',
    )
    .addOption(
      new Option('--backend <name>', 'auto: iptables if installed, else nft; legacy: iptables-legacy')
        .choices(['auto', 'iptables', 'legacy', 'nft'])
        .default('auto'),
    )
    .option('--json', 'print JSON')
}

function plan(flags: Flags, listeners: RedirectListeners): Planned {
  const planned = planRules(
    {
      mode: flags.mode,
      proxyUid: flags.mode === 'output' ? proxyUid(flags.proxyUid) : null,
      workloadUids: list(flags.workloadUid).map((text) => uidRange(text)),
      inInterface: flags.inInterface ?? null,
      ports: list(flags.ports).map((text) =>
        /^\d{1,5}$/.test(text) ? Number(text) : usage(`--ports: "${text}" is not a port`),
      ),
      dns: dnsChoice(flags.dns),
      listeners: listeners.transparent,
      dnsListeners: listeners.dns ?? [],
      adminPorts: listeners.adminPorts,
    },
    kernelFamilies(),
  )
  return planned.ok ? planned : usage(planned.problems.join('\n'))
}

function proxyUid(text: string | undefined): number | null {
  if (text !== undefined) return userId(text)
  const own = process.getuid?.() ?? 0
  // SECURITY: never root by default: `sudo mcp-egress iptables apply` would exempt every root process, the workload's too.
  return own === 0 ? null : own
}

function uidRange(text: string): UidRange {
  const range = /^(\d{1,10})-(\d{1,10})$/.exec(text)
  if (range === null) return { first: userId(text), last: userId(text) }
  const [first, last] = [Number(range[1]), Number(range[2])]
  return first <= last ? { first, last } : usage(`"${text}" is an empty range of uids: write ${last}-${first}`)
}

function dnsChoice(text: string | undefined): DnsChoice {
  if (text === undefined) return { unlessServed: nameservers(resolvConf()) }
  if (text === 'reject' || text === 'proxy') return text
  return text === 'allow' ? nameservers(resolvConf()) : list(text)
}

function resolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8')
  } catch {
    return ''
  }
}

/** The nameserver lines of resolv.conf(5), without zones, and without loopback, which the rules leave open anyway. */
function nameservers(text: string): string[] {
  return text.split('\n').flatMap((line) => {
    const [keyword, address = ''] = line.trim().split(/\s+/, 2)
    const bare = address.split('%', 1)[0] ?? ''
    const usable = keyword === 'nameserver' && isIP(bare) !== 0 && !bare.startsWith('127.') && bare !== '::1'
    return usable ? [bare] : []
  })
}

function list(text: string | undefined): string[] {
  return text === undefined ? [] : text.split(',').map((part) => part.trim())
}

function firewall<T>(change: () => T): T {
  try {
    return change()
  } catch (error) {
    if (error instanceof FirewallError) throw new ExitError(EXIT.failure, error.message)
    throw error
  }
}

function usage(message: string): never {
  throw new ExitError(EXIT.usage, message)
}

function lines(text: readonly string[]): string {
  return `${text.join('\n')}\n`
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}
