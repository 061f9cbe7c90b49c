import { once } from 'node:events'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { trailFiles } from '../../src/audit/read.ts'
import { publicKeysOf, readPublicKeys } from '../../src/audit/signing.ts'
import { MAX_UNCOVERED_RECORDS, verifyTrail as verifyFiles } from '../../src/audit/verify.ts'
import { unevenRequests } from '../support/audit-events.ts'
import { type AuditBed, recordedPaths, startAuditBed } from './support/audit-bed.ts'
import { thisMachine } from './support/spawner.ts'

/** How often the proxy is killed; `MCP_EGRESS_TEST_KILLS=200` for the long run. */
const KILLS = Number(process.env['MCP_EGRESS_TEST_KILLS'] ?? 40)
const SEED = Number(process.env['MCP_EGRESS_TEST_SEED'] ?? Date.now() % 1_000_000)
const CLIENTS = 8
/** The latest moment of a kill, from the first request on. */
const LATEST_MS = 250
/** For a start, the requests and a loaded machine. */
const CYCLE_MS = 6_000

let bed: AuditBed
beforeAll(async () => {
  bed = await startAuditBed({ audit: 'rotate: { size: 1MiB }' })
})
afterAll(() => bed.close())

/** Numbers from 0 to 1 that the seed decides (mulberry32). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d_2b_79_f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

it(`SIGKILL at ${KILLS} moments (seed ${SEED}): what reached the origin is recorded, and every decision has one end [K07] [K12]`, {
  timeout: 30_000 + KILLS * CYCLE_MS,
}, async () => {
  const next = random(SEED)
  const answered = new Set<string>()
  for (let kill = 0; kill < KILLS; kill++) {
    const children: ReturnType<typeof thisMachine.spawn>[] = []
    const { ask } = await bed.start({
      ...thisMachine,
      spawn: (...args) => {
        const child = thisMachine.spawn(...args)
        children.push(child)
        return child
      },
    })
    const [child] = children
    if (child === undefined) throw new Error('nothing was started')
    const ended = once(child, 'close')
    const proxy = { killed: false }
    const clients = Array.from({ length: CLIENTS }, async (_, client) => {
      for (let request = 0; !proxy.killed; request++) {
        // One in eight is open when the proxy dies.
        const path = `${client === 0 ? '/stream' : ''}/${kill}/${client}/${request}`
        if ((await ask(path)) === 200) answered.add(path)
      }
    })
    await new Promise((resolve) => setTimeout(resolve, next() * LATEST_MS))
    child.kill('SIGKILL')
    proxy.killed = true
    await Promise.all([...clients, ended])
  }
  const last = await bed.start()
  expect(await last.proxy.stop()).toBe(0)
  const trail = join(bed.folder, 'logs/audit.jsonl')
  const { records, paths } = recordedPaths(trail)
  expect(answered.size).toBeGreaterThan(KILLS)
  expect([...bed.seen].filter((path) => !paths.has(path))).toEqual([])
  expect(unevenRequests(records)).toEqual([])
  expect(records.filter(({ outcome }) => outcome === 'interrupted').length).toBeGreaterThan(KILLS / 4)
  expect(records.filter(({ event }) => event === 'proxy.started')).toHaveLength(KILLS + 1)
  // The product's own check says the same, signatures and all.
  const files = await trailFiles(trail)
  const report = await verifyFiles(files, {
    instance: null,
    complete: true,
    keys: readPublicKeys(publicKeysOf(join(bed.folder, 'certs'))),
    allowUnsigned: false,
    maxUncovered: MAX_UNCOVERED_RECORDS,
    kept: [],
    tombstones: [],
  })
  for (const { handle } of files) await handle?.close()
  expect(report).toMatchObject({ fault: null, ok: true, records: records.length, still_open: 0 })
})
