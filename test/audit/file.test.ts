import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { EMPTY_CHAIN, seal, type SealedLine } from '../../src/audit/chain.ts'
import type { LogFile } from '../../src/audit/file.ts'
import { type NewSegment, openStore, type Store } from '../../src/audit/store.ts'
import type { Tail } from '../../src/audit/tail.ts'
import { DECIDED } from '../support/audit-events.ts'

const NOW = new Date('2026-11-21T10:00:00.000Z')
const INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3C'
const first = seal(DECIDED, INSTANCE, NOW.toISOString(), EMPTY_CHAIN)
const second = seal(DECIDED, INSTANCE, NOW.toISOString(), first.head)
const tailOf = (line: SealedLine): Tail => ({ instance: INSTANCE, head: line.head })

let folder: string
let path: string
let opened: Store[]
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'audit-file-'))
  path = join(folder, 'audit.jsonl')
  opened = []
})
afterEach(() => {
  for (const store of opened) store.close()
  fs.rmSync(folder, { recursive: true })
})

async function open(
  durability: 'os' | 'sync' = 'os',
  where: string = path,
): Promise<Tail & { readonly store: Store; readonly file: LogFile }> {
  const { store, tail } = await openStore(where, durability, NOW)
  opened.push(store)
  return { ...tail, store, file: store.file }
}

const mode = (name: string): number => fs.statSync(name).mode & 0o777

describe('who may touch it [K29]', () => {
  it.each(['os', 'sync'] as const)('makes the folder 0700 and the file 0600, durability %s', async (durability) => {
    path = join(folder, 'logs', 'deep', 'audit.jsonl')
    expect(await open(durability)).toMatchObject({ instance: null, head: EMPTY_CHAIN })
    expect([mode(join(folder, 'logs')), mode(join(folder, 'logs', 'deep')), mode(path)]).toEqual([0o700, 0o700, 0o600])
  })

  it.each([0o620, 0o602])('refuses a file that others can write to: %o', async (bits) => {
    fs.writeFileSync(path, '')
    fs.chmodSync(path, bits)
    await expect(open()).rejects.toThrow(`audit trail ${path} can be written by others: chmod 600 ${path}`)
  })

  it('takes a file that a group may read', async () => {
    fs.writeFileSync(path, '')
    fs.chmodSync(path, 0o640)
    expect((await open()).head).toEqual(EMPTY_CHAIN)
  })

  it('refuses a folder where anyone may put another file in its place', async () => {
    fs.chmodSync(folder, 0o777)
    await expect(open()).rejects.toThrow(`audit trail ${folder} is a folder anyone may write to: chmod o-w ${folder}`)
    fs.chmodSync(folder, 0o1777)
    expect((await open()).head).toEqual(EMPTY_CHAIN)
  })

  it('refuses a symbolic link, and leaves what it points to alone', async () => {
    const target = join(folder, 'target')
    fs.writeFileSync(target, 'precious')
    fs.symlinkSync(target, path)
    await expect(open()).rejects.toThrow(`audit trail ${path} is a symbolic link: audit.path must name a regular file`)
    expect(fs.readFileSync(target, 'utf8')).toBe('precious')
  })

  it('refuses a link in place of its lock', async () => {
    fs.symlinkSync(join(folder, 'target'), `${path}.lock`)
    await expect(open()).rejects.toThrow('is a symbolic link')
  })

  it('refuses a folder and a FIFO, without waiting for the other end', async () => {
    fs.mkdirSync(path)
    await expect(open()).rejects.toThrow('EISDIR')
    execFileSync('mkfifo', [join(folder, 'fifo')])
    await expect(open('os', join(folder, 'fifo'))).rejects.toThrow('is not a regular file')
  })
})

