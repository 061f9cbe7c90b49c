// What was learned survives the process, an operator may change it, and nobody else can; a file that can not be trusted is an error.

import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { MAX_MEMBERS, MAX_NAMES } from '../../src/core/known-shape.ts'
import { ShapeStore } from '../../src/proxy/shape-store.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-shapes-'))
  path = join(folder, 'logs/shapes.json')
})
afterEach(() => {
  vi.useRealTimers()
  chmodSync(folder, 0o700)
  rmSync(folder, { recursive: true, force: true })
})

interface Told {
  readonly failures: string[]
  restored: number
  readonly full: string[]
}

function open(): { readonly store: ShapeStore; readonly told: Told } {
  const told: Told = { failures: [], restored: 0, full: [] }
  const store = new ShapeStore({
    isSecret: (member) => member.includes('secret'),
    onFailure: ({ message }) => void told.failures.push(message),
    onRestored: () => {
      told.restored += 1
    },
    onFull: (rule) => void told.full.push(rule),
  })
  store.reread(path)()
  return { store, told }
}

/** What a store says that begins with the file. */
async function afterwards(learn: (store: ShapeStore) => void): Promise<ShapeStore> {
  const { store } = open()
  learn(store)
  await store.close()
  return open().store
}

const written = (): string => readFileSync(path, 'utf8')
const file = (rules: unknown): string => JSON.stringify({ version: 1, rules })
function given(text: string): void {
  mkdirSync(join(folder, 'logs'), { recursive: true })
  writeFileSync(path, text, { mode: 0o600 })
}

describe('what was learned', () => {
  it('is known at once, and after a restart', async () => {
    const { store } = open()
    expect(store.knows('mail', null)).toBe(false)
    store.learn('mail', ['$.To', '$.From'])
    expect(store.knows('mail', '$.To')).toBe(true)
    expect(store.knows('mail', null)).toBe(true)
    await store.close()
    const next = open().store
    expect(next.knows('mail', '$.To')).toBe(true)
    expect(next.knows('mail', '$.Bcc')).toBe(false)
    expect(next.knows('other', '$.To')).toBe(false)
    expect(next.knows('other', null)).toBe(false)
  })

  it('lies in a file for people, in one order, that its owner alone may touch', async () => {
    await afterwards((store) => {
      store.learn('send-mail', ['$.To', '$.From', '$.a\u202eb', 'form:Bcc'])
      store.learn('10', ['$.a'])
      store.learn('__proto__', ['$.b'])
    })
    expect(written()).toBe(`{
  "version": 1,
  "rules": {
    "10": [
      "$.a"
    ],
    "__proto__": [
      "$.b"
    ],
    "send-mail": [
      "$.From",
      "$.To",
      "$.a\\u202eb",
      "form:Bcc"
    ]
  }
}
`)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(join(folder, 'logs')).mode & 0o777).toBe(0o700)
    expect(readdirSync(join(folder, 'logs'))).toEqual(['shapes.json'])
    const { store } = open()
    expect(store.knows('__proto__', '$.b')).toBe(true)
    expect(store.knows('send-mail', '$.a\u202eb')).toBe(true)
  })

  it('is written no more than once a second, by itself', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { store } = open()
    store.learn('mail', ['$.a'])
    store.learn('mail', ['$.b'])
    vi.advanceTimersByTime(999)
    expect(existsSync(path)).toBe(false)
    vi.advanceTimersByTime(1)
    await vi.waitFor(() => expect(written()).toContain('$.b'))
    store.learn('mail', ['$.c'])
    await store.close()
    expect(written()).toContain('$.c')
    const before = statSync(path).ino
    await store.close()
    expect(statSync(path).ino).toBe(before)
  })

  it('of a rule that is gone stays', async () => {
    given(file({ gone: ['$.a'] }))
    const next = await afterwards((store) => store.learn('mail', ['$.b']))
    expect(next.knows('gone', '$.a')).toBe(true)
  })

  it('of ids is a map', async () => {
    const ids = Array.from({ length: MAX_NAMES + 1 }, (_, index) => `$.users.id${index}`)
    const next = await afterwards((store) => store.learn('mail', ['$.users', ...ids]))
    expect(JSON.parse(written())).toEqual({ version: 1, rules: { mail: ['$.users', '$.users.*'] } })
    expect(next.knows('mail', '$.users.another')).toBe(true)
  })

  it('holds no secret', async () => {
    const next = await afterwards((store) => store.learn('mail', ['$.a', '$.secret']))
    expect(written()).not.toContain('secret')
    expect(next.knows('mail', '$.secret')).toBe(false)
  })

  it('has an end for each rule, which is said once', () => {
    const { store, told } = open()
    const all = Array.from({ length: MAX_MEMBERS + 2 }, (_, index) => `$.a${index % 64}.b${index >> 6}`)
    store.learn('mail', all)
    store.learn('mail', ['$.another'])
    expect(told.full).toEqual(['mail'])
    expect(store.knows('mail', all[MAX_MEMBERS - 1] ?? '')).toBe(true)
    expect(store.knows('mail', '$.another')).toBe(false)
    expect(store.knows('other', null)).toBe(false)
  })
})

