// The servers of an API description: the scheme, hosts, port and base path that its operations are asked at.

import { formatHost } from '../core/address.ts'
import { compileValueGlob, matchValueGlob } from '../core/glob.ts'
import { overlaps, parseHostPattern } from '../core/host-pattern.ts'
import { parseAbsoluteForm, parseOriginForm } from '../core/path.ts'
import type { Server } from './openapi-description.ts'

/** Every host is served by this scheme at this port below this path. `port`: null where it is the scheme's own. */
export interface Endpoint {
  readonly scheme: 'http' | 'https'
  readonly hosts: readonly string[]
  readonly port: number | null
  /** Without a slash at its end. */
  readonly base: string
}

/** At least one endpoint, or what is wrong with the first server. */
export type Endpoints =
  | { readonly kind: 'ok'; readonly endpoints: readonly Endpoint[] }
  | { readonly kind: 'bad'; readonly why: string; readonly fix: string }

type Fault = Extract<Endpoints, { readonly kind: 'bad' }>

/** URLs that one server can have by the values of its variables. */
const MAX_READINGS = 64
const NAME_HOSTS = 'name them: hosts: [api.example.com]'

/** `hosts`: those that the rule names, null if it names none. Servers that can not be read, or are elsewhere, are left out. */
export function endpointsOf(servers: readonly Server[], hosts: readonly string[] | null): Endpoints {
  const read = servers.flatMap((server) => endpointsOfServer(server, hosts))
  const usable = read.flatMap((endpoint) => ('kind' in endpoint ? [] : [endpoint]))
  const fault = read.find((endpoint) => 'kind' in endpoint)
  // SECURITY: what is served encrypted is not opened in the clear, though many descriptions name both.
  const encrypted = usable.filter(({ scheme }) => scheme === 'https')
  const chosen = encrypted.length > 0 ? encrypted : usable
  if (chosen.length === 0) return fault ?? bad('it has no server', NAME_HOSTS)
  return { kind: 'ok', endpoints: merged(chosen) }
}

function endpointsOfServer(server: Server, hosts: readonly string[] | null): readonly (Endpoint | Fault)[] {
  const readings = readingsOf(server, hosts !== null)
  return 'kind' in readings ? [readings] : readings.map((reading) => endpointOf(reading, hosts))
}

/** `url` with every variable replaced; `hostGlob` has a star for each variable of the host that the rule has a say in. */
interface Reading {
  readonly url: string
  readonly hostGlob: string | null
}

function readingsOf({ url, variables }: Server, hostsNamed: boolean): readonly Reading[] | Fault {
  const pieces = url.split(/\{([^{}]*)\}/)
  const names = new Set(pieces.filter((_, index) => index % 2 === 1))
  let readings: ReadonlyMap<string, string>[] = [new Map()]
  const open = new Set<string>()
  for (const name of names) {
    const variable = variables.get(name)
    if (variable === undefined) return bad(`the server ${quote(url)} has a variable that is not described`, NAME_HOSTS)
    if (variable.enum === null && hostsNamed && isInHost(url, name)) open.add(name)
    const values = variable.enum ?? [variable.default]
    readings = readings.flatMap((reading) => values.map((value) => new Map(reading).set(name, value)))
    if (readings.length > MAX_READINGS) {
      return bad(`the server ${quote(url)} has more than ${MAX_READINGS} readings`, 'write them out as servers')
    }
  }
  const written = (reading: ReadonlyMap<string, string>, opened: string): string =>
    pieces.map((piece, index) => (index % 2 === 0 ? piece : open.has(piece) ? opened : reading.get(piece))).join('')
  return readings.map((reading) => ({
    url: written(reading, 'x'),
    hostGlob: open.size === 0 ? null : hostIn(written(reading, '*')),
  }))
}

/** And nowhere else: for a path the rule has no value. */
function isInHost(url: string, name: string): boolean {
  const uses = (text: string): number => text.split(`{${name}}`).length - 1
  return uses(url) > 0 && uses(url) === uses(hostIn(url))
}

/** Between the scheme and the port or path. */
function hostIn(url: string): string {
  return /^[^/]*:\/\/([^/?#:]*)/.exec(url)?.[1] ?? ''
}

function endpointOf({ url, hostGlob }: Reading, hosts: readonly string[] | null): Endpoint | Fault {
  if (url.startsWith('/') && !url.startsWith('//')) return relativeEndpoint(url, hosts)
  const read = parseAbsoluteForm(url)
  if (read.kind === 'bad') return bad(`the server ${quote(url)}: ${read.why}`, 'correct it there')
  const { scheme, authority, origin } = read
  const base = basePath(origin)
  if (base === null) return bad(`the server ${quote(url)} has a query, or a * in its path`, 'correct it there')
  const host = formatHost(authority.host)
  const served = servedHosts(host, hostGlob, hosts)
  if (served.length === 0) {
    return bad(
      `${hostGlob ?? host} is not among the hosts that the rule names`,
      'add it to hosts, or remove the operation',
    )
  }
  const byDefault = scheme === 'https' ? 443 : 80
  return { scheme, hosts: served, port: authority.port === byDefault ? null : authority.port, base }
}

/** It counts from where the description was taken from, which nobody knows here. */
function relativeEndpoint(url: string, hosts: readonly string[] | null): Endpoint | Fault {
  if (hosts === null) return bad('the description does not say which host serves it', NAME_HOSTS)
  const origin = parseOriginForm(url)
  if (origin.kind === 'bad') return bad(`the server ${quote(url)}: ${origin.why}`, 'correct it there')
  const base = basePath(origin)
  if (base === null) return bad(`the server ${quote(url)} has a query, or a * in its path`, 'correct it there')
  return { scheme: 'https', hosts, port: null, base }
}

/** SECURITY: a star would become a wildcard of the rule. */
function basePath({ path, query }: { readonly path: string; readonly query: string | null }): string | null {
  if (query !== null || path.includes('*')) return null
  return path.endsWith('/') ? path.slice(0, -1) : path
}

/** `host` if the rule's patterns hold it; of a host with open variables the patterns that have its form. */
function servedHosts(host: string, hostGlob: string | null, hosts: readonly string[] | null): readonly string[] {
  if (hosts === null) return [host]
  if (hostGlob !== null) {
    const glob = compileValueGlob(hostGlob)
    return hosts.filter((pattern) => matchValueGlob(glob, pattern))
  }
  const own = parseHostPattern(host, false)
  const isNamed = hosts.some((text) => {
    const pattern = parseHostPattern(text, true)
    return own.kind === 'ok' && pattern.kind === 'ok' && overlaps(own.pattern, pattern.pattern)
  })
  return isNamed ? [host] : []
}

/** Hosts with all else in common are one endpoint. */
function merged(endpoints: readonly Endpoint[]): readonly Endpoint[] {
  const found = new Map<string, Endpoint>()
  for (const endpoint of endpoints) {
    const key = `${endpoint.scheme} ${endpoint.port} ${endpoint.base}`
    const hosts = [...(found.get(key)?.hosts ?? []), ...endpoint.hosts]
    found.set(key, { ...endpoint, hosts: [...new Set(hosts)] })
  }
  return [...found.values()]
}

function bad(why: string, fix: string): Fault {
  return { kind: 'bad', why, fix }
}

function quote(text: string): string {
  return JSON.stringify(text)
}
