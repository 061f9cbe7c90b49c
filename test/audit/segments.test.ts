import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { closedPath, compressedPath, segmentsOf } from '../../src/audit/segments.ts'

let folder: string
let active: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'segments-'))
  active = join(folder, 'audit.jsonl')
})
afterEach(() => rmSync(folder, { recursive: true }))

const make = (...names: string[]): void => names.forEach((name) => writeFileSync(join(folder, name), ''))
const found = (): [string, number | null, boolean][] =>
  segmentsOf(active).map(({ path, firstSeq, compressed }) => [basename(path), firstSeq, compressed])

it('a closed segment is named after its first record', () => {
  expect(closedPath(active, 0)).toBe(join(folder, 'audit.000000000000.jsonl'))
  expect(closedPath(active, 123_456_789_012_345)).toBe(join(folder, 'audit.123456789012345.jsonl'))
  expect(compressedPath(closedPath(active, 7))).toBe(join(folder, 'audit.000000000007.jsonl.gz'))
  expect(closedPath(join(folder, 'log'), 1)).toBe(join(folder, 'log.000000000001'))
})

it('segments come in the order of their records, the active one last', () => {
  make('audit.jsonl', 'audit.000000000100.jsonl', 'audit.000000000000.jsonl.gz', 'audit.1000000000000.jsonl')
  expect(found()).toEqual([
    ['audit.000000000000.jsonl.gz', 0, true],
    ['audit.000000000100.jsonl', 100, false],
    ['audit.1000000000000.jsonl', 1_000_000_000_000, false],
    ['audit.jsonl', null, false],
  ])
})

it('one that is there plain and compressed is given plain, once', () => {
  make('audit.000000000000.jsonl', 'audit.000000000000.jsonl.gz')
  expect(found()).toEqual([['audit.000000000000.jsonl', 0, false]])
})

it('nothing else in the folder is one', () => {
  make(
    'audit-2.jsonl',
    'audit-2.000000000000.jsonl',
    'audit.jsonl.lock',
    'audit.jsonl.new',
    'audit.jsonl.open',
    'audit.jsonl.replaced-7',
    'audit.000000000000.jsonl.gz.tmp',
    'audit.7.jsonl',
    'audit.00000000000x.jsonl',
    'audit.000000000000.json',
    'xaudit.000000000000.jsonl',
  )
  expect(found()).toEqual([])
})
