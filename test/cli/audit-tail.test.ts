// `audit tail` shows the last requests and then each new one once, over rotations, restarts and removals.

import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ChainHead, readLine, seal } from '../../src/audit/chain.ts'
import { newId } from '../../src/audit/id.ts'
import { lineHead } from '../../src/audit/read.ts'
import { closedPath } from '../../src/audit/segments.ts'
import { tailCommand } from '../../src/cli/audit-tail.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'
import { audit, Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { run } from './capture.ts'

const DEADLINE_MS = 15_000
const LOOK_MS = 10

let fixture: Fixture
let stop: AbortController
let out: string
let err: string
let ended: Promise<unknown>
beforeEach(async () => {
  fixture = new Fixture()
  stop = new AbortController()
  out = ''
  err = ''
  ended = Promise.resolve()
  await fixture.open()
})
afterEach(async () => {
  stop.abort()
  await ended
  await fixture.remove()
})

function tail(...args: string[]): void {
  const output = { out: (text: string) => void (out += text), err: (text: string) => void (err += text), colour: false }
  const command = tailCommand(new Command('tail'), output, () => stop.signal)
  ended = command.exitOverride().parseAsync([fixture.path, ...args], { from: 'user' })
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not in time; so far:\n${out}${err}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

function headOf(path: string): ChainHead {
  const last = readLine(readFileSync(path, 'latin1').trimEnd().split('\n').at(-1) ?? '')
  if (last.kind !== 'record') throw new Error(`${path} ends in no record`)
  return last.head
}

const paths = (): string[] => [...out.matchAll(/api\.github\.com(\/\S*)\?/g)].map(([, path]) => path ?? '')

/** Waits for a request that is shown, so that all before it were. */
async function marked(path: string): Promise<void> {
  await fixture.request({ decided: { path } })
  await until(() => out.includes(path))
}

describe('tail', () => {
  it('shows the last requests in their order, then new ones, and ends in order', async () => {
    for (const path of ['/1', '/2', '/3']) await fixture.request({ decided: { path } })
    tail('-n', '2')
    await until(() => paths().length === 2)
    await marked('/4')
    await fixture.denied({ path: HOSTILE })
    await marked('/5')
    expect(paths()).toEqual(['/2', '/3', '/4', '/5'])
    expect(out).toMatch(/ deny +GET +https:\/\/evil\.example\/\\u0000\\u001b\[2J\S* no_matching_rule 403 84\.125 ms\n/)
    expect(out).not.toMatch(UNSAFE)
    stop.abort()
    await expect(ended).resolves.toBeDefined()
    expect(err).toBe('')
  })

  it('loses nothing and repeats nothing over rotations, also several at once', async () => {
    tail()
    await marked('/begin')
    const expected = ['/begin']
    for (let round = 0; round < 20; round++) {
      for (let at = 0; at < 3; at++) {
        expected.push(`/${round}/${at}`)
        await fixture.request({ decided: { path: `/${round}/${at}` } })
      }
      await fixture.rotate()
    }
    await marked('/end')
    expect(paths()).toEqual([...expected, '/end'])
  })

  it('finds what was rotated away while it did not look', async () => {
    tail()
    await marked('/seen')
    await fixture.rotate()
    await fixture.request({ decided: { path: '/1' } })
    await until(() => paths().includes('/1'))
    await fixture.trail.close()
    // All at once, so that nobody can look in between.
    let head = headOf(fixture.path)
    for (const path of ['/2', '/3', '/4']) {
      const first = lineHead(readFileSync(fixture.path, 'latin1').split('\n', 1)[0] ?? '')
      renameSync(fixture.path, closedPath(fixture.path, first?.seq ?? -1))
      const id = newId(Date.now())
      const decided = seal(
        { ...DECIDED, request_id: id, path },
        fixture.trail.instance,
        '2026-11-21T00:00:00.000Z',
        head,
      )
      const completed = seal(
        { ...COMPLETED, request_id: id },
        fixture.trail.instance,
        '2026-11-21T00:00:00.000Z',
        decided.head,
      )
      head = completed.head
      writeFileSync(fixture.path, decided.text + completed.text)
    }
    await until(() => paths().includes('/4'))
    expect(paths()).toEqual(['/seen', '/1', '/2', '/3', '/4'])
    // The same file under another inode, as a backup that was put back.
    const id = newId(Date.now())
    const decided = seal(
      { ...DECIDED, request_id: id, path: '/5' },
      fixture.trail.instance,
      '2026-11-21T00:00:00.000Z',
      head,
    )
    const completed = seal(
      { ...COMPLETED, request_id: id },
      fixture.trail.instance,
      '2026-11-21T00:00:00.000Z',
      decided.head,
    )
    writeFileSync(`${fixture.path}.back`, readFileSync(fixture.path, 'latin1') + decided.text + completed.text)
    renameSync(`${fixture.path}.back`, fixture.path)
    await until(() => paths().includes('/5'))
    expect(paths()).toEqual(['/seen', '/1', '/2', '/3', '/4', '/5'])
  })

  it('goes on after a restart, after a new trail in the same place, and after the file was away', async () => {
    tail()
    await marked('/1')
    await fixture.trail.close()
    await fixture.open()
    await marked('/2')
    await fixture.trail.close()
    renameSync(fixture.path, join(fixture.folder, 'evidence.jsonl'))
    await fixture.open()
    await marked('/3')
    expect(paths()).toEqual(['/1', '/2', '/3'])
  })

  it('shows a request that stays open, and its end', async () => {
    tail()
    await marked('/1')
    const id = await fixture.request({ decided: { path: '/long' }, completed: null })
    await until(() => /\/long\S* open\n/.test(out))
    await fixture.write({
      event: 'request.completed',
      request_id: id,
      outcome: 'client_aborted',
      reason: 'client_aborted',
      status: 200,
      upstream_address: null,
      bytes_sent: 0,
      bytes_received: 0,
      duration_ms: 3_000,
      timings: { dns: null, connect: null, tls: null, first_byte: null },
    })
    await until(() => out.includes(' end '))
    expect(out).toMatch(/ end +GET +\S+\/long\S* client_aborted 200 3000 ms\n/)
  })

  it('waits for the end of a line that is being written', async () => {
    tail('--json')
    await fixture.request({ decided: { path: '/1' } })
    await until(() => out.includes('"/1"'))
    await fixture.trail.close()
    const lines = readFileSync(fixture.path, 'latin1').trimEnd().split('\n')
    const next = (lines.findLast((line) => line.includes('request.decided')) ?? '')
      .replace(/"seq":\d+/, '"seq":99')
      .replace('"/1"', '"/2"')
    appendFileSync(fixture.path, next.slice(0, 100))
    appendFileSync(fixture.path, `${next.slice(100)}\n`)
    await until(() => out.includes('"/2"'))
    expect(err).toBe('')
  })

  it('filters, and gives raw records with --json', async () => {
    tail('--json', '--decision', 'deny', '--status', '403')
    await fixture.request({ decided: { path: '/1' } })
    await fixture.denied({ path: '/no' })
    await until(() => out.split('\n').length === 3)
    const raw = readFileSync(fixture.path, 'latin1')
      .split('\n')
      .filter((line) => line.includes('"/no"') || line.includes('"refused"'))
    expect(out).toBe(`${raw.join('\n')}\n`)
  })

  it('shows events between the requests, and those of one kind alone', async () => {
    await fixture.write({
      event: 'config.rejected',
      version: '1',
      policy: 'a',
      mode: 'enforce',
      problems: ['no \u001b[2J'],
    })
    tail('--event', 'config.rejected')
    await until(() => out.includes('problems=["no \\u001b[2J"]'))
    await fixture.request()
    await fixture.write({ event: 'config.rejected', version: '1', policy: 'a', mode: 'enforce', problems: ['again'] })
    await until(() => out.includes('again'))
    expect(out.split('\n')).toHaveLength(3)
  })

  it('says where there is no trail', async () => {
    const nowhere = join(fixture.folder, 'nowhere.jsonl')
    expect(await run(audit, ['tail', nowhere])).toMatchObject({
      code: EXIT.usage,
      message: expect.stringContaining(nowhere) as unknown,
    })
    writeFileSync(nowhere, '')
  })
})
