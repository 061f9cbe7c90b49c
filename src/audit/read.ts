// Reads a trail: the whole records of its segments in order, plain and compressed, holding no more than a piece of a file.

import { type FileHandle, open, stat } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { AUDIT_SCHEMA, MAX_RECORD_BYTES } from '../core/record.ts'
import { compressedPath, type Segment, segmentsOf } from './segments.ts'

/** Whole records in the order of the file, each printable ASCII without its newline. */
export interface Batch {
  readonly path: string
  readonly lines: readonly string[]
  /** Offset behind the last of them, in the bytes before compression. */
  readonly end: number
}

/** Lines that were passed over. `torn`: a record without its end. `foreign`: anything else that is no record. */
export interface Skipped {
  torn: number
  foreign: number
}

/** `handle`: an open file that is read in place of `path`, and closed with it. */
export interface TrailFile {
  readonly path: string
  readonly compressed: boolean
  /** Number of its first record, where its name says it. */
  readonly firstSeq?: number
  readonly handle?: FileHandle
}

export type TrailRecord = Readonly<Record<string, unknown>>

/** A file of a trail that is damaged or can not be opened; the message names it. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable'
}

const CHUNK_BYTES = 1_048_576
/** How often a rotation may get in the way of one listing. */
const MAX_LISTINGS = 16
const NEWLINE = 0x0a

const START = `{"schema":"${AUDIT_SCHEMA}","instance":"`
const INSTANCE_LENGTH = 26
const TIMESTAMP_LENGTH = 24
const SEQ_KEY = '","seq":'
const TIMESTAMP_KEY = ',"timestamp":"'
const EVENT_KEY = '","event":"'
const HASH_KEY = ',"hash":"'
const SEAL_LENGTH = HASH_KEY.length + 64 + 2

/**
 * The files of the trail whose active file is at `active`, oldest first, none missing although the trail goes on: the active one is
 * opened before the closed ones are listed. Whoever does not read them all closes their handles. Throws where there is no trail.
 */
export async function trailFiles(active: string): Promise<TrailFile[]> {
  for (let listing = 0; listing < MAX_LISTINGS; listing++) {
    const handle = await openIfThere(active)
    const closed = segmentsOf(active).filter(({ firstSeq }) => firstSeq !== null)
    if (handle === null) {
      // Between its rename and its successor a trail has no active file.
      if (closed.length > 0) return closed.map(fileOf)
      throw Object.assign(new Error(`there is no audit trail at ${active}`), { code: 'ENOENT' })
    }
    if (await isAt(handle, active)) return [...closed.map(fileOf), { path: active, compressed: false, handle }]
    await handle.close()
  }
  throw new Error(`${active} is rotated faster than it can be listed`)
}

function fileOf({ path, compressed, firstSeq }: Segment): TrailFile {
  return { path, compressed, ...(firstSeq === null ? {} : { firstSeq }) }
}

/** Whether `path` still names the open file. */
export async function isAt(handle: FileHandle, path: string): Promise<boolean> {
  const [own, named] = await Promise.all([handle.stat(), stat(path).catch(ifMissing(null))])
  return named !== null && named.ino === own.ino && named.dev === own.dev
}

function openIfThere(path: string): Promise<FileHandle | null> {
  return open(path, 'r').catch(ifMissing(null))
}

function ifMissing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return value
    throw error
  }
}

/** The records of several files, one file behind the other. */
export async function* readFiles(files: readonly TrailFile[], skipped: Skipped): AsyncGenerator<Batch> {
  for (const file of files) yield* readTrailFile(file, skipped)
}

/** A segment that was compressed since it was listed is read compressed; one that was pruned has no records. */
export async function* readTrailFile(file: TrailFile, skipped: Skipped): AsyncGenerator<Batch> {
  const listed = file.handle ?? (await openIfThere(file.path))
  const packed = compressedPath(file.path)
  const later = listed === null && !file.compressed ? await openIfThere(packed) : null
  if (listed !== null) yield* readHandle(listed, file.path, file.compressed, skipped)
  else if (later !== null) yield* readHandle(later, packed, true, skipped)
}

async function* readHandle(
  handle: FileHandle,
  path: string,
  compressed: boolean,
  skipped: Skipped,
): AsyncGenerator<Batch> {
  const splitter = new LineSplitter(skipped)
  try {
    for await (const chunk of compressed ? unpacked(handle) : chunks(handle)) {
      const lines = splitter.take(chunk)
      if (lines.length > 0) yield { path, lines, end: splitter.end }
    }
    const last = splitter.finish()
    if (last.length > 0) yield { path, lines: last, end: splitter.end }
  } catch (error) {
    throw new Unreadable(`${path} can not be read: ${(error as Error).message}`, { cause: error })
  } finally {
    await handle.close()
  }
}

/** Reads on from where the file stands, so that a pipe does as well. A chunk is valid until the next one is asked for. */
async function* chunks(handle: FileHandle): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES)
  while (true) {
    const { bytesRead } = await handle.read(buffer, 0, CHUNK_BYTES, null)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
  }
}

async function* unpacked(handle: FileHandle): AsyncGenerator<Buffer> {
  const source = handle.createReadStream({ autoClose: false, highWaterMark: CHUNK_BYTES / 8 })
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES })
  source.on('error', (error) => gunzip.destroy(error))
  try {
    for await (const chunk of source.pipe(gunzip)) yield chunk as Buffer
  } finally {
    gunzip.destroy()
    source.destroy()
  }
}

