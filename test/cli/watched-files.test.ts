// A change of a watched file is noticed once, whole, and however it was made.

import { appendFileSync, mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { watchFiles, type Watching } from '../../src/cli/watched-files.ts'

const POLL_MS = 10
const DEADLINE_MS = 5_000

let folder: string
let watching: Watching | null = null

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-watch-'))
})
afterEach(() => {
  watching?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Nothing has changed since. */
const READ_NOW = Number.POSITIVE_INFINITY

/** Watches and counts; `next` resolves at the next change, or rejects. */
function watched(
  names: readonly string[],
  since: number = READ_NOW,
): { changes: () => number; next: () => Promise<void> } {
  let changes = 0
  let heard = (): void => undefined
  const files = names.map((name) => join(folder, name))
  watching = watchFiles(
    () => files,
    () => since,
    async () => {
      changes += 1
      heard()
    },
    POLL_MS,
  )
  const next = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing was noticed')), DEADLINE_MS)
      heard = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  return { changes: () => changes, next }
}

const looks = (count: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, count * POLL_MS * 3))

it.each<[string, () => void]>([
  ['is written anew', () => writeFileSync(join(folder, 'a.yaml'), 'changed')],
  [
    'is replaced by a rename',
    () => {
      writeFileSync(join(folder, 'a.yaml.new'), 'same')
      renameSync(join(folder, 'a.yaml.new'), join(folder, 'a.yaml'))
    },
  ],
  ['is taken away', () => rmSync(join(folder, 'a.yaml'))],
])('a file that %s', async (_how, change) => {
  writeFileSync(join(folder, 'a.yaml'), 'same')
  const { changes, next } = watched(['a.yaml'])
  await looks(2)
  const noticed = next()
  change()
  await noticed
  await looks(3)
  expect(changes()).toBe(1)
})

it('the symbolic link of a ConfigMap, which is swapped', async () => {
  for (const version of ['1', '2']) {
    mkdirSync(join(folder, `..${version}`))
    writeFileSync(join(folder, `..${version}`, 'a.yaml'), 'same')
  }
  symlinkSync('..1', join(folder, '..data'))
  symlinkSync('..data/a.yaml', join(folder, 'a.yaml'))
  const { next } = watched(['a.yaml'])
  await looks(2)
  const noticed = next()
  symlinkSync('..2', join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
  await expect(noticed).resolves.toBeUndefined()
})

it('nothing is said of a file that stays, nor while one is still being written', async () => {
  writeFileSync(join(folder, 'a.yaml'), 'same')
  const { changes, next } = watched(['a.yaml', 'not-there.yaml'])
  await looks(3)
  expect(changes()).toBe(0)
  const noticed = next()
  // Faster than it is looked for: each look sees another file.
  const writing = setInterval(() => appendFileSync(join(folder, 'a.yaml'), 'more'), 1)
  await looks(5)
  expect(changes()).toBe(0)
  clearInterval(writing)
  await noticed
  expect(changes()).toBe(1)
})

it('a change after they began to be read is noticed, though it came before the first look', async () => {
  const reading = Date.now()
  writeFileSync(join(folder, 'a.yaml'), 'changed meanwhile')
  const { changes, next } = watched(['a.yaml'], reading)
  await next()
  await looks(3)
  expect(changes()).toBe(1)
})
