import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EMPTY_CHAIN, seal, type SealedLine } from '../../src/audit/chain.ts'
import { type LogFile, openLogFile, type Tail } from '../../src/audit/file.ts'
import { DECIDED } from '../support/audit-events.ts'

const NOW = new Date('2026-11-21T10:00:00.000Z')
const INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3C'
const first = seal(DECIDED, INSTANCE, NOW.toISOString(), EMPTY_CHAIN)
const second = seal(DECIDED, INSTANCE, NOW.toISOString(), first.head)
const tailOf = (line: SealedLine): Tail => ({ instance: INSTANCE, head: line.head })

let folder: string
let path: string
let opened: LogFile[]
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'audit-file-'))
  path = join(folder, 'audit.jsonl')
  opened = []
})
afterEach(() => {
  for (const file of opened) file.close()
  fs.rmSync(folder, { recursive: true })
})

function open(durability: 'os' | 'sync' = 'os', where: string = path): Tail & { readonly file: LogFile } {
  const { file, tail } = openLogFile(where, durability, NOW)
  opened.push(file)
  return { ...tail, file }
}

const mode = (name: string): number => fs.statSync(name).mode & 0o777

describe('who may touch it [K29]', () => {
  it.each(['os', 'sync'] as const)('makes the folder 0700 and the file 0600, durability %s', (durability) => {
    path = join(folder, 'logs', 'deep', 'audit.jsonl')
    expect(open(durability)).toMatchObject({ instance: null, head: EMPTY_CHAIN })
    expect([mode(join(folder, 'logs')), mode(join(folder, 'logs', 'deep')), mode(path)]).toEqual([0o700, 0o700, 0o600])
  })

  it.each([0o620, 0o602])('refuses a file that others can write to: %o', (bits) => {
    fs.writeFileSync(path, '')
    fs.chmodSync(path, bits)
    expect(() => open()).toThrow(`audit trail ${path} can be written by others: chmod 600 ${path}`)
  })

  it('takes a file that a group may read', () => {
    fs.writeFileSync(path, '')
    fs.chmodSync(path, 0o640)
    expect(open().head).toEqual(EMPTY_CHAIN)
  })

  it('refuses a folder where anyone may put another file in its place', () => {
    fs.chmodSync(folder, 0o777)
    expect(() => open()).toThrow(`audit trail ${folder} is a folder anyone may write to: chmod o-w ${folder}`)
    fs.chmodSync(folder, 0o1777)
    expect(open().head).toEqual(EMPTY_CHAIN)
  })

  it('refuses a symbolic link, and leaves what it points to alone', () => {
    const target = join(folder, 'target')
    fs.writeFileSync(target, 'precious')
    fs.symlinkSync(target, path)
    expect(() => open()).toThrow(`audit trail ${path} is a symbolic link: audit.path must name a regular file`)
    expect(fs.readFileSync(target, 'utf8')).toBe('precious')
  })

  it('refuses a link in place of its lock', () => {
    fs.symlinkSync(join(folder, 'target'), `${path}.lock`)
    expect(() => open()).toThrow('is a symbolic link')
  })

  it('refuses a folder and a FIFO, without waiting for the other end', () => {
    fs.mkdirSync(path)
    expect(() => open()).toThrow('EISDIR')
    execFileSync('mkfifo', [join(folder, 'fifo')])
    expect(() => open('os', join(folder, 'fifo'))).toThrow('is not a regular file')
  })
})

describe('one writer [K13]', () => {
  it('refuses a second one, names the first, and takes over when it is gone', () => {
    const holder = open()
    expect(() => open()).toThrow(
      `it is being written by another process (pid ${process.pid} since 2026-11-21T10:00:00.000Z): give each proxy`,
    )
    holder.file.close()
    opened.pop()
    expect(open().head).toEqual(EMPTY_CHAIN)
  })

  it('a lock file left behind is no lock, whatever it says', () => {
    fs.writeFileSync(`${path}.lock`, 'pid 1 since 2020-01-01T00:00:00.000Z and then some more text')
    open()
    expect(fs.readFileSync(`${path}.lock`, 'utf8')).toBe(`pid ${process.pid} since ${NOW.toISOString()}\n`)
  })

  it('repeats nothing strange that stands in the lock file', () => {
    open()
    fs.writeFileSync(`${path}.lock`, 'pid 1 \u001b[2J')
    expect(() => open()).toThrow('(unknown)')
  })

  it('a refused file does not stay locked', () => {
    fs.writeFileSync(path, 'not a trail\n')
    expect(() => open()).toThrow('does not end as an audit trail')
    fs.rmSync(path)
    expect(open().head).toEqual(EMPTY_CHAIN)
  })
})

