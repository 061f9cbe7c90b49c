// Decides for one runtime whether it trusts our CA, and whether it would have trusted anybody.

import { ABSENT, type CaFiles, type Probe } from './doctor-probes.ts'
import { type Ended, findProgram, runBounded } from './doctor-attempt.ts'
import type { Target } from './doctor-target.ts'

export type Verdict =
  | { readonly verdict: 'trusts' }
  | { readonly verdict: 'trusts-with-ca-env'; readonly detail: string; readonly fix: string }
  | { readonly verdict: 'does-not-trust'; readonly detail: string; readonly fix: string }
  | { readonly verdict: 'verifies-nothing'; readonly fix: string }
  /** It never asked, so nothing is known. */
  | { readonly verdict: 'no-answer'; readonly detail: string }
  | { readonly verdict: 'not-tried'; readonly detail: string }
  | { readonly verdict: 'not-installed' }

export interface Examination {
  /** The environment as it is. */
  readonly environment: NodeJS.ProcessEnv
  /** What `ca env` would add to it. */
  readonly caVariables: Readonly<Record<string, string>>
  /** Where the variables come from, for the fixes. */
  readonly files: CaFiles & { readonly directory: string }
  /** An empty folder of this process alone. */
  readonly scratch: string
  /** A fresh target with a certificate of our CA. */
  readonly ours: () => Promise<Target>
  /** A fresh target with a certificate of a CA that nobody knows. */
  readonly foreign: () => Promise<Target>
}

const ATTEMPT_TIMEOUT_MS = 10_000
/** A Java machine starts slowly, above all on a loaded machine. */
const SLOW_ATTEMPT_TIMEOUT_MS = 20_000
const MAX_DETAIL_LENGTH = 160

type Tried =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'refused'; readonly detail: string }
  | { readonly kind: 'unknown'; readonly detail: string }
  | { readonly kind: 'absent' }

export async function examine(probe: Probe, examination: Examination): Promise<Verdict> {
  const program = findProgram(probe.programs, examination.environment)
  if (program === null) return { verdict: 'not-installed' }
  if (probe.args === null) return { verdict: 'not-tried', detail: probe.note ?? '' }
  const tried = (target: () => Promise<Target>, withCaVariables: boolean): Promise<Tried> =>
    attempt({ ...probe, args: probe.args ?? (() => []) }, program, target, examination, withCaVariables)

  const asIs = await tried(examination.ours, false)
  if (asIs.kind === 'absent') return { verdict: 'not-installed' }
  if (asIs.kind === 'unknown') return { verdict: 'no-answer', detail: asIs.detail }
  const helped = asIs.kind === 'accepted' ? asIs : await tried(examination.ours, true)
  if (helped.kind !== 'accepted') {
    const detail = [helped, asIs].map((made) => ('detail' in made ? made.detail : '')).find((text) => text !== '')
    return { verdict: 'does-not-trust', detail: detail ?? '', fix: fixOf(probe, examination) }
  }
  // The negative control, in the environment that was accepted: who believes a stranger proves nothing about our CA.
  const control = await tried(examination.foreign, asIs.kind !== 'accepted')
  if (control.kind === 'accepted') return { verdict: 'verifies-nothing', fix: unverifiedFix(probe, examination) }
  if (control.kind !== 'refused') {
    return { verdict: 'no-answer', detail: 'it was not seen to refuse the certificate of a foreign CA' }
  }
  if (asIs.kind === 'accepted') return { verdict: 'trusts' }
  return {
    verdict: 'trusts-with-ca-env',
    detail: `by ${probe.variable ?? 'one of them'}`,
    fix: environmentFix(examination),
  }
}

async function attempt(
  probe: Probe & { readonly args: (url: string) => readonly string[] },
  program: string,
  open: () => Promise<Target>,
  examination: Examination,
  withCaVariables: boolean,
): Promise<Tried> {
  const target = await open()
  try {
    const ended = await runBounded(program, probe.args(target.url), {
      environment: {
        ...direct(examination.environment),
        ...(withCaVariables ? examination.caVariables : {}),
        ...probe.environment?.(examination.scratch, target.url),
      },
      directory: examination.scratch,
      input: probe.input?.(target.url) ?? '',
      timeoutMs: probe.slow === true ? SLOW_ATTEMPT_TIMEOUT_MS : ATTEMPT_TIMEOUT_MS,
    })
    return judge(ended, target)
  } finally {
    await target.close()
  }
}

function judge(ended: Ended, target: Target): Tried {
  // What a program says is evidence only where it came here at all.
  if (target.connections() > 0 && target.answered(ended.output)) return { kind: 'accepted' }
  if (ended.kind === 'ended' && ended.code === ABSENT) return { kind: 'absent' }
  const said = reasonIn(ended.output)
  const failure = target.failure()
  if (failure !== null) return { kind: 'unknown', detail: failure }
  if (ended.kind === 'timed-out') return { kind: 'unknown', detail: `no end in time${said === '' ? '' : `: ${said}`}` }
  if (target.connections() > 0) return { kind: 'refused', detail: said }
  return { kind: 'unknown', detail: `it did not connect${said === '' ? '' : `: ${said}`}` }
}

/** A proxy would ask for its own loopback: the origin is here. What else the environment says stays as it is. */
function direct(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const kept = Object.entries(environment).filter(([name]) => !/^(?:https?|all|no)_proxy$/i.test(name))
  // For proxies that are configured in files, such as git's http.proxy.
  return { ...Object.fromEntries(kept), NO_PROXY: 'localhost,127.0.0.1', no_proxy: 'localhost,127.0.0.1' }
}

function environmentFix({ files }: Examination): string {
  return `eval "$(mcp-egress ca env --directory ${shellQuoted(files.directory)})", or give its container the same variables`
}

function fixOf(probe: Probe, { files }: Examination): string {
  if (probe.fix !== undefined) return probe.fix(files)
  const install = `cp ${shellQuoted(files.ca)} /usr/local/share/ca-certificates/mcp-egress.crt && update-ca-certificates`
  return `it does not follow ${probe.variable ?? 'any variable'} here: ${install}, or a passthrough rule for what it pins`
}

function unverifiedFix(probe: Probe, { environment }: Examination): string {
  const set = (probe.switches ?? []).filter((name) => environment[name] !== undefined)
  if (set.length > 0) return `unset ${set.join(' ')}`
  return probe.settings ?? 'look for a wrapper of it on PATH that switches verification off'
}

/** The last line that speaks of certificates, else the last one at all. */
function reasonIn(output: string): string {
  // SECURITY: what hostile code wrote must not steer the terminal of whoever reads it.
  const lines = output
    .replaceAll(/[^\P{C}\n]/gu, ' ')
    .split('\n')
    .map((line) => line.trim())
  const reason =
    lines.findLast((line) => /certificat|trusted/i.test(line)) ?? lines.findLast((line) => line !== '') ?? ''
  return reason.length > MAX_DETAIL_LENGTH ? `${reason.slice(0, MAX_DETAIL_LENGTH)}…` : reason
}

function shellQuoted(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
