// Matchers of one rule that no request meets, or hardly the one that was meant.

import { isIP } from 'node:net'
import { type AddressPolicy, judgeAddress } from '../core/address-class.ts'
import type { CompiledRule } from '../core/rule-compile.ts'
import type { RuleLint } from './lint.ts'
import { isNear } from './wording.ts'

/** RFC 9110 §9.3, RFC 5789. No other registered method is one letter from one of these (IANA HTTP Method Registry). */
const COMMON_METHODS: readonly string[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE']
/** Their bodies have no meaning that anybody agrees on (RFC 9110 §9.3.1, §9.3.2, §9.3.8), and clients send none. */
const BODILESS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE'])
const HTTP_PORT = 80
const HTTPS_PORT = 443

/** `addresses` is what may be dialled at all. Places of paths and hosts are those of the rule as it is written. */
export function lintRequests(rule: CompiledRule, addresses: AddressPolicy): readonly RuleLint[] {
  return [
    ...addressLints(rule, addresses),
    ...methodLints(rule),
    ...bodyLints(rule),
    ...pathLints(rule),
    ...portLints(rule),
    ...upgradeLints(rule),
    ...repeatedLints(rule),
  ]
}

/** A literal address is judged before policy is asked: no rule opens one that is forbidden. */
function addressLints({ kind, hosts }: CompiledRule, addresses: AddressPolicy): readonly RuleLint[] {
  if (kind === 'deny') return []
  return hosts.flatMap((pattern, index): RuleLint[] => {
    if (pattern.kind !== 'exact' || isIP(pattern.text) === 0) return []
    const verdict = judgeAddress(addresses, pattern.text)
    if (verdict.allowed) return []
    const message = `${pattern.text} is never allowed: it is a ${verdict.cls} address, and those are not dialled`
    const block = `${pattern.text}/${isIP(pattern.text) === 4 ? 32 : 128}`
    const fix = verdict.cls === 'metadata' ? 'remove it' : `remove it, or add upstream: { allow: [${block}] }`
    return [{ at: [kind, 'hosts', index], message, fix }]
  })
}

function methodLints({ kind, spec }: CompiledRule): readonly RuleLint[] {
  return (spec.match.methods ?? []).flatMap((method, index): RuleLint[] => {
    const at = [kind, 'methods', index]
    if (method === 'CONNECT') {
      const message = 'no request that is judged has the method CONNECT: what is inside the tunnel is judged'
      return [{ at, message, fix: 'name the methods of the requests inside, or remove it' }]
    }
    if (method === '*') {
      const fix = 'remove methods: any but TRACE is meant where none is named'
      return [{ at, message: '* is a method of its own here, and no wildcard', fix }]
    }
    if (COMMON_METHODS.includes(method)) return []
    const meant = COMMON_METHODS.find((common) => isNear(method, common))
    return meant === undefined ? [] : [{ at, message: `${method} is no common method`, fix: `did you mean ${meant}?` }]
  })
}

function bodyLints({ spec, methods }: CompiledRule): readonly RuleLint[] {
  if (methods === null) return []
  const named = [...methods].join(' and ')
  const found: RuleLint[] = []
  if (spec.body !== undefined && [...methods].every((method) => BODILESS.has(method))) {
    const message = `requests by ${named} have no body, and without one no condition holds: the rule allows nothing`
    found.push({ at: ['body'], message, fix: 'remove the conditions, or name the methods with a body, as in POST' })
  }
  for (const key of ['mcp', 'graphql'] as const) {
    if (spec[key] === undefined || methods.has('POST')) continue
    found.push({ at: [key], message: `its messages are sent by POST, not by ${named}`, fix: 'add POST to the methods' })
  }
  return found
}

/** Templates of other routers are literal text here. */
function pathLints({ kind, spec }: CompiledRule): readonly RuleLint[] {
  return (spec.match.paths ?? []).flatMap((path, index): RuleLint[] => {
    if (!/\/:[A-Za-z_]/.test(path)) return []
    const meant = path.replaceAll(/\/:[A-Za-z_]\w*/g, '/*')
    return [{ at: [kind, 'paths', index], message: 'a colon has no meaning in a path', fix: `write ${meant}` }]
  })
}

function portLints({ kind, spec }: CompiledRule): readonly RuleLint[] {
  const { ports = [], schemes = ['https'] } = spec.match
  const [scheme, other] = schemes
  if (kind !== 'allow' || other !== undefined) return []
  const [foreign, meant] = scheme === 'https' ? [HTTP_PORT, 'http'] : [HTTPS_PORT, 'https']
  const index = ports.indexOf(foreign)
  if (index < 0) return []
  const message = `port ${foreign} is opened for ${scheme} alone`
  return [{ at: [kind, 'ports', index], message, fix: `add schemes: [${meant}], or remove the port` }]
}

function upgradeLints({ kind, methods, spec }: CompiledRule): readonly RuleLint[] {
  if (kind !== 'allow') return []
  return (spec.match.upgrade ?? []).flatMap((token, index): RuleLint[] => {
    const at = [kind, 'upgrade', index]
    if (token !== 'websocket')
      return [{ at, message: `${token} is never carried`, fix: 'write websocket, or remove it' }]
    if (methods === null || methods.has('GET')) return []
    return [{ at, message: 'a WebSocket is asked for by GET (RFC 6455 §4.1)', fix: 'add GET to the methods' }]
  })
}

/** A value twice in a list: the second was to be another. */
function repeatedLints({ kind, spec }: CompiledRule): readonly RuleLint[] {
  const { hosts, methods = [], paths = [] } = spec.match
  const lists = [['hosts', hosts] as const, ['methods', methods] as const, ['paths', paths] as const]
  return lists.flatMap(([name, values]) => {
    const seen = new Set<string>()
    return values.flatMap((value, index): RuleLint[] => {
      if (seen.size === seen.add(value).size) {
        return [{ at: [kind, name, index], message: `${value} stands in the list twice`, fix: 'remove one of the two' }]
      }
      return []
    })
  })
}
