// What was meant by a value that is not in the form it needs: the text to write in its place.

import { addressBytes } from '../core/address.ts'
import { parseCidr } from '../core/address-class.ts'
import { compilePathGlob } from '../core/glob.ts'
import { parseHostPattern } from '../core/host-pattern.ts'
import { parseOriginForm } from '../core/path.ts'
import { parseDuration, parseListenAddress, parseSize } from './quantity.ts'

/** Each takes what was written and gives what to do about it, or null where nothing better can be said than was. */
export type Correction = (written: string) => string | null

/** Longer texts are no slips. */
const MAX_LENGTH = 1_024

/** By section and name of the member; entries of a list by the name of the list. */
export const VALUE_CORRECTIONS: ReadonlyMap<string, Correction> = new Map(
  (
    [
      ['rules.hosts', correctHost],
      ['rules.paths', correctPath],
      ['rules.methods', correctMethod],
      ['rules.ports', correctNumber],
      ['rules.requests', correctNumber],
      ['rules.burst', correctNumber],
      ['rules.schemes', correctScheme],
      ['rules.upgrade', correctUpgrade],
      ['rules.request_bytes', correctSize],
      ['rules.response_bytes', correctSize],
      ['rules.id', correctName],
      ['clients.name', correctName],
      ['clients.source', correctBlock],
      ['clients.token', correctReference],
      ['admin.token', correctReference],
      ['upstream.allow', correctBlock],
      ['tests.request', correctRequest],
      ['audit.size', correctSize],
      ['audit.age', correctDuration],
      ['audit.every', correctDuration],
      ['audit.compress', correctSwitch],
      ['audit.sign', correctSwitch],
      ['shutdown.grace', correctDuration],
      ...['proxy', 'transparent', 'gateway', 'admin', 'dns'].map((door) => [`listen.${door}`, correctListen]),
    ] as [string, Correction][]
  ).map(([name, correct]) => [name, bounded(correct)]),
)

function bounded(correct: Correction): Correction {
  return (written) => (written.length > MAX_LENGTH ? null : correct(written))
}