describe('an operator', () => {
  it('takes a member out, and it is unknown once the file is read again', () => {
    given(file({ mail: ['$.Bcc', '$.To'] }))
    const { store } = open()
    given(file({ mail: ['$.To'] }))
    expect(store.knows('mail', '$.Bcc')).toBe(true)
    store.reread(path)()
    expect(store.knows('mail', '$.Bcc')).toBe(false)
    expect(store.knows('mail', '$.To')).toBe(true)
  })

  it('takes a member out while more is learned: it does not come back with the next write', async () => {
    given(file({ mail: ['$.Bcc', '$.To'] }))
    const { store } = open()
    store.learn('mail', ['$.Cc'])
    given(file({ mail: ['$.To'] }))
    await store.close()
    expect(JSON.parse(written())).toEqual({ version: 1, rules: { mail: ['$.Cc', '$.To'] } })
    expect(store.knows('mail', '$.Bcc')).toBe(false)
  })

  it('removes the file, and all of it is forgotten', async () => {
    given(file({ mail: ['$.Bcc'] }))
    const { store } = open()
    rmSync(path)
    store.learn('mail', ['$.Cc'])
    await store.close()
    expect(JSON.parse(written())).toEqual({ version: 1, rules: { mail: ['$.Cc'] } })
  })

  it('reads it again before all is written: what was learned since is not lost', () => {
    const { store } = open()
    store.learn('mail', ['$.Cc'])
    store.reread(path)()
    expect(store.knows('mail', '$.Cc')).toBe(true)
  })

  it('breaks it, and what was in force stays', () => {
    given(file({ mail: ['$.To'] }))
    const { store } = open()
    given('{')
    expect(() => store.reread(path)).toThrow(path)
    expect(store.knows('mail', '$.To')).toBe(true)
  })
})

