// Where the chain on disk ends: the last whole record of the active file, else of the last closed segment.

import fs from 'node:fs'
import { createGunzip } from 'node:zlib'
import { MAX_RECORD_BYTES } from '../core/record.ts'
import { type ChainHead, EMPTY_CHAIN, readLine } from './chain.ts'
import { refused } from './refused.ts'
import type { Segment } from './segments.ts'

/** Where a file stands when it is opened; `instance` is null while it holds no record. */
export interface Tail {
  readonly instance: string | null
  readonly head: ChainHead
}

interface FoundTail extends Tail {
  /** The file ends in the middle of a line. */
  readonly unterminated: boolean
}

/** Enough for the longest record behind a number of torn ones. */
const TAIL_BYTES = 8 * MAX_RECORD_BYTES

/** Throws for a file that does not end as a trail does. */
export function readTail(fd: number, path: string): FoundTail {
  const { size } = fs.fstatSync(fd)
  const start = Math.max(0, size - TAIL_BYTES)
  const bytes = Buffer.alloc(size - start)
  for (let read = 0; read < bytes.length; ) {
    const count = fs.readSync(fd, bytes, read, bytes.length - read, start + read)
    if (count === 0) throw refused(path, 'became shorter while it was read', 'see who else writes to it')
    read += count
  }
  return tailOf(bytes, start === 0, path)
}

/** Of a closed segment. */
export async function readClosedTail({ path, compressed }: Segment): Promise<Tail> {
  if (!compressed) {
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NOFOLLOW)
    try {
      return readTail(fd, path)
    } finally {
      fs.closeSync(fd)
    }
  }
  let last: Buffer = Buffer.alloc(0)
  let whole = true
  for await (const chunk of fs.createReadStream(path).pipe(createGunzip({ chunkSize: TAIL_BYTES }))) {
    const joined = Buffer.concat([last, chunk as Buffer])
    whole &&= joined.length <= TAIL_BYTES
    last = joined.subarray(Math.max(0, joined.length - TAIL_BYTES))
  }
  return tailOf(last, whole, path)
}

function tailOf(bytes: Buffer, whole: boolean, path: string): FoundTail {
  const lines = bytes.toString('latin1').split('\n')
  const unterminated = lines.at(-1) !== ''
  // The window may begin inside a line, which then says nothing.
  const first = whole ? 0 : 1
  for (let at = lines.length - 1; at >= first; at--) {
    const line = readLine(lines[at] ?? '')
    if (line.kind === 'record') return { instance: line.instance, head: line.head, unterminated }
    if (line.kind === 'foreign') throw refused(path, 'does not end as an audit trail', 'point audit.path elsewhere')
    if (line.kind === 'forged') {
      throw refused(
        path,
        'ends in a record that does not match its hash',
        `keep ${path} as evidence: move it away and start again`,
      )
    }
  }
  if (!whole) throw refused(path, `has no whole record in its last ${TAIL_BYTES} bytes`, 'move it away and start again')
  return { instance: null, head: EMPTY_CHAIN, unterminated }
}