/** What else of a URL belongs to the rule, beside its host. */
function correctHost(written: string): string | null {
  if (/^[\da-f.:[\]]+\/\d+$/i.test(written)) return 'write the addresses one by one: a host is no block of them'
  const [, scheme = '', name = '', port = '', path = ''] =
    /^(?:([a-z]+):\/\/)?([^/:?#@]+)(?::(\d+))?([/?#].*)?$/i.exec(written) ?? []
  const host = canonicalHost(name)
  if (host !== null && host !== written) {
    const plain = path.split(/[?#]/)[0] ?? ''
    const beside = [
      ...(scheme.toLowerCase() === 'http' ? ['schemes: [http]'] : []),
      ...(port === '' || port === '443' ? [] : [`ports: [${port}]`]),
      ...(plain.length < 2 ? [] : [`paths: [${quoted(plain)}]`]),
    ]
    return beside.length === 0 ? `write ${host}` : `write ${host}, and beside hosts ${beside.join(', ')}`
  }
  const star = written.lastIndexOf('*')
  if (star < 0 && !written.startsWith('.')) return null
  const behind = written.slice(star + 1)
  const base = canonicalHost(behind.startsWith('.') ? behind.slice(1) : behind.slice(behind.indexOf('.') + 1))
  const whole = canonicalHost(behind.startsWith('.') ? behind.slice(1) : behind)
  const meant = star <= 0 ? whole : base
  if (meant === null || parseHostPattern(`*.${meant}`, true).kind === 'bad') return null
  return `write "*.${meant}" for one label more, "**.${meant}" for it and all below it`
}

function canonicalHost(name: string): string | null {
  const lower = name.toLowerCase()
  const host = lower.endsWith('.') ? lower.slice(0, -1) : lower
  const isName = host.includes('.') && !host.includes('*') && parseHostPattern(host, true).kind === 'ok'
  return isName ? host : null
}

function correctPath(written: string): string | null {
  const [, inUrl] = /^[a-z]+:\/\/[^/]*(.*)$/i.exec(written) ?? []
  const plain = (inUrl ?? written).split(/[?#]/)[0] ?? ''
  const globbed = (isRegularExpression(written) ? fromRegularExpression(plain) : plain)
    .replaceAll(/\{[^{}/]*\}/g, '*')
    .replaceAll(/\*{3,}/g, '**')
    .replaceAll(/\/{2,}/g, '/')
  const path = globbed.startsWith('/') ? globbed : `/${globbed}`
  const target = parseOriginForm(/\p{Cs}/u.test(path) ? '' : encodeURI(path).replaceAll('%25', '%'))
  if (target.kind === 'bad' || target.path === written) return null
  return `write ${compilePathGlob(target.path).literal ? target.path : quoted(target.path)}`
}

function isRegularExpression(written: string): boolean {
  return written.startsWith('^') || written.endsWith('$') || written.includes('.*')
}

function fromRegularExpression(text: string): string {
  return text.replace(/^\^/, '').replace(/\$$/, '').replaceAll('.*', '**').replaceAll('[^/]+', '*').replaceAll('\\', '')
}

function correctMethod(written: string): string | null {
  const methods = written.split(/[\s,|/]+/).filter((method) => method !== '')
  if (methods.some((method) => !/^[A-Za-z]+$/.test(method))) return null
  const upper = methods.map((method) => method.toUpperCase())
  return upper.length === 1 ? `write ${upper.join('')}` : `write ${upper.join(', ')}, each as its own entry`
}

function correctScheme(written: string): string | null {
  const [scheme] = /^https?/.exec(written.toLowerCase()) ?? []
  return scheme === undefined ? null : `write ${scheme}`
}

function correctUpgrade(written: string): string | null {
  return /^(?:web[-_ ]?sockets?|wss?)$/i.test(written) ? 'write websocket' : null
}

function correctNumber(written: string): string | null {
  return /^\d{1,15}$/.test(written) ? `write ${Number(written)}, without quotes` : null
}

/** An address with bits past the prefix: the block that it lies in. */
function correctBlock(written: string): string | null {
  const [, address = '', length = ''] = /^([\da-f.:]+)\/(\d{1,3})$/i.exec(written) ?? []
  const bytes = addressBytes(address)
  const prefix = Number(length)
  if (bytes === null || prefix > bytes.length * 8) return null
  const kept = bytes.map((byte, index) => byte & (0xff00 >> Math.min(Math.max(prefix - index * 8, 0), 8)) & 0xff)
  const groups = kept.flatMap((byte, index) =>
    index % 2 === 0 ? [((byte << 8) | (kept[index + 1] ?? 0)).toString(16)] : [],
  )
  // Zero groups at the end, which a prefix leaves, are the ones to shorten (RFC 5952 §4.2).
  const base = kept.length === 4 ? kept.join('.') : groups.join(':').replace(/(?::0){2,}$/, '::')
  const block = `${base}/${prefix}`
  return parseCidr(block) === null ? null : `write ${block}`
}

function correctRequest(written: string): string | null {
  if (/^[a-z]+:\/\/\S+$/i.test(written)) return `write "GET ${written}"`
  const [, method = '', url = ''] = /^([A-Za-z]+)\s+(\S+)$/.exec(written) ?? []
  return url === '' ? null : `write "${method.toUpperCase()} ${url.includes('://') ? url : `https://${url}`}"`
}

const UNITS: ReadonlyMap<string, string> = new Map([
  ['b', 'B'],
  ...['k', 'm', 'g'].flatMap((unit): [string, string][] => {
    const upper = unit.toUpperCase()
    return [
      [unit, `${upper}B`],
      [`${unit}b`, `${upper}B`],
      [`${unit}i`, `${upper}iB`],
      [`${unit}ib`, `${upper}iB`],
    ]
  }),
])
const SMALLER: ReadonlyMap<string, string> = new Map([
  ['MB', 'KB'],
  ['GB', 'MB'],
])

function correctSize(written: string): string | null {
  const [, number = '', unit = ''] = /^(\d{1,9}(?:\.\d{1,3})?)\s*([a-z]{1,3})$/i.exec(written) ?? []
  const known = UNITS.get(unit.toLowerCase())
  if (known === undefined) return null
  const smaller = SMALLER.get(known)
  const size =
    number.includes('.') && smaller !== undefined
      ? `${Math.round(Number(number) * 1_000)}${smaller}`
      : `${number}${known}`
  return size === written || parseSize(size) === null ? null : `write ${size}`
}

function correctDuration(written: string): string | null {
  const [, number = '', unit = ''] = /^(\d{1,9})\s*([a-z]*)$/i.exec(written) ?? []
  const duration = `${number}${unit === '' ? 's' : unit.toLowerCase().startsWith('ms') ? 'ms' : unit.charAt(0).toLowerCase()}`
  return duration === written || parseDuration(duration) === null ? null : `write ${duration}`
}

/** Of ids and names of clients. */
function correctName(written: string): string | null {
  const name = written
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .slice(0, 64)
    .replace(/^-/, '')
    .replace(/-$/, '')
  return name === '' || name === written ? null : `write ${name}`
}

/** SECURITY: only what is a name of a variable by its form; anything else may be the secret, which is not repeated. */
function correctReference(written: string): string | null {
  const [, shell, template, windows] =
    /^(?:\$([A-Z_][A-Z0-9_]*)|(?:\$?\{\{)\s*(?:env\.|secrets\.)?([A-Z_][A-Z0-9_]*)\s*\}\}|%([A-Z_][A-Z0-9_]*)%)$/.exec(
      written,
    ) ?? []
  const name = shell ?? template ?? windows
  return name === undefined ? null : `write \${${name}}`
}

function correctSwitch(written: string): string | null {
  const lower = written.toLowerCase()
  if (['yes', 'on', 'true', '1'].includes(lower)) return 'write true'
  return ['no', 'off', 'false', '0'].includes(lower) ? 'write false' : null
}

function correctListen(written: string): string | null {
  const [, host = '', port = ''] = /^(?:[a-z]+:\/\/)?(.*?):?(\d{1,5})\/?$/i.exec(written) ?? []
  const name = host === '' || host === 'localhost' ? '127.0.0.1' : host === '*' ? '0.0.0.0' : host
  const address = `${name.includes(':') && !name.startsWith('[') ? `[${name}]` : name}:${port}`
  return address === written || parseListenAddress(address) === null ? null : `write ${quoted(address)}`
}

/** As YAML has to have it. */
function quoted(text: string): string {
  return /^[A-Za-z0-9/][\w./:-]*$/.test(text) ? text : JSON.stringify(text)
}