describe('a file that can not be trusted is an error that names it', () => {
  it.each<[string, string, RegExp]>([
    ['that is empty', '', /is not JSON, expected a value at offset 0/],
    ['that is cut off', '{"version": 1, "rules": {"mail": ["$.a"', /is not JSON/],
    [
      'with a rule twice',
      '{"version": 1, "rules": {"mail": [], "mail": ["$.Bcc"]}}',
      /is not JSON, a member name twice/,
    ],
    ['that is a list', '[]', /is not \{ "version": 1, "rules"/],
    ['of another version', '{"version": 2, "rules": {}}', /is not \{ "version": 1/],
    ['without rules', '{"version": 1}', /is not \{ "version": 1/],
    ['with rules that are a list', '{"version": 1, "rules": []}', /is not \{ "version": 1/],
    ['with something else', '{"version": 1, "rules": {}, "mode": "learn"}', /is not \{ "version": 1/],
    ['with a rule that is no list', file({ mail: '$.a' }), /has no list at rules\.mail/],
    ['with a member that is none', file({ mail: ['$.a', 'Bcc'] }), /has "Bcc" at rules\.mail, which is no member/],
    ['with a member that is a number', file({ mail: [1] }), /has 1 at rules\.mail/],
    ['with a member twice', file({ mail: ['$.a', '$.a'] }), /has "\$\.a" at rules\.mail, which .* is there twice/],
    ['with a member beside the map it is in', file({ mail: ['$.u.*', '$.u.bob'] }), /has "\$\.u\.bob" at rules\.mail/],
    ['with a member before the map it is in', file({ mail: ['$.u.bob', '$.u.*'] }), /has "\$\.u\.bob" at rules\.mail/],
  ])('%s', (_what, text, message) => {
    given(text)
    expect(open).toThrow(message)
    expect(open).toThrow(`the file of shapes ${path}`)
    expect(open).toThrow(/\n {2}fix: /)
  })

  it('that others may write to', () => {
    given(file({}))
    chmodSync(path, 0o620)
    expect(open).toThrow(/can be written by others\n {2}fix: chmod 600/)
  })

  it('in a folder that anyone may write to', () => {
    given(file({}))
    chmodSync(join(folder, 'logs'), 0o777)
    expect(open).toThrow(/lies in a folder anyone may write to/)
    chmodSync(join(folder, 'logs'), 0o1777)
    expect(open).not.toThrow()
  })

  it('that is a link', () => {
    mkdirSync(join(folder, 'logs'))
    writeFileSync(join(folder, 'elsewhere'), file({}), { mode: 0o600 })
    symlinkSync(join(folder, 'elsewhere'), path)
    expect(open).toThrow(/is a symbolic link/)
  })

  it('that is a pipe, at once', () => {
    mkdirSync(join(folder, 'logs'))
    execFileSync('mkfifo', [path])
    expect(open).toThrow(/is not a regular file/)
  })

  it('that is a folder', () => {
    mkdirSync(path, { recursive: true })
    expect(open).toThrow(/is not a regular file/)
  })

  it('that is too large', () => {
    given(' '.repeat(16 * 2 ** 20 + 1))
    expect(open).toThrow(/is over 16777216 bytes/)
  })

  it('whose folder is a file', () => {
    writeFileSync(join(folder, 'logs'), '')
    expect(open).toThrow(/can not be read, ENOTDIR/)
  })
})

describe('a file that can not be written', () => {
  /** Its folder is a file. */
  const block = (): void => writeFileSync(join(folder, 'logs'), '')

  it('is said once, loses nothing of what is known, and is tried again', async () => {
    const { store, told } = open()
    block()
    store.learn('mail', ['$.a'])
    await store.close()
    await store.close()
    expect(told.failures).toHaveLength(1)
    expect(store.failing).toBe(true)
    expect(store.knows('mail', '$.a')).toBe(true)
    rmSync(join(folder, 'logs'))
    await store.close()
    expect(told.restored).toBe(1)
    expect(store.failing).toBe(false)
    expect(open().store.knows('mail', '$.a')).toBe(true)
  })

  it('is tried again by itself, ten seconds later', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const { store, told } = open()
    block()
    store.learn('mail', ['$.a'])
    vi.advanceTimersByTime(1_000)
    await vi.waitFor(() => expect(told.failures).toHaveLength(1))
    rmSync(join(folder, 'logs'))
    await vi.waitFor(() => expect(vi.getTimerCount()).toBe(1))
    vi.advanceTimersByTime(9_999)
    expect(existsSync(path)).toBe(false)
    vi.advanceTimersByTime(1)
    await vi.waitFor(() => expect(told.restored).toBe(1))
    expect(written()).toContain('$.a')
  })

  it('because an operator broke it is left as it is', async () => {
    const { store, told } = open()
    store.learn('mail', ['$.a'])
    given('{ "my notes')
    await store.close()
    expect(told.failures).toEqual([expect.stringContaining(`the file of shapes ${path} is not JSON`)])
    expect(written()).toBe('{ "my notes')
  })

  it('because somebody has put a link in its place is not written elsewhere', async () => {
    const { store, told } = open()
    store.learn('mail', ['$.a'])
    mkdirSync(join(folder, 'logs'))
    symlinkSync(join(folder, 'elsewhere'), path)
    await store.close()
    expect(told.failures).toEqual([expect.stringContaining('is a symbolic link')])
    expect(existsSync(join(folder, 'elsewhere'))).toBe(false)
  })

  it('leaves nothing behind', async () => {
    path = join(folder, 'a'.repeat(250))
    const { store, told } = open()
    store.learn('mail', ['$.a'])
    await store.close()
    expect(told.failures).toEqual([expect.stringContaining('ENAMETOOLONG')])
    expect(readdirSync(folder)).toEqual([])
  })

  it('for a long time: no more is learned than there is memory for', async () => {
    const { store } = open()
    const all = Array.from({ length: MAX_MEMBERS }, (_, index) => `$.a${index % 64}.b${index >> 6}`)
    const rules = Array.from({ length: 17 }, (_, index) => `rule${index}`)
    for (const rule of rules) store.learn(rule, all)
    expect(store.knows('rule15', all.at(-1) ?? '')).toBe(true)
    expect(store.knows('rule16', null)).toBe(false)
    await store.close()
    store.learn('rule16', ['$.a'])
    expect(store.knows('rule16', '$.a')).toBe(true)
    await store.close()
  })
})
