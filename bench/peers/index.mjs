// Every peer of the benchmark, in the order of the tables; and how they are started for a measure.
import { peer as httpMitmProxy } from './http-mitm-proxy.mjs'
import { others, peer as mcpEgress } from './mcp-egress.mjs'
import { peer as mitmproxy } from './mitmproxy.mjs'
import { peer as mockttp } from './mockttp.mjs'
import { peer as nginx } from './nginx.mjs'
import { peer as squidClientFirst } from './squid-client-first.mjs'
import { peer as squid } from './squid.mjs'

/**
 * @typedef {{ transparentPort?: number, connectPort?: number, ca: string, pids: () => number[], stop: () => Promise<unknown> }} Served
 * @typedef {{
 *   name: string, label: string, doors: ('transparent' | 'connect')[], h2?: boolean, slow?: boolean,
 *   version: () => string, missing: () => string | null,
 *   start: (lab: object, options: { folder: string, cpu?: number | string, doors?: string[] }) => Promise<Served>,
 * }} Peer
 */

/** @type {Peer[]} */
export const peers = [mcpEgress, ...others, squid, squidClientFirst, mitmproxy, httpMitmProxy, mockttp, nginx]

let started = 0

/**
 * Starts what can be started. Who can not is in `absent` with the reason, and the measure goes on without it.
 * @param {readonly Peer[]} wanted
 * @param {{ slow?: boolean, cpu?: number | string, doors?: string[] }} [options] `slow`: false leaves out those that take long.
 */
export async function startPeers(lab, wanted, { slow = true, ...options } = {}) {
  const start = async (peer) => {
    const why = peer.missing() ?? (!slow && peer.slow === true ? 'left out of a quick run' : null)
    if (why !== null) return { peer, why }
    try {
      const folder = lab.folderFor(`${peer.name}-${started++}`)
      return { peer, ...(await peer.start(lab, { folder, cpu: lab.cpus.proxy, ...options })) }
    } catch (error) {
      return { peer, why: `did not start: ${error.message}` }
    }
  }
  const all = await Promise.all(wanted.map(start))
  const running = all.filter(({ why }) => why === undefined)
  return {
    running,
    absent: all.filter(({ why }) => why !== undefined),
    stop: () => Promise.all(running.map(({ stop }) => stop())),
  }
}

/**
 * Leads the client through a door of a proxy; `null` for the proxy leads it straight to the origin.
 * @param {Served | null} served
 * @param {'transparent' | 'connect'} [door]
 * @returns {string[]} What the load generator has to be told.
 */
export function through(lab, served, door) {
  lab.redirectTo(served !== null && door === 'transparent' ? served.transparentPort : null)
  const name = ['--host', lab.host, '--ca', served?.ca ?? lab.root]
  if (served !== null && door === 'connect') return [...name, '--proxy', `127.0.0.1:${served.connectPort}`]
  return [...name, '--target', `${lab.origin.address}:${lab.origin.port}`]
}
