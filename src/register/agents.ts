// Sends what goes through plain agents of node:http and node:https to the proxy.

import { subscribe } from 'node:diagnostics_channel'
import http from 'node:http'
import https from 'node:https'
import { HttpProxyAgent } from 'http-proxy-agent'
import { HttpsProxyAgent } from 'https-proxy-agent'
import { type ProxyEnvironment, proxyFor } from './proxy-environment.ts'

/** What Node.js passes to an agent; `@types/node` has no name for either. */
type AgentRequestOptions = https.RequestOptions & { secureEndpoint?: boolean }
interface AgentInternals {
  options?: AgentRequestOptions
  addRequest: (request: http.ClientRequest, options: AgentRequestOptions, ...rest: unknown[]) => void
}

type StartedRequest = http.ClientRequest & { agent?: http.Agent | false | null; socketPath?: string }

/** Every agent that pools asks its prototype here, the global ones and those made for `agent: false` too. */
const prototype = http.Agent.prototype as unknown as AgentInternals

interface Route {
  readonly proxy: string
  readonly tunnel: boolean
}

/**
 * Redirects plain `http.Agent` and `https.Agent` objects, one pool of proxied connections for each. Agents of a class of their own
 * and requests with a connection of their own are left alone.
 * @param warn is called once, with the name of the first that is left alone.
 */
export function redirectAgents(environment: ProxyEnvironment, warn: (what: string) => void): void {
  const ours = new WeakSet<http.Agent>()
  const pools = new WeakMap<http.Agent, Map<string, http.Agent>>()

  const poolOf = (plain: http.Agent, { proxy, tunnel }: Route): http.Agent => {
    const known = pools.get(plain) ?? new Map<string, http.Agent>()
    pools.set(plain, known)
    const key = `${tunnel ? 'tunnel' : 'absolute'} ${proxy}`
    const pool = known.get(key) ?? (tunnel ? tunnelling(plain, proxy) : absoluteForm(plain, proxy))
    known.set(key, pool)
    ours.add(pool)
    return pool
  }

  const { addRequest } = prototype
  prototype.addRequest = function (this: http.Agent, request, options, ...rest): void {
    const own = { ...options, ...(this as unknown as AgentInternals).options }
    const route = isPlain(this) ? routeOf(environment, request, own, this instanceof https.Agent) : null
    if (route === null) return addRequest.call(this as unknown as AgentInternals, request, options, ...rest)
    const pool = poolOf(this, route) as unknown as AgentInternals
    pool.addRequest(request, { ...own, secureEndpoint: this instanceof https.Agent })
  }

  let warned = false
  subscribe('http.client.request.start', (message) => {
    const { request } = message as { request: StartedRequest }
    const { agent, host } = request
    if (warned || request.socketPath || (agent && (isPlain(agent) || ours.has(agent)))) return
    const secure = request.protocol === 'https:'
    if (proxyFor(environment, { secure, host, port: portOf(request.getHeader('host'), secure) }) === null) return
    warned = true
    warn(agent ? `an agent of its own (${agent.constructor.name})` : 'a connection of its own')
  })
}

function isPlain(agent: http.Agent): boolean {
  const found: unknown = Object.getPrototypeOf(agent)
  return found === http.Agent.prototype || found === https.Agent.prototype
}

function routeOf(
  environment: ProxyEnvironment,
  request: http.ClientRequest,
  options: AgentRequestOptions,
  secure: boolean,
): Route | null {
  // A Unix socket is no network; a CONNECT is spoken to a proxy already.
  if (options.socketPath || request.method === 'CONNECT') return null
  const host = options.host ?? options.hostname ?? 'localhost'
  const proxy = proxyFor(environment, { secure, host, port: Number(options.port ?? (secure ? 443 : 80)) })
  return proxy === null ? null : { proxy, tunnel: secure || !keepsItsPath(request) }
}

/** http-proxy-agent writes the absolute form with the URL parser, which resolves dot segments and takes `//x` for a host. */
function keepsItsPath(request: http.ClientRequest): boolean {
  const host = String(request.getHeader('host') ?? '')
  const absolute = `http://${host}${request.path}`
  const upgrades = request.getHeader('upgrade') !== undefined
  return host !== '' && !upgrades && URL.canParse(absolute) && new URL(request.path, `http://${host}`).href === absolute
}

function tunnelling(plain: http.Agent, proxy: string): http.Agent {
  return pooledLike(plain, new HttpsProxyAgent(proxy, keepAliveOf(plain)))
}

function absoluteForm(plain: http.Agent, proxy: string): http.Agent {
  return pooledLike(plain, new HttpProxyAgent(proxy, keepAliveOf(plain)))
}

function keepAliveOf(plain: http.Agent): { keepAlive: boolean } {
  return { keepAlive: (plain as unknown as { keepAlive: boolean }).keepAlive }
}

function pooledLike(plain: http.Agent, pool: http.Agent): http.Agent {
  pool.maxSockets = plain.maxSockets
  pool.maxFreeSockets = plain.maxFreeSockets
  return pool
}

function portOf(host: number | string | string[] | undefined, secure: boolean): number {
  const port = /:(\d+)$/.exec(host?.toString() ?? '')?.[1]
  return port === undefined ? (secure ? 443 : 80) : Number(port)
}
