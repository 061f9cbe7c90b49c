// `mcp-egress explain`: the decision for one request, the rule that made it, and why.

import { Command } from 'commander'
import { type JudgedRequest, judgeRequest } from '../config/judge-request.ts'
import { printable } from '../config/problem.ts'
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
  output.out(flags.json ? json(judged) : explanation(judged, output))
  if (judged.decision === 'deny') throw new ExitError(EXIT.no, '')
}

function refuseUnknown(name: string, clients: readonly ClientSpec[]): void {
  const known = [ANONYMOUS, ...clients.map((client) => client.name)]
  if (known.includes(name)) return
  throw new ExitError(EXIT.usage, `no client is named ${JSON.stringify(name)}\n  fix: use one of ${known.join(', ')}`)
}

function explanation(judged: JudgedRequest, output: Output): string {
  const { decision, enforced, rule, reason, why, hint, conditions, client, method, url } = judged
  const rows: [string, string][] = [
    ['client', client],
    ['rule', rule ?? 'none'],
    ['why', reason === null ? why : `${reason}: ${why}`],
    ...conditions.map(({ in: kind = 'body', path, must, value }): [string, string] => [
      kind === 'body' ? kind : 'form',
      `${path} must ${must}${value === undefined ? '' : ` ${JSON.stringify(value)}`}`,
    ]),
  ]
  if (hint !== '') rows.push(['hint', hint])
  if (!enforced) rows.push(['mode', 'observe: the request is forwarded all the same'])
  const head = `${verdict(output, decision, decision === 'allow')} ${printable(`${method} ${url}`)}`
  return `${[head, ...rows.map(([label, text]) => `  ${label.padEnd(6)}  ${printable(text)}`)].join('\n')}\n`
}
