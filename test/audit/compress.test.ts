import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { Compressor } from '../../src/audit/compress.ts'

const DEADLINE = { timeout: 10_000, interval: 10 }
/** More than is compressed in one go. */
const TEXT = Array.from({ length: 20_000 }, (_, at) => `{"seq":${at},"path":"/${at * 7919}"}\n`).join('')

let folder: string
let active: string
let notices: string[]
let compressor: Compressor
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'compress-'))
  active = join(folder, 'audit.jsonl')
  notices = []
  compressor = new Compressor(active, (text) => notices.push(text))
})
afterEach(() => {
  vi.restoreAllMocks()
  compressor.stop()
  fs.rmSync(folder, { recursive: true, force: true })
})

const closed = (seq: number): string => join(folder, `audit.${String(seq).padStart(12, '0')}.jsonl`)
const names = (): string[] => fs.readdirSync(folder)

it('compresses what is closed, leaves the active file, and reads back what it wrote', async () => {
  for (const file of [closed(0), closed(9), active]) fs.writeFileSync(file, TEXT, { mode: 0o600 })
  compressor.wake()
  await vi.waitFor(
    () => expect(names()).toEqual(['audit.000000000000.jsonl.gz', 'audit.000000000009.jsonl.gz', 'audit.jsonl']),
    DEADLINE,
  )
  const packed = `${closed(0)}.gz`
  expect(gunzipSync(fs.readFileSync(packed)).toString()).toBe(TEXT)
  expect(fs.statSync(packed).mode & 0o777).toBe(0o600)
  expect(notices).toEqual([])
})

it('finishes what a crash left half done: both there, or a piece of the new one', async () => {
  fs.writeFileSync(closed(0), TEXT)
  fs.writeFileSync(`${closed(0)}.gz`, gzipSync(TEXT).subarray(0, 100))
  fs.writeFileSync(closed(9), TEXT)
  fs.writeFileSync(`${closed(9)}.gz.tmp`, 'half')
  compressor.wake()
  await vi.waitFor(
    () => expect(names()).toEqual(['audit.000000000000.jsonl.gz', 'audit.000000000009.jsonl.gz']),
    DEADLINE,
  )
  for (const seq of [0, 9]) expect(gunzipSync(fs.readFileSync(`${closed(seq)}.gz`)).toString()).toBe(TEXT)
})

it('keeps the plain file when what was written does not read back', async () => {
  fs.writeFileSync(closed(0), TEXT)
  const open = fs.createReadStream
  vi.spyOn(fs, 'createReadStream').mockImplementation((path, options) => {
    // Somebody changes the compressed file before it is read back.
    if (String(path).endsWith('.tmp')) fs.writeFileSync(path, gzipSync(TEXT.replace('7919', '7918')))
    return open(path, options)
  })
  compressor.wake()
  await vi.waitFor(() => expect(notices).toEqual([expect.stringContaining('does not read back')]), DEADLINE)
  expect(fs.readFileSync(closed(0), 'utf8')).toBe(TEXT)
  expect(fs.existsSync(`${closed(0)}.gz`)).toBe(false)
})

it('waits while the trail itself needs the disk', async () => {
  fs.writeFileSync(closed(0), TEXT)
  let asked = 0
  let allowed = false
  compressor.wake(() => {
    asked += 1
    return allowed
  })
  await vi.waitFor(() => expect(asked).toBeGreaterThan(1), DEADLINE)
  expect(fs.existsSync(`${closed(0)}.gz`)).toBe(false)
  allowed = true
  await vi.waitFor(() => expect(names()).toEqual(['audit.000000000000.jsonl.gz']), DEADLINE)
})

it('says nothing of a segment that was pruned meanwhile', async () => {
  fs.writeFileSync(closed(0), TEXT)
  compressor.wake(() => {
    fs.rmSync(closed(0), { force: true })
    return true
  })
  await vi.waitFor(() => expect(names()).toEqual(['audit.000000000000.jsonl.gz']), DEADLINE)
  expect(notices).toEqual([])
})
