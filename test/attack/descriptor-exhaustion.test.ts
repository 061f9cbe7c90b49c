// A process that runs out of descriptors: the bound of connections comes first, and past it the listener lives on.

import { mkdtempSync, readFileSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, it } from 'vitest'
import { SystemResolver } from '../../src/proxy/resolver.ts'
import { thisMachine } from '../e2e/support/spawner.ts'
import { type LoadBed, report, startLoadBed, times } from './support/load-bed.ts'

const LIMIT = 256
const FLOOD = 600
/** Left beside those that the proxy has open when nobody asks for anything. */
const SPARE = 4
/** The kernel has to tell the proxy of each end first. */
const SERVED_AGAIN_MS = 1_000
/** Of 100 a second: a listener that tries for ever what it can not do takes all of them. */
const SPINNING_TICKS = 50

let bed: LoadBed
afterEach(() => bed?.close())

it.each([
  ['one source', 1],
  ['ten sources', 10],
])(
  `[I04] ${FLOOD} connections of %s where ${LIMIT} descriptors are allowed`,
  { timeout: 30_000 },
  async (_name, sources) => {
    bed = await startLoadBed({ descriptors: LIMIT, origin: { '/never': () => undefined } })
    await bed.servesOthers()
    const before = await bed.memory()
    const flood = await times(FLOOD, async (index) => {
      const socket = await bed.open(`127.0.1.${index % sources}`)
      socket.write(bed.request('/never'))
      return socket
    })
    await bed.servesOthers()
    report({ descriptors: bed.descriptors(), sources })
    expect(bed.descriptors()).toBeLessThan(LIMIT)
    for (const socket of flood) socket.destroy()
    await bed.servesOthers()
    await bed.recovers(before)
    const records = await bed.accounted()
    const decided = records.filter((record) => record['event'] === 'request.decided' && record['path'] !== '/honest')
    expect(decided).toHaveLength(FLOOD)
    const refused = decided.filter((record) => record['reason'] === 'overloaded')
    expect(refused.length).toBeGreaterThan(FLOOD / 2)
    expect(decided.length - refused.length).toBeGreaterThan(0)
  },
)

it('[I04] when not one is left the process neither ends nor spins, and serves again as soon as there are some', {
  timeout: 30_000,
}, async () => {
  bed = await startLoadBed()
  await bed.servesOthers()
  // Taken away later than its bound was reckoned, so that the kernel is the first to say no.
  const { code } = await thisMachine.exec('prlimit', [
    `--pid=${bed.proxy.pid}`,
    `--nofile=${bed.descriptors() + SPARE}`,
  ])
  expect(code).toBe(0)
  const flood = await times(FLOOD, (index) => bed.open(`127.0.1.${index % 50}`))
  const before = ticks(bed.proxy.pid)
  await sleep(500)
  expect(ticks(bed.proxy.pid) - before).toBeLessThan(SPINNING_TICKS / 2)
  for (const socket of flood) socket.destroy()
  await expect.poll(() => bed.ask('/again'), { timeout: SERVED_AGAIN_MS, interval: 20 }).toBe(200)
  await bed.servesOthers()
  await bed.accounted()
})

it('[I04] a hosts file that could not be read is read at the next lookup', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-hosts-'))
  const hostsFile = join(folder, 'hosts')
  const there = join(folder, 'there')
  writeFileSync(there, '192.0.2.7 pinned.test\n')
  // A folder can not be read as a file; the time of both is the same, so that nothing looks changed.
  for (const path of [folder, there]) utimesSync(path, 1, 1)
  const resolver = new SystemResolver({
    hostsFile,
    resolvConf: '/nonexistent',
    now: Date.now,
    servers: ['127.0.0.1:9'],
    timeoutMs: 20,
  })
  symlinkSync('.', hostsFile)
  utimesSync(folder, 1, 1)
  expect(await resolver.resolve('pinned.test')).toMatchObject({ kind: 'failed' })
  unlinkSync(hostsFile)
  symlinkSync(there, hostsFile)
  expect(await resolver.resolve('pinned.test')).toEqual({ kind: 'addresses', addresses: ['192.0.2.7'] })
  rmSync(folder, { recursive: true })
})

/** Processor time that it has used, in hundredths of a second (proc(5), utime and stime). */
function ticks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}