describe('one writer [K13]', () => {
  it('refuses a second one, names the first, and takes over when it is gone', async () => {
    const holder = await open()
    await expect(open()).rejects.toThrow(
      `it is being written by another process (pid ${process.pid} since 2026-11-21T10:00:00.000Z): give each proxy`,
    )
    holder.store.close()
    opened.pop()
    expect((await open()).head).toEqual(EMPTY_CHAIN)
  })

  it('a lock file left behind is no lock, whatever it says', async () => {
    fs.writeFileSync(`${path}.lock`, 'pid 1 since 2020-01-01T00:00:00.000Z and then some more text')
    await open()
    expect(fs.readFileSync(`${path}.lock`, 'utf8')).toBe(`pid ${process.pid} since ${NOW.toISOString()}\n`)
  })

  it('repeats nothing strange that stands in the lock file', async () => {
    await open()
    fs.writeFileSync(`${path}.lock`, 'pid 1 \u001b[2J')
    await expect(open()).rejects.toThrow('(unknown)')
  })

  it('a refused file does not stay locked', async () => {
    fs.writeFileSync(path, 'not a trail\n')
    await expect(open()).rejects.toThrow('does not end as an audit trail')
    fs.rmSync(path)
    expect((await open()).head).toEqual(EMPTY_CHAIN)
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
  ])('%s', async (_case, content, last, added) => {
    fs.writeFileSync(path, content, { mode: 0o600 })
    const { instance, head } = await open('sync')
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
  ])('refuses %s and writes nothing', async (_case, content, why) => {
    fs.writeFileSync(path, content, { mode: 0o600 })
    await expect(open()).rejects.toThrow(`audit trail ${path} ${why}`)
    expect(fs.readFileSync(path, 'latin1')).toBe(content)
  })

  it('refuses a file that shrinks under its eyes', async () => {
    fs.writeFileSync(path, first.text, { mode: 0o600 })
    const read = vi.spyOn(fs, 'readSync').mockReturnValue(0)
    await expect(open()).rejects.toThrow('became shorter while it was read')
    read.mockRestore()
  })
})

describe('writing', () => {
  it('appends from an offset, whatever others made of the file meanwhile, and says so', async () => {
    const { file } = await open()
    const bytes = Buffer.from('abcdef')
    expect(await file.write(bytes, 2)).toBe(4)
    expect([file.size, file.damage()]).toEqual([4, null])
    fs.appendFileSync(path, '-')
    expect(await file.write(bytes, 5)).toBe(1)
    await file.sync()
    expect(fs.readFileSync(path, 'utf8')).toBe('cdef-f')
    expect(file.damage()).toEqual({
      lost: false,
      what: 'the file was written to by somebody else: 6 bytes where 5 were expected',
    })
  })

  it('passes on what the disk says', async () => {
    const { store, file } = await open()
    opened.pop()
    store.close()
    await expect(file.write(Buffer.from('a'), 0)).rejects.toThrow('EBADF')
    await expect(file.sync()).rejects.toThrow('EBADF')
    expect(() => file.damage()).toThrow('EBADF')
  })

  it.each<[string, () => void, unknown]>([
    ['removed', () => fs.rmSync(path), expect.objectContaining({ lost: true })],
    ['removed with its folder', () => fs.rmSync(folder, { recursive: true }), expect.objectContaining({ lost: true })],
    ['replaced', () => replace('other'), expect.objectContaining({ lost: true })],
    ['truncated', () => fs.truncateSync(path, 1), expect.objectContaining({ lost: false })],
    ['renamed, as logrotate does', () => fs.renameSync(path, `${path}.1`), null],
  ])('notices that the file was %s', async (_what, happens, damage) => {
    const { file } = await open()
    await file.write(Buffer.from('abc'), 0)
    happens()
    expect(file.damage()).toEqual(damage)
    fs.mkdirSync(folder, { recursive: true })
  })
})

function replace(content: string): void {
  fs.writeFileSync(`${path}.other`, content)
  fs.renameSync(`${path}.other`, path)
}

