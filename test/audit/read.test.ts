// A trail is read whole and in order, whatever was rotated, compressed, torn or put between its lines.

import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { EMPTY_CHAIN, seal } from '../../src/audit/chain.ts'
import {
  type Batch,
  closeFiles,
  firstMember,
  lineHead,
  LineSplitter,
  parseRecord,
  readFiles,
  type Skipped,
  trailFiles,
} from '../../src/audit/read.ts'
import { closedPath } from '../../src/audit/segments.ts'
import { COMPLETED, DECIDED, SAMPLES } from '../support/audit-events.ts'

const INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3A'
const TIME = '2026-11-20T08:00:00.000Z'

let folder: string
let path: string
let skipped: Skipped
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-read-'))
  path = join(folder, 'audit.jsonl')
  skipped = { torn: 0, foreign: 0 }
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** `count` sealed lines from `first` on, newlines included. */
function lines(first: number, count: number): string[] {
  let head = { seq: first - 1, hash: EMPTY_CHAIN.hash }
  return Array.from({ length: count }, () => {
    const line = seal({ ...DECIDED, path: `/${head.seq + 1}` }, INSTANCE, TIME, head)
    head = line.head
    return line.text
  })
}

async function seqs(batches: AsyncIterable<Batch>): Promise<number[]> {
  const found: number[] = []
  for await (const batch of batches) found.push(...batch.lines.map((line) => lineHead(line)?.seq ?? -1))
  return found
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, at) => at)

describe('the files of a trail', () => {
  it('are read in their order, compressed ones too', async () => {
    writeFileSync(`${closedPath(path, 0)}.gz`, gzipSync(lines(0, 5_000).join('')))
    writeFileSync(closedPath(path, 5_000), lines(5_000, 10).join(''))
    writeFileSync(path, lines(5_010, 10).join(''))
    expect(await seqs(readFiles(await trailFiles(path), skipped))).toEqual(upTo(5_020))
    expect(skipped).toEqual({ torn: 0, foreign: 0 })
  })

  it('are all there although one is rotated and compressed between listing and reading', async () => {
    writeFileSync(closedPath(path, 0), lines(0, 10).join(''))
    writeFileSync(path, lines(10, 10).join(''))
    const files = await trailFiles(path)
    writeFileSync(`${closedPath(path, 0)}.gz`, gzipSync(readFileSync(closedPath(path, 0))))
    rmSync(closedPath(path, 0))
    renameSync(path, closedPath(path, 10))
    writeFileSync(path, lines(20, 5).join(''))
    expect(await seqs(readFiles(files, skipped))).toEqual(upTo(20))
  })

  it('one that was pruned has no records', async () => {
    writeFileSync(closedPath(path, 0), lines(0, 10).join(''))
    writeFileSync(path, lines(10, 10).join(''))
    const files = await trailFiles(path)
    rmSync(closedPath(path, 0))
    expect(await seqs(readFiles(files, skipped))).toEqual(upTo(20).slice(10))
  })

  it('closed ones alone are a trail, none is not', async () => {
    await expect(trailFiles(path)).rejects.toMatchObject({ code: 'ENOENT' })
    writeFileSync(closedPath(path, 0), lines(0, 3).join(''))
    expect(await seqs(readFiles(await trailFiles(path), skipped))).toEqual([0, 1, 2])
  })

  it('a damaged compressed file is named', async () => {
    const whole = gzipSync(lines(0, 1_000).join(''))
    writeFileSync(`${closedPath(path, 0)}.gz`, whole.subarray(0, whole.length / 2))
    await expect(seqs(readFiles(await trailFiles(path), skipped))).rejects.toThrow(
      /audit\.000000000000\.jsonl\.gz can not be read/,
    )
  })

  it('what is not read is closed', async () => {
    writeFileSync(path, lines(0, 3).join(''))
    const files = await trailFiles(path)
    await closeFiles(files)
    await expect(files[0]?.handle?.stat()).rejects.toThrow(/closed|EBADF/)
  })
})

