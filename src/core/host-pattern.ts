// Host patterns of rules: `example.com`, `*.example.com`, `**.example.com`, literal addresses, and `*` in deny rules.

import { parse } from 'tldts'
import { parseConfiguredHost } from './address.ts'

/** `children`: exactly one label more than `base`. `subtree`: `base` itself and any depth below it. */
export type HostPattern =
  | { readonly kind: 'exact'; readonly text: string }
  | { readonly kind: 'children'; readonly base: string }
  | { readonly kind: 'subtree'; readonly base: string }
  | { readonly kind: 'any' }

export type HostPatternResult =
  | { readonly kind: 'ok'; readonly pattern: HostPattern }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

/** `grants`: the rule opens something, so what would open hosts of strangers is refused. */
export function parseHostPattern(text: string, grants: boolean): HostPatternResult {
  if (text === '*') return grants ? bad('* is every host', 'name the hosts') : { kind: 'ok', pattern: { kind: 'any' } }
  const stars = text.startsWith('**.') ? '**.' : text.startsWith('*.') ? '*.' : ''
  const base = text.slice(stars.length)
  if (base.includes('*')) {
    return bad(`a wildcard stands only at the start of ${quote(text)}`, 'write *.example.com or **.example.com')
  }
  const configured = parseConfiguredHost(base)
  if (configured.kind === 'bad') {
    const { why, canonical } = configured
    return bad(
      `${quote(text)}: ${why}`,
      canonical === null ? 'write a name as in api.example.com' : `write ${stars}${canonical}`,
    )
  }
  const { host } = configured
  if (stars === '') return { kind: 'ok', pattern: { kind: 'exact', text: host.text } }
  if (host.kind !== 'name') return bad(`${quote(text)}: an address has no names below it`, `write ${base}`)
  if (grants && isPublicSuffix(base)) {
    return bad(`${quote(text)}: anybody can have a name under ${base}`, `write a domain, as in ${stars}example.${base}`)
  }
  return { kind: 'ok', pattern: { kind: stars === '*.' ? 'children' : 'subtree', base } }
}

function bad(why: string, fix: string): HostPatternResult {
  return { kind: 'bad', why, fix }
}

function quote(text: string): string {
  return JSON.stringify(text)
}

/** Listed in the Public Suffix List, either section; names that no list knows (`internal`) are the operator's own. */
function isPublicSuffix(name: string): boolean {
  const options = { allowPrivateDomains: true, extractHostname: false, validateHostname: false, detectIp: false }
  const { publicSuffix, isIcann, isPrivate } = parse(name, options)
  return publicSuffix === name && (isIcann === true || isPrivate === true)
}

/** Whether some host matches both. */
export function overlaps(a: HostPattern, b: HostPattern): boolean {
  if (a.kind === 'any' || b.kind === 'any') return true
  if (a.kind === 'exact') return b.kind === 'exact' ? a.text === b.text : contains(b, a.text)
  if (b.kind === 'exact') return contains(a, b.text)
  return a.base === b.base || meets(a, b) || meets(b, a)
}

type Wildcard = Extract<HostPattern, { readonly base: string }>

function contains(pattern: Wildcard, name: string): boolean {
  if (pattern.kind === 'subtree') return name === pattern.base || name.endsWith(`.${pattern.base}`)
  const dot = name.indexOf('.')
  return dot > 0 && name.slice(dot + 1) === pattern.base
}

/** Whether `outer` holds the base of `inner`, and with it a host of both; `*.a.b` has no host that `*.b` has. */
function meets(outer: Wildcard, inner: Wildcard): boolean {
  return contains(outer, inner.base) && (outer.kind === 'subtree' || inner.kind === 'subtree')
}
