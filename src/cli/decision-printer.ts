// One line a decision on the terminal of whoever started the proxy.

import type { DecisionLine } from '../proxy/decision-line.ts'

const GREEN = '\u001b[32m'
const RED = '\u001b[31m'
const YELLOW = '\u001b[33m'
const RESET = '\u001b[0m'

/** Null when stderr is no terminal: then the trail and the metrics are where to look. */
export function decisionPrinter(
  stream: NodeJS.WriteStream,
  environment: NodeJS.ProcessEnv,
): ((line: DecisionLine) => void) | null {
  if (!stream.isTTY) return null
  const colour = environment['NO_COLOR'] === undefined || environment['NO_COLOR'] === ''
  return (line) => stream.write(`${formatDecision(line, colour)}\n`)
}

export function formatDecision(line: DecisionLine, colour: boolean): string {
  const word = line.enforced || line.decision === 'allow' ? line.decision : 'would-deny'
  const paint = line.decision === 'allow' ? GREEN : line.enforced ? RED : YELLOW
  const mark = colour ? `${paint}${word}${RESET}` : word
  const why = [line.reason, line.rule].filter((part) => part !== null).join(' ')
  return `${mark} ${line.client} ${line.method ?? '-'} ${printable(line.url)} ${why}`.trimEnd()
}

/** SECURITY: a client's bytes must not move the cursor or colour the line of somebody else's decision. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
