// `mcp-egress explain`: the decision for one request, the rule that made it, and why.

import { Command } from 'commander'
import { considerRequest, type JudgedRequest, judgeRequest } from '../config/judge-request.ts'
import { printable } from '../config/problem.ts'
import type { Considered, MissingName } from '../core/considered.ts'
import { demandText } from '../core/demand-text.ts'
import { ANONYMOUS } from '../core/identity.ts'
import type { ClientSpec } from '../core/rule.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'
import { json, type Output, processOutput, verdict } from './output.ts'

interface Flags {
  readonly config?: string
  readonly client: string
  readonly json?: true
}

export function explainCommand(output: Output = processOutput()): Command {
  return new Command('explain')
    .description('print the decision for one request, the rule that made it and why (exit 3: denied)')
    .argument('<method>', 'as in GET')
    .argument('<url>', 'absolute; ws: and wss: ask for a WebSocket')
    .option('-c, --config <file>', 'configuration file (default: ./mcp-egress.yaml if it is there)')
    .option('--client <name>', 'who asks', ANONYMOUS)
    .option('--json', 'print JSON')
    .action((method: string, url: string, flags: Flags) => {
      explain(method, url, flags, output)
    })
}

function explain(method: string, url: string, flags: Flags, output: Output): void {
  const config = configOf(flags.config)
  refuseUnknown(flags.client, config.clients)
  const judged = judgeRequest(config, flags.client, method, url)
  const { rules, omitted } = considerRequest(config, flags.client, method, url)
  const asJson = { ...judged, considered: rules, considered_omitted: omitted }
  output.out(flags.json ? json(asJson) : explanation(judged, { rules, omitted }, output))
  if (judged.decision === 'deny') throw new ExitError(EXIT.no, '')
}

function refuseUnknown(name: string, clients: readonly ClientSpec[]): void {
  const known = [ANONYMOUS, ...clients.map((client) => client.name)]
  if (known.includes(name)) return
  throw new ExitError(EXIT.usage, `no client is named ${JSON.stringify(name)}\n  fix: use one of ${known.join(', ')}`)
}

function explanation(judged: JudgedRequest, considered: Considered, output: Output): string {
  const { decision, enforced, rule, reason, why, hint, conditions, client, method, url } = judged
  const rows: (readonly [string, string])[] = [
    ['client', client],
    ['rule', rule ?? 'none'],
    ['why', reason === null ? why : `${reason}: ${why}`],
    ...conditions.map(demandText),
  ]
  if (hint !== '') rows.push(['hint', hint])
  if (!enforced) rows.push(['mode', 'observe: the request is forwarded all the same'])
  rows.push(...consideredRows(considered))
  const head = `${verdict(output, decision, decision === 'allow')} ${printable(`${method} ${url}`)}`
  return `${[head, ...rows.map(([label, text]) => `  ${label.padEnd(6)}  ${printable(text)}`)].join('\n')}\n`
}

const MISSING: Readonly<Record<MissingName, string>> = {
  path: 'this path',
  method: 'this method',
  port: 'this port',
  scheme: 'this scheme',
  client: 'this client',
  upgrade: 'this upgrade',
  encoded_slash: 'a path with %2F',
  override_header: 'override headers',
}

/** The first row has the label. */
function consideredRows({ rules, omitted }: Considered): readonly (readonly [string, string])[] {
  const lines = rules.map(({ rule, kind, missing }) => {
    const said = missing.length === 0 ? 'matches' : `not for ${missing.map((name) => MISSING[name]).join(', ')}`
    return `${kind} ${rule}: ${said}`
  })
  if (omitted > 0) lines.push(`and ${omitted} more`)
  return lines.map((line, index) => [index === 0 ? 'rules' : '', line])
}
