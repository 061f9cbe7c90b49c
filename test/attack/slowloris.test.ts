// Heads and hellos that arrive a byte at a time: the clock runs from the first byte, and nobody else waits.

import { spawnSync } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { readUntil, tcp } from '../support/clients.ts'
import { clientHello, fatalAlert } from '../support/client-hello.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { thisMachine } from '../e2e/support/spawner.ts'
import { anonymous, FULL, type LoadBed, MIB, report, startLoadBed, times } from './support/load-bed.ts'

const DEADLINE_MS = 600
const DRIP_MS = 20
const DECODE_ERROR = 50
const CONNECTIONS = 500
const FULL_TIMEOUT_MS = 120_000

describe('one byte after another, each long before the deadline', () => {
  let lab: Lab
  beforeAll(async () => {
    const deadlines = { headMs: DEADLINE_MS }
    lab = await startLab({ rules: '', deadlines, peekDeadlines: { helloMs: DEADLINE_MS, silenceMs: 60_000 } })
  })
  afterAll(async () => {
    await assertAccounted(lab)
    await lab.close()
  })

  /** Drips until the other side says something; resolves to that, and to how long it took. */
  async function drip(port: number, bytes: string | Buffer): Promise<{ said: string; ms: number }> {
    const socket = await tcp(port)
    const started = performance.now()
    let at = 0
    const dripping = setInterval(() => socket.write(Buffer.from(bytes.slice(at, ++at) as string, 'latin1')), DRIP_MS)
    const said = await readUntil(socket, (text) => text.length > 0)
    clearInterval(dripping)
    socket.destroy()
    return { said, ms: performance.now() - started }
  }

  it.each(['proxyPort', 'transparentPort'] as const)('[I01] a head to the %s is 408 at its deadline', async (port) => {
    const { said, ms } = await drip(lab[port], `GET http://a.test/ HTTP/1.1\r\nX: ${'a'.repeat(1_000)}`)
    expect(said).toMatch(/^HTTP\/1\.1 408 /)
    expect(ms).toBeGreaterThan(DEADLINE_MS)
    expect(ms).toBeLessThan(3 * DEADLINE_MS)
    const dripped = port === 'proxyPort' ? 1 : 2
    expect((await lab.waitFor('request.malformed', dripped)).at(-1)).toMatchObject({ code: 'HEAD_DEADLINE' })
  })

  it('[I01] a ClientHello ends with an alert at its deadline', async () => {
    const hello = clientHello({ name: 'a.test' }).toString('latin1')
    const { said, ms } = await drip(lab.transparentPort, hello)
    expect(fatalAlert(said)).toBe(DECODE_ERROR)
    expect(ms).toBeGreaterThan(DEADLINE_MS)
    expect(ms).toBeLessThan(3 * DEADLINE_MS)
    expect((await lab.waitFor('request.malformed', 3)).at(-1)).toMatchObject({ code: 'SLOW_HELLO' })
  })
})

describe(`${CONNECTIONS} at once`, () => {
  let bed: LoadBed
  afterEach(() => bed?.close())

  it('[I01] take nothing from others, and leave nothing but their records', { timeout: FULL_TIMEOUT_MS }, async () => {
    bed = await startLoadBed()
    await bed.servesOthers()
    const before = await bed.memory()
    const residentBefore = anonymous(bed.proxy.pid)
    const slow = await times(CONNECTIONS, () => bed.open('127.0.0.2'))
    const head = bed.request('/slow', `X: ${'a'.repeat(1_000)}`)
    let timedOut = 0
    for (const socket of slow) socket.on('data', (answer: Buffer) => (timedOut += answer.includes(' 408 ') ? 1 : 0))
    const rounds = FULL ? 35 : 3
    for (let at = 0; at < rounds; at++) {
      for (const socket of slow) if (!socket.destroyed) socket.write(head[at] ?? '')
      await sleep(FULL ? 1_000 : 100)
      await bed.servesOthers()
    }
    report({ timedOut, resident: (anonymous(bed.proxy.pid) - residentBefore) / MIB })
    expect(timedOut).toBe(FULL ? CONNECTIONS : 0)
    for (const socket of slow) socket.destroy()
    await bed.servesOthers()
    await bed.recovers(before)
    const records = await bed.accounted()
    expect(records.filter(({ event }) => event === 'request.malformed')).toHaveLength(CONNECTIONS)
  })
})

const slowhttptest = spawnSync('slowhttptest', ['-h']).error === undefined
describe.runIf(FULL && slowhttptest)('slowhttptest', () => {
  let bed: LoadBed
  afterEach(() => bed?.close())

  it.each([
    ['-H', 'slow heads'],
    ['-B', 'slow bodies'],
  ])('[I01] [I02] %s, %s: the service stays available', { timeout: FULL_TIMEOUT_MS }, async (mode) => {
    bed = await startLoadBed({
      origin: { '/slow': (request, response) => request.resume().on('end', () => response.end()) },
    })
    const rate = ['-c', '500', '-r', '200', '-i', '10', '-l', '45', '-x', '24', '-p', '3']
    // Through the proxy as one (-d), to an origin that is allowed.
    const target = ['-d', `127.0.0.1:${bed.proxy.ports.get('proxy')}`, '-u', `http://${bed.authority}/slow`]
    const said = await thisMachine.exec('slowhttptest', [mode, ...rate, ...target], { timeoutMs: 90_000 })
    const stdout = stripVTControlCharacters(said.stdout)
    report({
      said: stdout
        .split('\n')
        .filter((line) => /service available|closed:|error:/.test(line))
        .slice(-3),
    })
    expect(stdout).toMatch(/service available: .*YES/)
    await bed.servesOthers()
    await bed.accounted()
  })
})
