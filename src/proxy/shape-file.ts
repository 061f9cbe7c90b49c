// The file of learned shapes: read strictly, since it decides, and replaced as a whole, so that it is never there by half.

import { randomBytes } from 'node:crypto'
import { closeSync, constants, fstatSync, lstatSync, openSync, readFileSync, type Stats, statSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { type JsonValue, readJson } from '../core/json-strict.ts'
import { KnownShape } from '../core/known-shape.ts'

export type Shapes = Map<string, KnownShape>

/** Which file was read or written, and in which state. */
export interface Stamp {
  readonly dev: number
  readonly ino: number
  readonly size: number
  readonly mtimeMs: number
}

/** `stamp` null: the file is not there, and nothing was learned. */
export interface ReadShapes {
  readonly shapes: Shapes
  readonly stamp: Stamp | null
}

const MAX_FILE_BYTES: number = 16 * 2 ** 20
const VERSION = 1
const REMEDY = 'correct it, or move it away and learn anew'

/** Throws an Error that names the file and the fix, for one that can not be read, is none of ours, or that others may write to. */
export function readShapes(path: string): ReadShapes {
  const folder = statSync(dirname(path), { throwIfNoEntry: false })
  // SECURITY: whoever may rename in the folder may put another file in place of ours. Sticky folders forbid that.
  if (folder !== undefined && (folder.mode & 0o1002) === 0o002)
    throw refused(path, 'lies in a folder anyone may write to', `chmod o-w ${dirname(path)}`)
  let fd: number
  try {
    // SECURITY: a link would have us trust a file elsewhere, and a FIFO would hang the start.
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return { shapes: new Map(), stamp: null }
    throw refused(path, code === 'ELOOP' ? 'is a symbolic link' : `can not be read, ${message}`, REMEDY)
  }
  try {
    const stat = fstatSync(fd)
    if (!stat.isFile()) throw refused(path, 'is not a regular file', REMEDY)
    // SECURITY: whoever writes it decides what is allowed.
    if ((stat.mode & 0o022) !== 0) throw refused(path, 'can be written by others', `chmod 600 ${path}`)
    if (stat.size > MAX_FILE_BYTES) throw refused(path, `is over ${MAX_FILE_BYTES} bytes`, REMEDY)
    return { shapes: parse(path, readFileSync(fd)), stamp: stampOf(stat) }
  } finally {
    closeSync(fd)
  }
}

/** What there is at `path` now, null: nothing. */
export function stampAt(path: string): Stamp | null {
  const stat = lstatSync(path, { throwIfNoEntry: false })
  return stat === undefined ? null : stampOf(stat)
}

export function sameStamp(a: Stamp | null, b: Stamp | null): boolean {
  if (a === null || b === null) return a === b
  return a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs
}

/** Resolves when the new file is in place and will be there after a power loss. Rejects with the old one as it was. */
export async function writeShapes(path: string, shapes: ReadonlyMap<string, KnownShape>): Promise<Stamp> {
  const bytes = Buffer.from(textOf(shapes))
  if (bytes.length > MAX_FILE_BYTES) throw new Error(`it would be over ${MAX_FILE_BYTES} bytes`)
  const folder = dirname(path)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  try {
    const file = await open(temporary, 'wx', 0o600)
    let stamp: Stamp
    try {
      await file.writeFile(bytes)
      await file.sync()
      stamp = stampOf(await file.stat())
    } finally {
      await file.close()
    }
    await rename(temporary, path)
    await syncFolder(folder)
    return stamp
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** For people to read, change and compare: one member a line, in one order. ASCII only: names are what clients write. */
function textOf(shapes: ReadonlyMap<string, KnownShape>): string {
  const ids = [...shapes.keys()].sort()
  // Written out: an object would move ids that are numbers to its front, and lose one called __proto__.
  const rules = ids.map((id) => `    ${quote(id)}: [${linesOf(shapes.get(id)?.list() ?? [])}]`)
  return `{\n  "version": ${VERSION},\n  "rules": {\n${rules.join(',\n')}\n  }\n}\n`
}

function linesOf(members: readonly string[]): string {
  return members.length === 0 ? '' : `\n${members.map((member) => `      ${quote(member)}`).join(',\n')}\n    `
}

function quote(text: string): string {
  const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify(text).replaceAll(/[^\x20-\x7e]/g, escaped)
}

function parse(path: string, bytes: Buffer): Shapes {
  const read = readJson(bytes)
  if (read.kind === 'bad') throw refused(path, `is not JSON, ${read.why} at offset ${read.offset}`, REMEDY)
  const file = membersOf(read.value)
  const rules = membersOf(file?.get('rules'))
  if (file?.size !== 2 || file.get('version') !== VERSION || rules === null)
    throw refused(path, `is not { "version": ${VERSION}, "rules": { … } }`, REMEDY)
  const shapes: Shapes = new Map()
  for (const [id, members] of rules) shapes.set(id, shapeOf(path, id, members))
  return shapes
}

/** SECURITY: what the file says is what is known, no more: a line that would have to be guessed at, or that says nothing, is an error. */
function shapeOf(path: string, id: string, members: JsonValue): KnownShape {
  const shape = new KnownShape()
  if (!Array.isArray(members)) throw refused(path, `has no list at rules.${id}`, REMEDY)
  const list = members as readonly JsonValue[]
  for (const member of list) if (typeof member === 'string') shape.add(member)
  const known = new Set<JsonValue>(shape.list())
  const wrong = list.find((member) => !known.delete(member))
  if (wrong === undefined) return shape
  const why = 'is no member, is there twice, is one of too many, or is in a map already'
  throw refused(path, `has ${JSON.stringify(wrong)} at rules.${id}, which ${why}`, 'remove the line')
}

function membersOf(value: JsonValue | undefined): ReadonlyMap<string, JsonValue> | null {
  return value instanceof Map ? (value as ReadonlyMap<string, JsonValue>) : null
}

function stampOf({ dev, ino, size, mtimeMs }: Stats): Stamp {
  return { dev, ino, size, mtimeMs }
}

function refused(path: string, why: string, fix: string): Error {
  return new Error(`the file of shapes ${path} ${why}\n  fix: ${fix}`)
}