describe('a new file in place of the active one', () => {
  const next = (firstSeq: number, torn = false): { begun: (string | null)[]; segment: NewSegment } => {
    const begun: (string | null)[] = []
    const compose = (previous: string | null): Buffer => {
      begun.push(previous)
      return Buffer.from('next\n')
    }
    return { begun, segment: { firstSeq, torn, compose } }
  }
  const closed = 'audit.000000000000.jsonl'
  const names = (): string[] => fs.readdirSync(folder).filter((name) => !name.endsWith('.lock'))
  const read = (name: string): string => fs.readFileSync(join(folder, name), 'utf8')
  const started = async (): Promise<Store> => {
    const { store } = await open()
    await store.file.write(Buffer.from(first.text), 0)
    return store
  }

  it('closes the old one under the number of its first record', async () => {
    const store = await started()
    const { segment, begun } = next(1)
    await store.begin(segment)
    expect([begun, names()]).toEqual([[closed], [closed, 'audit.jsonl']])
    expect([read(closed), read('audit.jsonl'), mode(path)]).toEqual([first.text, 'next\n', 0o600])
    await store.file.write(Buffer.from('more\n'), 0)
    expect([read('audit.jsonl'), store.file.size, store.file.damage()]).toEqual(['next\nmore\n', 10, null])
  })

  it('ends a torn line of the old one', async () => {
    const store = await started()
    await store.file.write(Buffer.from('{"schema'), 0)
    await store.begin(next(1, true).segment)
    expect(read(closed)).toBe(`${first.text}{"schema\n`)
  })

  it('leaves alone what somebody put in its place, and says that the records before are not there', async () => {
    const store = await started()
    replace('other')
    const { segment, begun } = next(1)
    await store.begin(segment)
    expect([begun, read('audit.jsonl'), read('audit.jsonl.replaced-1')]).toEqual([[null], 'next\n', 'other'])
  })

  it('writes through no link that was put in its place', async () => {
    const store = await started()
    const target = join(folder, 'target')
    fs.writeFileSync(target, 'precious')
    fs.rmSync(path)
    fs.symlinkSync(target, path)
    await store.begin(next(1).segment)
    expect([fs.lstatSync(path).isFile(), read('target')]).toEqual([true, 'precious'])
  })

  it('is made where the whole folder was removed, with its lock', async () => {
    const store = await started()
    fs.rmSync(folder, { recursive: true })
    const { segment, begun } = next(1)
    await store.begin(segment)
    expect([begun, read('audit.jsonl'), mode(folder)]).toEqual([[null], 'next\n', 0o700])
    await expect(open()).rejects.toThrow('it is being written by another process')
  })

  it('is not made under the nose of another writer', async () => {
    const store = await started()
    fs.rmSync(folder, { recursive: true })
    const other = await open()
    await expect(store.begin(next(1).segment)).rejects.toThrow('it is being written by another process')
    expect(other.file.damage()).toBeNull()
    expect(names()).toEqual(['audit.jsonl'])
  })

  it('leaves everything as it was when the name is taken', async () => {
    const store = await started()
    fs.writeFileSync(join(folder, closed), 'older')
    await expect(store.begin(next(1).segment)).rejects.toThrow('is in the way: move it away')
    expect([names(), read(closed), read('audit.jsonl')]).toEqual([[closed, 'audit.jsonl'], 'older', first.text])
    await store.file.write(Buffer.from('-'), 0)
    expect(store.file.damage()).toBeNull()
  })

  it('takes the place of one that holds no record', async () => {
    const { store } = await open()
    const { segment, begun } = next(0)
    await store.begin(segment)
    expect([begun, names()]).toEqual([[null], ['audit.jsonl']])
  })

  it('after logrotate has renamed the old one', async () => {
    const store = await started()
    fs.renameSync(path, `${path}.1`)
    const { segment, begun } = next(1)
    await store.begin(segment)
    expect([begun, names()]).toEqual([[null], ['audit.jsonl', 'audit.jsonl.1']])
  })

  it('that was left half made is forgotten at the next start, which goes on from the closed one', async () => {
    fs.writeFileSync(join(folder, closed), first.text + second.text, { mode: 0o600 })
    fs.writeFileSync(`${path}.new`, 'half', { mode: 0o600 })
    expect(await open()).toMatchObject({ instance: INSTANCE, head: second.head })
    expect(names()).toEqual([closed, 'audit.jsonl'])
  })

  it('goes on from a compressed one, and a chain that was cut inside it is refused', async () => {
    const packed = join(folder, `${closed}.gz`)
    fs.writeFileSync(packed, gzipSync('x'.repeat(1_000_000) + '\n' + first.text + second.text))
    expect(await open()).toMatchObject({ instance: INSTANCE, head: second.head })
    opened.pop()?.close()
    fs.writeFileSync(packed, gzipSync(first.text + second.text.replace('"allow"', '"deny"')))
    await expect(open()).rejects.toThrow('ends in a record that does not match its hash')
  })
})
