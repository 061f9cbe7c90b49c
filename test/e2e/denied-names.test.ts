// Thousands of names that no rule allows: few leaves are minted for them, nothing is resolved, and each one is on record.

import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectVia, exchangeOn, reasonOf, secure, tcp } from '../support/clients.ts'
import { type Lab, startLab } from '../support/lab.ts'

const BY_CONNECT = 4_500
const BY_REDIRECT = 500
const NAMES = BY_CONNECT + BY_REDIRECT
const AT_ONCE = 25
/** CONTRACT §3: a burst of 20, then one a second for each client. */
const BURST = 20
const ADMIN_TOKEN = 'admin-token-of-this-test'

/** How a client was told: by the 403 inside TLS, by the 403 to its CONNECT, or by an alert; with the reason where one can be read. */
type Told = string
const INSIDE: Told = 'inside 403 no_matching_rule'
const CONNECT: Told = 'connect 403 no_matching_rule'
const ALERT: Told = 'alert access denied'

describe('names that no rule allows', () => {
  let lab: Lab

  beforeAll(async () => {
    lab = await startLab({
      rules: `  - id: one
    allow: { hosts: [allowed.example] }
admin: { token: "\${ADMIN_TOKEN}" }`,
      env: { ADMIN_TOKEN },
      original: { address: '198.51.100.77', port: 443 },
    })
  })
  afterAll(() => lab?.close())

  it(`cost ${NAMES} records each way, a budget of leaves, and no lookup`, { timeout: 60_000 }, async () => {
    const minted = await leavesMinted()
    const started = performance.now()
    const told = [
      ...(await all(BY_CONNECT, (index) => askByConnect(lab, `c${index}.denied.example`))),
      ...(await all(BY_REDIRECT, (index) => askByRedirect(lab, `t${index}.denied.example`))),
    ]
    const budget = BURST + Math.ceil((performance.now() - started) / 1_000)
    const leaves = (await leavesMinted()) - minted

    const inside = told.filter((one) => one === INSIDE).length
    expect(told).toHaveLength(NAMES)
    // Past the budget a CONNECT is answered itself, and only a redirected connection, which has no other way, gets the alert.
    expect(told.slice(0, BY_CONNECT).filter((one) => one !== INSIDE && one !== CONNECT)).toEqual([])
    expect(told.slice(BY_CONNECT).filter((one) => one !== INSIDE && one !== ALERT)).toEqual([])
    expect(leaves).toBeLessThanOrEqual(budget)
    expect(inside).toBeLessThanOrEqual(leaves)
    expect(inside).toBeGreaterThanOrEqual(BURST)
    expect(lab.resolved).toEqual([])

    const completed = await lab.waitFor('request.completed', NAMES)
    const decided = lab.recordsOf('request.decided')
    expect(completed).toHaveLength(NAMES)
    expect(decided).toHaveLength(NAMES)
    expect(new Set(decided.map((record) => record['host'])).size).toBe(NAMES)
    expect(new Set(decided.map((record) => record['reason']))).toEqual(new Set(['no_matching_rule']))
    expect(new Set(completed.map((record) => record['outcome']))).toEqual(new Set(['refused']))
    expect(completed.filter((record) => record['upstream_address'] !== null)).toEqual([])
    const unread = decided.filter((record) => record['path'] === null)
    expect(unread).toHaveLength(NAMES - inside)
  })

  async function leavesMinted(): Promise<number> {
    const answer = await fetch(`http://127.0.0.1:${lab.adminPort}/metrics`, {
      headers: { Authorization: `Bearer ${ADMIN_TOKEN}` },
    })
    const text = await answer.text()
    const found = /^mcp_egress_leaf_cache_misses (\d+)$/m.exec(text)
    if (found === null) throw new Error(`no count of leaves: ${text.slice(0, 2_000)}`)
    return Number(found[1])
  }
})

async function askByConnect(lab: Lab, name: string): Promise<Told> {
  const { socket, refused } = await connectVia(lab, `${name}:443`)
  if (refused === null) return askInside(socket, lab, name)
  socket.destroy()
  return `connect ${refused.status} ${reasonOf(refused)}`
}

async function askByRedirect(lab: Lab, name: string): Promise<Told> {
  return askInside(await tcp(lab.transparentPort), lab, name)
}

async function askInside(socket: Socket, lab: Lab, name: string): Promise<Told> {
  try {
    const tls = await secure(lab, socket, { servername: name })
    const answer = await exchangeOn(tls, `GET /x HTTP/1.1\r\nHost: ${name}\r\n\r\n`)
    return `inside ${answer.status} ${reasonOf(answer)}`
  } catch (error) {
    return /alert access denied/.test(String(error)) ? ALERT : String(error)
  } finally {
    socket.destroy()
  }
}

/** A bounded number at once, results in order. */
async function all<T>(count: number, one: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next++
      results[index] = await one(index)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
  return results
}
