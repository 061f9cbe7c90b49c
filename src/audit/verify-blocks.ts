// The bytes of a trail's file in blocks of whole lines, plain or compressed, in bounded memory.

import { type FileHandle, open } from 'node:fs/promises'
import { createGunzip } from 'node:zlib'
import { MAX_RECORD_BYTES } from '../core/record.ts'
import type { TrailFile } from './read.ts'
import { compressedPath } from './segments.ts'
import { type Head, inspectLine } from './verify-line.ts'

/** `bytes` are valid until the next block is asked for, and end in a newline but for the last ones of a file. */
export interface Block {
  readonly bytes: Buffer
  /** Of the first byte, before compression. */
  readonly offset: number
}

/** The bytes inside a .gz are not what was compressed. */
export class DamagedArchive extends Error {}

const BLOCK_BYTES: number = 4 * 1_048_576
/** A line that is longer is no line of a trail: what a power cut leaves behind, NULs and all, ends within that. */
const MAX_LINE_BYTES: number = 8 * MAX_RECORD_BYTES
const GUNZIP_BYTES = 262_144
const NEWLINE = 0x0a

type Fill = (buffer: Buffer, at: number) => Promise<number>

/** Throws DamagedArchive, or the error of the file system. */
export async function* blocksOf(file: TrailFile, blockBytes: number = BLOCK_BYTES): AsyncGenerator<Block> {
  const { handle, compressed } = await openTrailFile(file)
  try {
    if (!compressed) {
      let position = 0
      yield* cut(async (buffer, at) => {
        const { bytesRead } = await handle.read(buffer, at, buffer.length - at, position)
        position += bytesRead
        return bytesRead
      }, blockBytes)
    } else {
      const unpacked = unpack(handle)
      try {
        yield* cut(fillFrom(unpacked), blockBytes)
      } finally {
        await unpacked.return(undefined)
      }
    }
  } finally {
    if (file.handle === undefined) await handle.close()
  }
}

/** A segment may be compressed between being listed and being read. */
async function openTrailFile({
  path,
  compressed,
  handle,
}: TrailFile): Promise<{ handle: FileHandle; compressed: boolean }> {
  if (handle !== undefined) return { handle, compressed }
  try {
    return { handle: await open(path, 'r'), compressed }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || compressed) throw error
    return { handle: await open(compressedPath(path), 'r'), compressed: true }
  }
}

/** The first record of a file, null if there is none; whether it belongs there is not looked at. */
export async function firstRecord(file: TrailFile): Promise<Head | null> {
  for await (const { bytes } of blocksOf(file, 2 * MAX_LINE_BYTES)) {
    for (let start = 0; start < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, start)
      const end = newline < 0 ? bytes.length : newline
      const line = inspectLine(bytes.subarray(start, end), { file: file.path, line: 0, offset: start })
      if (line.kind === 'record') return line.head
      start = end + 1
    }
    return null
  }
  return null
}

async function* cut(fill: Fill, blockBytes: number): AsyncGenerator<Block> {
  const buffer = Buffer.allocUnsafeSlow(blockBytes)
  let offset = 0
  let kept = 0
  for (;;) {
    const count = await fill(buffer, kept)
    const filled = kept + count
    const whole = count === 0 ? filled : buffer.lastIndexOf(NEWLINE, filled - 1) + 1
    // An endless line is handed on as it is: it is no record, and nothing behind it counts.
    const length = whole === 0 && filled > MAX_LINE_BYTES ? filled : whole
    if (length > 0) yield { bytes: buffer.subarray(0, length), offset }
    if (count === 0) return
    buffer.copyWithin(0, length, filled)
    offset += length
    kept = filled - length
  }
}

async function* unpack(handle: FileHandle): AsyncGenerator<Buffer> {
  const source = handle.createReadStream({ autoClose: false, start: 0 })
  const gunzip = createGunzip({ chunkSize: GUNZIP_BYTES })
  let failed: Error | null = null
  source.on('error', (error) => {
    failed = error
    gunzip.destroy(error)
  })
  try {
    for await (const chunk of source.pipe(gunzip)) yield chunk as Buffer
  } catch (error) {
    if (failed !== null) throw failed
    throw new DamagedArchive((error as Error).message, { cause: error })
  } finally {
    gunzip.destroy()
    source.destroy()
  }
}

function fillFrom(chunks: AsyncGenerator<Buffer>): Fill {
  let chunk: Buffer = Buffer.alloc(0)
  return async (buffer, at) => {
    while (chunk.length === 0) {
      const next = await chunks.next()
      if (next.done === true) return 0
      chunk = next.value
    }
    const count = chunk.copy(buffer, at)
    chunk = chunk.subarray(count)
    return count
  }
}