/** Cuts bytes into lines and keeps those that are whole records. */
export class LineSplitter {
  readonly #skipped: Skipped
  #rest: Buffer = Buffer.alloc(0)
  /** In a line that is too long to be a record. */
  #overlong = false
  #taken: number
  /** Offset behind the last newline. */
  end: number

  /** `offset`: where the first byte stands. */
  constructor(skipped: Skipped, offset = 0) {
    this.#skipped = skipped
    this.#taken = offset
    this.end = offset
  }

  take(chunk: Buffer): string[] {
    const lines: string[] = []
    let at = 0
    for (let newline = chunk.indexOf(NEWLINE); newline >= 0; newline = chunk.indexOf(NEWLINE, at)) {
      if (this.#overlong) this.#overlong = false
      else if (this.#rest.length === 0) this.#keep(chunk.toString('latin1', at, newline), lines)
      else {
        this.#keep(Buffer.concat([this.#rest, chunk.subarray(at, newline)]).toString('latin1'), lines)
        this.#rest = Buffer.alloc(0)
      }
      at = newline + 1
      this.end = this.#taken + at
    }
    this.#taken += chunk.length
    if (!this.#overlong && at < chunk.length) this.#rest = Buffer.concat([this.#rest, chunk.subarray(at)])
    if (this.#rest.length > MAX_RECORD_BYTES) {
      this.#overlong = true
      this.#count(this.#rest.toString('latin1', 0, START.length))
      this.#rest = Buffer.alloc(0)
    }
    return lines
  }

  /** The end of the file: a last line may lack its newline and still be whole. */
  finish(): string[] {
    const lines: string[] = []
    if (this.#rest.length > 0) this.#keep(this.#rest.toString('latin1'), lines)
    this.#rest = Buffer.alloc(0)
    return lines
  }

  #keep(line: string, lines: string[]): void {
    if (isWhole(line)) lines.push(line)
    else this.#count(line)
  }

  #count(line: string): void {
    if (line.startsWith(START) || START.startsWith(line.split('\0', 1)[0] ?? '')) this.#skipped.torn++
    else this.#skipped.foreign++
  }
}

/** Begins and ends as a record does; what is between, and the hash, nobody has looked at. */
function isWhole(line: string): boolean {
  return line.startsWith(START) && line.endsWith('"}') && line.startsWith(HASH_KEY, line.length - SEAL_LENGTH)
}

/** What every record begins with, cut out of the line without parsing it. */
export interface LineHead {
  readonly instance: string
  readonly seq: number
  readonly timestamp: string
  readonly event: string
}

/** Null: the line does not begin as a record does. */
export function lineHead(line: string): LineHead | null {
  const instanceEnd = START.length + INSTANCE_LENGTH
  const seqAt = instanceEnd + SEQ_KEY.length
  const seqEnd = line.indexOf(',', seqAt)
  const timestampAt = seqEnd + TIMESTAMP_KEY.length
  const timestampEnd = timestampAt + TIMESTAMP_LENGTH
  const eventAt = timestampEnd + EVENT_KEY.length
  const eventEnd = line.indexOf('"', eventAt)
  const fits =
    line.startsWith(SEQ_KEY, instanceEnd) &&
    line.startsWith(TIMESTAMP_KEY, seqEnd) &&
    line.startsWith(EVENT_KEY, timestampEnd)
  const seq = Number(line.slice(seqAt, seqEnd))
  if (!fits || eventEnd < 0 || !Number.isSafeInteger(seq)) return null
  return {
    instance: line.slice(START.length, instanceEnd),
    seq,
    timestamp: line.slice(timestampAt, timestampEnd),
    event: line.slice(eventAt, eventEnd),
  }
}

/**
 * The value of the first member `name` of a line, without parsing the rest: text, or a number, `true` and `false` as written;
 * undefined where there is none or it is null. Right for lines of ours, whose members stand in a fixed order; never a proof.
 */
export function firstMember(line: string, name: string): string | undefined {
  const key = `"${name}":`
  const found = line.indexOf(key)
  if (found < 0) return undefined
  const at = found + key.length
  if (line.startsWith('null', at)) return undefined
  if (line[at] !== '"') return /^[-+.\w]+/.exec(line.slice(at, at + 32))?.[0]
  let end = line.indexOf('"', at + 1)
  while (end > 0 && isEscaped(line, end)) end = line.indexOf('"', end + 1)
  const text = line.slice(at + 1, end)
  return text.includes('\\') ? (JSON.parse(`"${text}"`) as string) : text
}

function isEscaped(line: string, at: number): boolean {
  let backslashes = 0
  while (line[at - 1 - backslashes] === '\\') backslashes++
  return backslashes % 2 === 1
}

/** SECURITY: null too for bytes outside printable ASCII: no record of ours has them, and they would drive a terminal. */
export function parseRecord(line: string): TrailRecord | null {
  if (!/^[\x20-\x7e]*$/.test(line)) return null
  try {
    return JSON.parse(line) as TrailRecord
  } catch {
    return null
  }
}

/** Closes what was opened and not read to its end. */
export async function closeFiles(files: readonly TrailFile[]): Promise<void> {
  for (const { handle } of files) await handle?.close()
}
