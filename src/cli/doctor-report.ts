// What `doctor` found: whether that is a yes, and as a table with each fix once.

import type { Verdict } from './doctor-verdict.ts'
import { type Output, verdict as coloured } from './output.ts'

export interface Finding {
  readonly runtime: string
  readonly result: Verdict
}

const WORDS: Readonly<Record<Verdict['verdict'], string>> = {
  trusts: 'trusts',
  'trusts-with-ca-env': 'trusts with `ca env`',
  'does-not-trust': 'DOES NOT TRUST',
  'verifies-nothing': 'VERIFIES NOTHING',
  'no-answer': 'UNKNOWN',
  'not-tried': 'not tried',
  'not-installed': 'not installed',
}

/** One that was not tried is no failure, and no proof: with nothing proven the answer is no. One asked for by name must be there. */
export function allHold(findings: readonly Finding[], byName: boolean): boolean {
  const harmless: readonly Verdict['verdict'][] = byName ? ['trusts'] : ['trusts', 'not-tried', 'not-installed']
  return (
    findings.every(({ result }) => harmless.includes(result.verdict)) &&
    findings.some(({ result }) => result.verdict === 'trusts')
  )
}

export function findingsText(findings: readonly Finding[], holds: boolean, output: Output): string {
  const found = findings.filter(({ result }) => result.verdict !== 'not-installed')
  const missing = findings.filter(({ result }) => result.verdict === 'not-installed').map(({ runtime }) => runtime)
  const width = Math.max(...Object.values(WORDS).map((word) => word.length))
  const lines = found.map(({ runtime, result }) => {
    const word = WORDS[result.verdict].padEnd(width)
    const shown = result.verdict === 'not-tried' ? word : coloured(output, word, result.verdict === 'trusts')
    return `${runtime.padEnd(10)}${shown}  ${'detail' in result ? result.detail : ''}`.trimEnd()
  })
  return [
    ...lines,
    ...(missing.length === 0 ? [] : [`not installed: ${missing.join(', ')}`]),
    ...fixes(found),
    holds ? 'The CA holds in every runtime that was tried.' : 'The CA does not hold everywhere.',
    '',
  ].join('\n')
}

/** Each fix once, with the runtimes it is for. */
function fixes(findings: readonly Finding[]): string[] {
  const runtimes = new Map<string, string[]>()
  for (const { runtime, result } of findings) {
    if ('fix' in result) runtimes.set(result.fix, [...(runtimes.get(result.fix) ?? []), runtime])
  }
  return [...runtimes].map(([fix, names]) => `fix for ${names.join(', ')}: ${fix}`)
}
