// Looks for secrets in what a request says before its body: method, target, host and fields, their names too.

import type { RawHeaders, RequestHead } from './http1.ts'
import { SUSPECT, scanTable, suspicion } from './redact-scan.ts'
import { type Guard, type Leak, leakOf, unreadable } from './secret.ts'
import { scanForSecrets } from './secret-scan.ts'
import { FORMAT_NAMES, NAMED_FORMATS } from './token-formats.ts'

/** The proxy's own, which do not leave. */
const OWN_FIELD = 'proxy-authorization'

/** What is packed message by message, or by a coding beside the one of HTTP: nobody can look into such a body. */
const INNER_CODINGS: readonly string[] = ['grpc-encoding', 'connect-content-encoding']

const NO_VALUES = scanTable([])

/** By format: what it is in a name that has lost its case; null: nothing that could be told from other names. */
const FOLDED: ReadonlyMap<string, RegExp | null> = new Map(FORMAT_NAMES.map((name) => [name, foldedPattern(name)]))

function foldedPattern(name: string): RegExp | null {
  const sources = NAMED_FORMATS.flatMap((format) => (format.name === name ? (format.folded ?? []) : []))
  return sources.length === 0 ? null : new RegExp(sources.join('|'), 'i')
}

/** `host`: the one that the request is sent to. The first secret that may not go there, or null. */
export function leakInHead({ method, target, headers }: RequestHead, host: string, guard: Guard): Leak | null {
  // A secret that is spread over labels is one without the dots.
  const names = [host, host.replaceAll('.', '')]
  let text = `${method}\n${target}\n${names.join('\n')}`
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = headers[at] as string
    if (name.toLowerCase() === OWN_FIELD) continue
    text += `\n${name}: ${headers[at + 1]}`
    names.push(name)
  }
  const scanned = scanForSecrets(text, guard, true)
  if (scanned.kind === 'leak') return scanned.leak
  return leakInNames(names.join('\n').toLowerCase(), guard)
}

/** `names`: in lower case. Only as it is and in hexadecimal digits: nobody spells more into a name that works as one. */
function leakInNames(names: string, guard: Guard): Leak | null {
  const { secrets } = guard.policy
  const suspect = (suspicion(names, NO_VALUES) & SUSPECT.folded) !== 0
  for (let at = 0; at < secrets.length; at++) {
    if (guard.kept[at] !== 1) continue
    const { name, folded } = secrets[at] as (typeof secrets)[number]
    const seen =
      folded === null ? suspect && FOLDED.get(name)?.test(names) === true : folded.some((text) => names.includes(text))
    if (seen) return leakOf(guard, at)
  }
  return null
}

/** The same for fields alone, as trailers are. */
export function leakInFields(fields: RawHeaders, guard: Guard): Leak | null {
  return leakInHead({ method: '', target: '', version: '1.1', headers: fields }, '', guard)
}

/** Why no body of this request could be looked into, null where it can. */
export function leakInCoding(headers: RawHeaders): Leak | null {
  for (let at = 0; at + 1 < headers.length; at += 2) {
    const name = (headers[at] as string).toLowerCase()
    if (!INNER_CODINGS.includes(name) || headers[at + 1]?.toLowerCase() === 'identity') continue
    return unreadable(`its messages are packed (${name})`)
  }
  return null
}
