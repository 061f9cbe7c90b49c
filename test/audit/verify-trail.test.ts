// What the trail itself writes, over rotations, compression, crashes and restarts, is what the checker accepts.

import { appendFileSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { openSigningKey, readPublicKeys, type SigningKey } from '../../src/audit/signing.ts'
import { closeFiles, trailFiles } from '../../src/audit/read.ts'
import { type FileTrail, openTrail } from '../../src/audit/trail.ts'
import { verifyTrail, type VerifyRules } from '../../src/audit/verify.ts'
import type { VerifyReport } from '../../src/audit/verify-report.ts'
import { completed, decided, LENIENT, LOADED, STARTED, STOPPED, temporaryFolder } from './support/sealed.ts'

let folder: string
let path: string
let key: SigningKey
let kept: string[]
beforeEach(() => {
  folder = temporaryFolder()
  path = join(folder, 'audit.jsonl')
  key = openSigningKey(folder)
  kept = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function start(compress = false): Promise<FileTrail> {
  const onCheckpoint = (line: string): void => void kept.push(line)
  const checkpoints = { every: 60_000, records: 10, signer: key, onCheckpoint }
  const trail = await openTrail({ path, durability: 'os', now: () => new Date(), compress, checkpoints })
  await trail.append(STARTED)
  await trail.append(LOADED)
  return trail
}

async function ask(trail: FileTrail, from: number, to: number): Promise<void> {
  for (let index = from; index < to; index++) {
    await trail.append(decided(index))
    await trail.append(completed(index))
  }
}

async function stop(trail: FileTrail): Promise<void> {
  await trail.append(STOPPED)
  await trail.close()
}

async function verify(rules: Partial<VerifyRules> = {}): Promise<VerifyReport> {
  const files = await trailFiles(path)
  try {
    return await verifyTrail(files, {
      ...LENIENT,
      keys: readPublicKeys([join(folder, 'audit.pub')]),
      complete: true,
      ...rules,
    })
  } finally {
    await closeFiles(files)
  }
}

it('a run, a restart, a rotation', async () => {
  const first = await start()
  await ask(first, 0, 40)
  await stop(first)
  const second = await start()
  await ask(second, 40, 60)
  second.rotate('signal')
  await ask(second, 60, 80)
  await stop(second)
  const report = await verify()
  expect(report).toMatchObject({ ok: true, fault: null, segments: 2, still_open: 0, torn: 0 })
  expect(report.checkpoints.verified).toBe(report.checkpoints.found)
  expect(report.checkpoints.found).toBeGreaterThan(10)
  expect(kept.length).toBe(report.checkpoints.found)
})

it('a live trail with a request under way', async () => {
  const trail = await start()
  await ask(trail, 0, 3)
  await trail.append(decided(9))
  expect(await verify()).toMatchObject({ ok: true, still_open: 1 })
  await trail.append(completed(9))
  await stop(trail)
  expect(await verify()).toMatchObject({ ok: true, still_open: 0 })
})

it('a crash in the middle of a record, with a request under way', async () => {
  const trail = await start()
  await trail.append(decided(1))
  await trail.close()
  const whole = readFileSync(path, 'latin1').trimEnd().split('\n').at(-1) ?? ''
  appendFileSync(path, whole.slice(0, whole.length / 2))
  expect(await verify()).toMatchObject({ ok: true, torn: 1, still_open: 1 })
  const again = await start()
  await ask(again, 2, 3)
  await stop(again)
  expect(await verify()).toMatchObject({ ok: true, torn: 1, still_open: 0 })
})

it('closed segments that were compressed', async () => {
  const trail = await start(true)
  for (let round = 0; round < 3; round++) {
    await ask(trail, round * 20, round * 20 + 20)
    trail.rotate('signal')
  }
  await vi.waitFor(async () => {
    const files = await trailFiles(path)
    await closeFiles(files)
    expect(files.filter(({ compressed }) => compressed).length).toBeGreaterThan(0)
  }, 15_000)
  await ask(trail, 90, 91)
  await stop(trail)
  expect(await verify()).toMatchObject({ ok: true, fault: null, still_open: 0 })
})
