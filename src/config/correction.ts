// The corrected text of a fault: what to write in its place, made of what stands there.

import { VALUE_CORRECTIONS } from './correction-value.ts'
import { nearest } from './nearest.ts'
import { items, member } from './plain-data.ts'
import { type Finding, formatPlace, type Place } from './problem.ts'
import { MATCH_KEYS, RULE_KEYS } from './schema-rule.ts'

const KINDS: readonly string[] = ['allow', 'deny', 'passthrough']
const UNKNOWN_VALUE = 'is not one of the values known here'

/** What a member looks like that is missing, or that is no map or list. */
const EXAMPLES: ReadonlyMap<string, string> = new Map([
  ['version', '1'],
  ['allow', '{ hosts: [api.example.com] }'],
  ['deny', '{ hosts: ["**.example.com"] }'],
  ['passthrough', '{ hosts: [api.example.com] }'],
  ['openapi', '{ file: api.yaml, allow: [issues/list] }'],
  ['hosts', '[api.example.com]'],
  ['rate', '{ requests: 60, per: minute }'],
  ['requests', '60'],
  ['per', 'minute'],
  ['limits', '{ request_bytes: 1MiB }'],
  ['body', '{ json: [{ path: $.Bcc, must: be-absent }] }'],
  ['mcp', '{ tools: [list_issues] }'],
  ['graphql', '{ operations: [query] }'],
  ['operations', '[query]'],
  ['rates', '{ tools/call: { requests: 60, per: minute } }'],
  ['only_to', '["**.github.com"]'],
  ['shapes', '{ path: shapes.json }'],
  ['upgrade', '[websocket]'],
  ['clients', '[{ name: github-mcp, source: [172.30.0.5] }]'],
  ['source', '[172.30.0.5]'],
  ['listen', '{ proxy: "127.0.0.1:3128" }'],
  ['ca', '{ directory: certs }'],
  ['upstream', '{ allow: [10.20.0.0/16] }'],
  ['audit', '{ path: logs/audit.jsonl }'],
  ['admin', '{ token: "${ADMIN_TOKEN}" }'],
  ['shutdown', '{ grace: 8s }'],
  ['tests', '[{ request: "GET https://api.example.com/", expect: allow }]'],
  ['request', '"GET https://api.example.com/"'],
  ['expect', 'allow'],
])
/** Of an entry of these lists. */
const ENTRIES: ReadonlyMap<unknown, string> = new Map([
  ['rules', '{ id: api, allow: { hosts: [api.example.com] } }'],
  ['clients', '{ name: github-mcp, source: [172.30.0.5] }'],
  ['tests', '{ request: "GET https://api.example.com/", expect: allow }'],
  ['secrets', '{ match: github_token, only_to: ["**.github.com"] }'],
  ['inject', '{ placeholder: GITHUB_TOKEN_PLACEHOLDER, value: "${GITHUB_TOKEN}", hosts: [api.github.com] }'],
  ['json', '{ path: $.Bcc, must: be-absent }'],
  ['form', '{ field: bcc, must: be-absent }'],
  ['multipart', '{ field: bcc, must: be-absent }'],
])

/**
 * Each with a better fix where there is one, less those that follow from another: a misspelt key is not missing as well. `root` is the
 * file as written, references in their place, so that no secret is repeated.
 */
export function corrected(findings: readonly Finding[], root: unknown): readonly Finding[] {
  const better = findings.map((finding) => {
    const fix = finding.onKey === true ? misplacedKey(finding, root) : correctedValue(finding, root)
    return fix === null ? finding : { ...finding, fix }
  })
  const misspelt = new Set(
    better.flatMap(({ place, fix }) => {
      const [, meant] = /^did you mean ([a-z_]+)\?$/.exec(fix) ?? []
      return meant === undefined ? [] : [formatPlace([...place.slice(0, -1), meant])]
    }),
  )
  return better.filter(({ place, message }) => message !== 'is missing' || !misspelt.has(formatPlace(place)))
}

function correctedValue({ place, message, fix }: Finding, root: unknown): string | null {
  const value = valueAt(root, place)
  const last = place.at(-1)
  const name = String(typeof last === 'number' ? (place.at(-2) ?? '') : last)
  if (message === 'is missing') return missing(String(last), fix)
  if (message.endsWith('is not a map of members')) return mapFor(place, value)
  if (message === 'is not a list') return listFor(name, value)
  if (message.endsWith(UNKNOWN_VALUE)) return nearestValue(fix, value) ?? correctText(`${place[0]}.${name}`, value)
  if (message.startsWith('a rule allows')) return kindsOf(value)
  if (message.startsWith('a client is known by')) return 'write source: [172.30.0.5], or token: ${NAME}, and not both'
  if (message === 'metadata can not be taken off')
    return `write [${['metadata', ...items(value)].map(show).join(', ')}]`
  if (name === 'clients' && place[0] === 'rules') return nearestName(root, 'clients', 'name', value)
  if (name === 'client' && place[0] === 'tests') return nearestName(root, 'clients', 'name', value)
  if (name === 'rule' && place[0] === 'tests') return nearestName(root, 'rules', 'id', value)
  if (name === 'json') return pathOf(value)
  if (message === 'is not a text' && Array.isArray(value) && value.length === 1) return `write ${show(value[0])}`
  return correctText(`${place[0]}.${name}`, value)
}

function correctText(name: string, value: unknown): string | null {
  const correct = VALUE_CORRECTIONS.get(name)
  if (correct === undefined || (typeof value !== 'string' && typeof value !== 'number')) return null
  return correct(String(value))
}

