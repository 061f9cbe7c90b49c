// `mcp-egress learn`: proposes the smallest policy that allows what a trail says was forwarded, and nothing else.

import { Command, InvalidArgumentError } from 'commander'
import { type Batch, parseRecord, type TrailRecord } from '../audit/read.ts'
import type { Config } from '../config/load.ts'
import { requestsInOrder } from './audit-requests.ts'
import { withSource } from './audit-source.ts'
import { asciiJson } from './audit-text.ts'
import { type Addresses, clientsOf, noAddresses, noteReached, noteSource } from './learn-clients.ts'
import { presentVerdict, takesRule } from './learn-present.ts'
import { learnedFrom } from './learn-request.ts'
import { learnedRules } from './learn-rules.ts'
import { leaveOut, noteRequest, notePassthrough, noTraffic, type Traffic } from './learn-traffic.ts'
import { type LearnedPolicy, writtenPolicy, yamlOf } from './learn-yaml.ts'
import { configOf } from './loaded.ts'
import { type Output, processOutput } from './output.ts'

interface Flags {
  readonly config?: string
  readonly merge?: number
  readonly refused?: true
  readonly json?: true
}

/** What there is to learn from, and what is known already. */
export interface Lesson {
  readonly traffic: Traffic
  readonly addresses: Addresses
  /** Null: nothing is allowed yet. */
  readonly present: Config | null
  readonly refused: boolean
}

export function learnCommand(output: Output = processOutput()): Command {
  return new Command('learn')
    .description('propose rules from recorded traffic')
    .argument('<audit...>', 'segments of a trail, .gz too')
    .option('-c, --config <file>', 'propose only what this policy does not allow yet')
    .option('--merge <n>', 'make one * of n or more paths that differ in one segment alone', siblings)
    .option('--refused', 'propose what no rule allowed and never left too, marked as such')
    .option('--json', 'print JSON')
    .action(async (files: string[], flags: Flags) => {
      const present = flags.config === undefined ? null : configOf(flags.config)
      const lesson = newLesson(present, flags.merge ?? null, flags.refused === true)
      await withSource(files, {}, output, (batches) => readAll(lesson, batches))
      const policy = policyOf(lesson, flags.config ?? null)
      output.out(flags.json === true ? `${asciiJson(inJson(policy))}\n` : yamlOf(policy))
      output.err(warnings(policy, lesson.addresses))
    })
}

function siblings(text: string): number {
  const number = Number(text)
  if (/^[0-9]{1,6}$/.test(text) && number >= 2) return number
  throw new InvalidArgumentError('it takes a whole number from 2 on')
}

export function newLesson(present: Config | null, merge: number | null, refused: boolean): Lesson {
  return { traffic: noTraffic(merge), addresses: noAddresses(), present, refused }
}

async function readAll(lesson: Lesson, batches: AsyncIterable<Batch>): Promise<void> {
  for await (const batch of requestsInOrder(batches, { decided: () => true, ended: null, all: true })) {
    for (const { decided, completed } of batch) {
      const record = parseRecord(decided)
      if (record !== null) learn(lesson, record, completed === null ? null : parseRecord(completed))
    }
  }
}

/** Takes the decision of one request, and its end if it has one. */
export function learn(lesson: Lesson, decided: TrailRecord, completed: TrailRecord | null): void {
  const { traffic, addresses, present } = lesson
  noteSource(addresses, decided)
  const learned = learnedFrom(decided, completed, lesson.refused)
  if (learned.kind === 'left-out') return leaveOut(traffic, learned.why)
  const verdict = present === null ? null : presentVerdict(present, decided, learned)
  if (verdict?.kind === 'allowed') return
  if (verdict?.kind === 'left-out') return leaveOut(traffic, verdict.why)
  const why = learned.kind === 'request' ? noteRequest(traffic, learned) : notePassthrough(traffic, learned)
  if (why !== null) return leaveOut(traffic, why)
  if (learned.kind !== 'request' || !learned.refused) noteReached(addresses, learned, completed)
}

/** `into`: the name of the file that `present` was read from. */
export function policyOf({ traffic, addresses, present }: Lesson, into: string | null): LearnedPolicy {
  const rules = learnedRules(traffic, {
    ids: present?.rules.map(({ id }) => id) ?? [],
    takes: (rule) => present === null || takesRule(present, rule),
  })
  const names = rules.flatMap(({ spec }) => spec.clients ?? [])
  const clients = clientsOf(names, addresses, present?.clients ?? [])
  const reached = present === null ? [...addresses.reached].sort() : []
  return { into, clients, reached, rules, leftOut: traffic.leftOut }
}

function inJson(policy: LearnedPolicy): object {
  const learnedFromOf = ({ spec, seen, refused, examples }: LearnedPolicy['rules'][number]): object => ({
    rule: spec.id,
    requests: seen.count,
    first: seen.first,
    last: seen.last,
    refused,
    examples: Object.fromEntries(examples),
  })
  return {
    policy: writtenPolicy(policy),
    learned_from: policy.rules.map(learnedFromOf),
    left_out: Object.fromEntries(policy.leftOut),
  }
}

/** On stderr: stdout is on its way into a file. */
function warnings({ clients, leftOut }: LearnedPolicy, { overflow }: Addresses): string {
  const unruled = [...leftOut.values()].reduce((sum, count) => sum + count, 0)
  const tokens = clients.flatMap(({ token }) => (token === undefined ? [] : [token.slice(2, -1)]))
  return [
    ...(unruled > 0 ? [`in no rule: ${unruled} of the recorded requests; why, stands at the end\n`] : []),
    ...(tokens.length > 0 ? [`set before the file is used: ${tokens.join(', ')}\n`] : []),
    ...(overflow ? ['more addresses were reached than upstream.allow has room for\n'] : []),
  ].join('')
}