describe('lines', () => {
  it('that are torn or no records are passed over and counted', async () => {
    const [first = '', second = '', third = ''] = lines(0, 3)
    const torn = second.slice(0, 200)
    writeFileSync(path, `${first}${torn}\n${torn}\0\0\0\n\0\0\n{"some":"json"}\nnoise\n${second}${third.trimEnd()}`)
    expect(await seqs(readFiles(await trailFiles(path), skipped))).toEqual([0, 1, 2])
    expect(skipped).toEqual({ torn: 3, foreign: 2 })
  })

  it('a last line that is still being written is torn', async () => {
    const [first = '', second = ''] = lines(0, 2)
    writeFileSync(path, first)
    appendFileSync(path, second.slice(0, -10))
    expect(await seqs(readFiles(await trailFiles(path), skipped))).toEqual([0])
    expect(skipped).toEqual({ torn: 1, foreign: 0 })
  })

  it('a line without an end is not kept in memory', () => {
    const splitter = new LineSplitter(skipped)
    const [line = ''] = lines(0, 1)
    for (let at = 0; at < 64; at++) expect(splitter.take(Buffer.alloc(1_048_576, 'x'))).toEqual([])
    expect(process.memoryUsage().arrayBuffers).toBeLessThan(64 * 1_048_576 + 32 * 1_048_576)
    expect(splitter.take(Buffer.from(`yyy\n${line}`))).toEqual([line.trimEnd()])
    expect(skipped).toEqual({ torn: 0, foreign: 1 })
  })

  it.each([1, 7, 1_000])('come out the same in pieces of %d bytes', (size) => {
    const text = `${lines(0, 5).join('')}noise\n${lines(5, 5).join('')}`
    const splitter = new LineSplitter(skipped)
    const found: string[] = []
    for (let at = 0; at < text.length; at += size) found.push(...splitter.take(Buffer.from(text.slice(at, at + size))))
    expect([...found, ...splitter.finish()].map((line) => lineHead(line)?.seq)).toEqual(upTo(10))
    expect(splitter.end).toBe(text.length)
    expect(skipped).toEqual({ torn: 0, foreign: 1 })
  })
})

describe('what is cut out of a line', () => {
  it.each(SAMPLES.map((event): [string, (typeof SAMPLES)[number]] => [event.event, event]))(
    '%s: its head',
    (name, event) => {
      const { text } = seal(event, INSTANCE, TIME, { seq: 41, hash: EMPTY_CHAIN.hash })
      expect(lineHead(text.trimEnd())).toEqual({ instance: INSTANCE, seq: 42, timestamp: TIME, event: name })
    },
  )

  it('is nothing where a line begins otherwise', () => {
    expect(lineHead('{"schema":"mcp-egress.audit/1","instance":"short","seq":0}')).toBeNull()
    expect(lineHead('')).toBeNull()
  })

  it('is a member as JSON has it', () => {
    const host = 'a"b\\c\\"d\u001b'
    const { text } = seal({ ...DECIDED, host, path: '/,"host":"forged"' }, INSTANCE, TIME, EMPTY_CHAIN)
    const record = parseRecord(text.trimEnd())
    expect(record).toMatchObject({ host, path: '/,"host":"forged"' })
    expect(firstMember(text, 'host')).toBe(host)
    expect(firstMember(text, 'decision')).toBe('allow')
    expect(firstMember(text, 'port')).toBe('443')
    expect(firstMember(text, 'enforced')).toBe('true')
    expect(firstMember(text, 'reason')).toBeUndefined()
    expect(firstMember(text, 'nothing')).toBeUndefined()
    expect(firstMember(seal(COMPLETED, INSTANCE, TIME, EMPTY_CHAIN).text, 'duration_ms')).toBe('84.125')
  })

  it.each([
    ['a raw escape', '{"path":"\u001b[2J"}'],
    ['a C1 control in UTF-8', '{"path":"\u00c2\u009b2J"}'],
    ['no JSON', '{"path":'],
  ])('is no record: %s [K25]', (_what, line) => {
    expect(parseRecord(line)).toBeNull()
  })
})