function missing(name: string, fix: string): string | null {
  const example = EXAMPLES.get(name)
  if (example !== undefined) return `add ${name}: ${example}`
  return fix.startsWith('add it: ') ? `add ${name}: ${fix.slice('add it: '.length)}` : null
}

function mapFor(place: Place, value: unknown): string | null {
  const last = place.at(-1)
  if (typeof last === 'number') {
    const entry = ENTRIES.get(place.at(-2))
    return entry === undefined ? null : `write ${entry}`
  }
  const texts = (Array.isArray(value) ? value : [value]).filter((one) => typeof one === 'string')
  if (KINDS.includes(String(last)) && texts.length > 0) return `write { hosts: [${texts.map(show).join(', ')}] }`
  const isRate = last === 'rate' || place.at(-2) === 'rates'
  if (isRate && (typeof value === 'string' || typeof value === 'number')) return rateOf(String(value))
  if (last === 'body' && Array.isArray(value)) return 'write { json: [...] } around the list'
  const example = EXAMPLES.get(String(last))
  return example === undefined ? null : `write ${example}`
}

function rateOf(written: string): string {
  const [, requests = '60', unit = 'm'] = /^(\d{1,9})(?:\s*(?:\/|per)\s*(s|m|h))?/i.exec(written) ?? []
  const per = { s: 'second', m: 'minute', h: 'hour' }[unit.toLowerCase()] ?? 'minute'
  return `write { requests: ${requests}, per: ${per} }`
}

/** A map where a list stands: names of its entries became keys. */
function listFor(name: string, value: unknown): string | null {
  if (typeof value === 'object' && value !== null) {
    const [first = 'api'] = Object.keys(value)
    const key = { rules: 'id', clients: 'name' }[name]
    return key === undefined ? null : `write each as an entry of a list: - ${key}: ${first.slice(0, 64)}`
  }
  if (typeof value === 'boolean') return EXAMPLES.has(name) ? `write ${EXAMPLES.get(name)}` : null
  if (name === 'ports' && typeof value === 'string' && /^\d{1,5}$/.test(value)) return `write [${value}]`
  return name === 'methods' && typeof value === 'string'
    ? `write [${value
        .toUpperCase()
        .split(/[\s,|]+/)
        .join(', ')}]`
    : null
}

/** Of the values that the fix lists, the one that was meant. */
function nearestValue(fix: string, value: unknown): string | null {
  const known = fix.slice('write '.length).split(' or ')
  const [only] = Array.isArray(value) && value.length === 1 ? (value as unknown[]) : [value]
  if (typeof only !== 'string' || only.length < 2) return null
  const folded = fold(only)
  const meant =
    known.find((one) => fold(one) === folded) ??
    known.find((one) => fold(one).startsWith(folded) || folded.startsWith(fold(one)) || fold(one).endsWith(folded)) ??
    nearest(only, known)[0]
  return meant === undefined || known.length === 1 ? null : `write ${meant}`
}

function fold(text: string): string {
  return text.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}

function kindsOf(rule: unknown): string | null {
  const named = [...KINDS, 'openapi'].filter((kind) => member(rule, kind) !== undefined)
  if (named.length > 1) return `make it ${named.length} rules, each with an id of its own`
  return rule === undefined ? null : `add allow: ${EXAMPLES.get('allow')}`
}

function nearestName(root: unknown, section: string, key: string, value: unknown): string | null {
  if (typeof value !== 'string') return null
  const known = items(member(root, section)).map((item) => member(item, key))
  const meant = nearest(
    value,
    known.filter((name) => typeof name === 'string'),
  )
  return meant.length === 0 ? null : `did you mean ${meant.join(' or ')}?`
}

function pathOf(condition: unknown): string | null {
  const path = member(condition, 'path')
  if (typeof path !== 'string' || !/^\.?[A-Za-z_][A-Za-z0-9_.[\]]*$/.test(path)) return null
  return `write path: $${path.startsWith('.') ? '' : '.'}${path}`
}

/** A key that stands one level too high or too low. */
function misplacedKey({ place, fix }: Finding, root: unknown): string | null {
  if (!fix.startsWith('known here: ')) return null
  const key = String(place.at(-1))
  const value = valueAt(root, place)
  if (place.length === 1) {
    return KINDS.includes(key)
      ? `write it in a rule: rules: [{ id: api, ${key}: ${EXAMPLES.get(key)} }]`
      : near(key, fix)
  }
  if (place[0] !== 'rules') return near(key, fix)
  const outer = String(place.at(-2))
  if (place.length === 3) {
    if (KINDS.includes(String(value))) return `write ${String(value)}: ${EXAMPLES.get(String(value))} in its place`
    const kind = KINDS.find((one) => member(valueAt(root, place.slice(0, 2)), one) !== undefined) ?? 'allow'
    return MATCH_KEYS.includes(key) ? `move it into ${kind}` : near(key, fix)
  }
  if (outer === 'passthrough' && MATCH_KEYS.includes(key)) {
    return 'remove it: passthrough never sees a request, only the name of the host'
  }
  if (KINDS.includes(outer) && RULE_KEYS.includes(key)) return `move it out of ${outer}, beside it`
  return near(key, fix)
}

function near(key: string, fix: string): string | null {
  const [meant] = nearest(key, fix.slice('known here: '.length).split(', '))
  return meant === undefined ? null : `did you mean ${meant}?`
}

function valueAt(root: unknown, place: Place): unknown {
  return place.reduce<unknown>(
    (value, step) => (typeof step === 'number' ? items(value)[step] : member(value, step)),
    root,
  )
}

function show(value: unknown): string {
  return typeof value === 'string' && /^[A-Za-z0-9][\w.-]*$/.test(value) ? value : JSON.stringify(value)
}
