// Thousands of connections that say nothing: cheap, bounded for each source, found out when their peer is gone, and no attempt.

import { readFileSync } from 'node:fs'
import { afterEach, describe, expect, it } from 'vitest'
import { connectVia, tcp } from '../support/clients.ts'
import { assertAccounted } from '../support/accounting.ts'
import { startLab } from '../support/lab.ts'
import { Wire } from '../support/wire.ts'
import { anonymous, type LoadBed, MIB, report, startLoadBed, times } from './support/load-bed.ts'

const CONNECTIONS = 5_000
const BYTES_EACH = 12 * 1_024
/** Of one source at once. */
const PER_SOURCE = 2_048
const SURPLUS = 100
/** `tr` of /proc/net/tcp: the timer that runs is the one of keep-alive probes. */
const KEEPALIVE_TIMER = '02'

let bed: LoadBed
afterEach(() => bed?.close())

it(`[I04] ${CONNECTIONS} of them, from several sources`, { timeout: 30_000 }, async () => {
  bed = await startLoadBed()
  await bed.servesOthers()
  const before = await bed.memory()
  const resident = anonymous(bed.proxy.pid)
  const idle = await times(CONNECTIONS, (index) => bed.open(`127.0.1.${index % 4}`))
  await bed.servesOthers()
  const during = await bed.memory()
  report({
    bytesEach: (during.reachable - before.reachable) / CONNECTIONS,
    residentEach: (anonymous(bed.proxy.pid) - resident) / CONNECTIONS,
  })
  expect(during.sockets).toBeGreaterThanOrEqual(CONNECTIONS)
  expect(during.reachable - before.reachable).toBeLessThan(CONNECTIONS * BYTES_EACH)
  for (const socket of idle) socket.destroy()
  await bed.servesOthers()
  await bed.recovers(before)
  report({ left: (anonymous(bed.proxy.pid) - resident) / MIB })
  const records = await bed.accounted()
  const honest = records.filter((record) => record['path'] === '/honest')
  expect(records.filter(({ event }) => event === 'request.decided')).toHaveLength(honest.length)
})

it(`[I04] over ${PER_SOURCE} of one source are refused and recorded, and the next source is served`, {
  timeout: 30_000,
}, async () => {
  bed = await startLoadBed()
  await bed.servesOthers()
  const idle = await times(PER_SOURCE + SURPLUS, () => bed.open('127.0.0.2'))
  await bed.servesOthers()
  for (const socket of idle) socket.destroy()
  const records = await bed.accounted()
  const refused = records.filter((record) => record['reason'] === 'overloaded')
  expect(refused.filter(({ event }) => event === 'request.decided')).toHaveLength(SURPLUS)
  expect(refused.filter(({ outcome }) => outcome === 'refused')).toHaveLength(SURPLUS)
  expect(refused.find(({ event }) => event === 'request.decided')).toMatchObject({
    decision: 'deny',
    client: { name: 'anonymous', source: '127.0.0.2' },
  })
})

it('[I03] the kernel asks whether the peer of a silent connection is still there', async () => {
  bed = await startLoadBed()
  const socket = await bed.open('127.0.0.3')
  await bed.servesOthers()
  const [ours, theirs] = [socket.localPort ?? 0, socket.remotePort ?? 0].map(
    (port) => `:${port.toString(16).padStart(4, '0').toUpperCase()}`,
  )
  const lines = readFileSync('/proc/net/tcp', 'latin1').split('\n')
  const accepted = lines
    .map((line) => line.trim().split(/\s+/))
    .find(([, local = '', remote = '']) => local.endsWith(theirs ?? '') && remote.endsWith(ours ?? ''))
  expect(accepted?.[5]?.slice(0, 2)).toBe(KEEPALIVE_TIMER)
  socket.destroy()
})

describe('[I03] a tunnel that was opened and in which nothing is said', () => {
  it.each(['by CONNECT', 'by redirection'])('%s, is let go without an attempt', async (how) => {
    const lab = await startLab({
      rules: '  - { id: any, allow: { hosts: [api.allowed.test] } }',
      peekDeadlines: { silenceMs: 200 },
      original: { address: '198.51.100.7', port: 443 },
    })
    const socket =
      how === 'by CONNECT' ? (await connectVia(lab, 'api.allowed.test:443')).socket : await tcp(lab.transparentPort)
    expect(await new Wire(socket).closed()).toBe('end')
    expect(lab.recordsOf('request.decided')).toEqual([])
    await assertAccounted(lab)
    await lab.close()
  })
})