describe('where the chain goes on [K12]', () => {
  const torn = second.text.slice(0, 200)

  it.each<[string, string, SealedLine | null, string]>([
    ['an empty file', '', null, ''],
    ['two records', first.text + second.text, second, ''],
    ['a torn record is ended, not removed', first.text + torn, first, '\n'],
    ['a torn record that was ended before', `${first.text}${torn}\n`, first, ''],
    ['two of those, and a torn one', `${first.text}${torn}\n{"schema":\n{"sch`, first, '\n'],
    ['a whole record that lacks only its newline', first.text + second.text.slice(0, -1), second, '\n'],
    ['NULs after a power cut', `${first.text}${torn}${'\0'.repeat(4_096)}`, first, '\n'],
    ['nothing but NULs', '\0'.repeat(4_096), null, '\n'],
    ['nothing but a torn first record', torn, null, '\n'],
    ['a longer file than is read', 'x'.repeat(1_000_000) + first.text + second.text, second, ''],
  ])('%s', (_case, content, last, added) => {
    fs.writeFileSync(path, content, { mode: 0o600 })
    const { instance, head } = open('sync')
    expect({ instance, head }).toEqual(last === null ? { instance: null, head: EMPTY_CHAIN } : tailOf(last))
    expect(fs.readFileSync(path, 'latin1')).toBe(content + added)
  })

  it.each([
    [
      'an edited last record',
      first.text + second.text.replace('"allow"', '"deny"'),
      'ends in a record that does not match its hash: keep',
    ],
    ['another log', '{"level":30,"msg":"hello"}\n', 'does not end as an audit trail: point audit.path elsewhere'],
    [
      'torn lines only, further than is read',
      `{"schema":\n`.repeat(60_000),
      'has no whole record in its last 524288 bytes',
    ],
  ])('refuses %s and writes nothing', (_case, content, why) => {
    fs.writeFileSync(path, content, { mode: 0o600 })
    expect(() => open()).toThrow(`audit trail ${path} ${why}`)
    expect(fs.readFileSync(path, 'latin1')).toBe(content)
  })

  it('refuses a file that shrinks under its eyes', () => {
    fs.writeFileSync(path, first.text, { mode: 0o600 })
    const read = vi.spyOn(fs, 'readSync').mockReturnValue(0)
    expect(() => open()).toThrow('became shorter while it was read')
    read.mockRestore()
  })
})

describe('writing', () => {
  it('appends from an offset, whatever others made of the file meanwhile', async () => {
    const { file } = open()
    const bytes = Buffer.from('abcdef')
    expect(await file.write(bytes, 2)).toBe(4)
    fs.appendFileSync(path, '-')
    expect(await file.write(bytes, 5)).toBe(1)
    await file.sync()
    expect(fs.readFileSync(path, 'utf8')).toBe('cdef-f')
  })

  it('passes on what the disk says', async () => {
    const { file } = openLogFile(path, 'os', NOW)
    file.close()
    await expect(file.write(Buffer.from('a'), 0)).rejects.toThrow('EBADF')
    await expect(file.sync()).rejects.toThrow('EBADF')
  })

  it('notices a file that was removed: its writes would go nowhere', async () => {
    const clock = vi.spyOn(performance, 'now').mockReturnValue(0)
    const { file } = open()
    clock.mockReturnValue(1_001)
    expect(await file.write(Buffer.from('a'), 0)).toBe(1)
    fs.rmSync(path)
    expect(await file.write(Buffer.from('a'), 0)).toBe(1)
    clock.mockReturnValue(2_003)
    await expect(file.write(Buffer.from('a'), 0)).rejects.toThrow('the file was removed while it was written to')
    clock.mockRestore()
  })
})
