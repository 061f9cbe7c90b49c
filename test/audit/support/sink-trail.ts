// A trail of files for the tests of sinks, written line by line: rotated, compressed, torn and pruned as the test wants it.

import { createHash } from 'node:crypto'
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { closedPath, compressedPath } from '../../../src/audit/segments.ts'

export const INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3A'

export interface SinkTrail {
  readonly folder: string
  readonly path: string
  /** Number of the next record. */
  next(): number
  /** Appends so many records; answers their lines. */
  write(count: number, fields?: string): string[]
  /** Appends bytes that are no record. */
  raw(text: string): void
  /** Closes the active file under its name; the next write begins a new one. */
  rotate(): string
  compress(closed: string): string
  line(seq: number): string
  close(): void
}

const EVENT =
  '"event":"request.completed","request_id":"01JD8Y6Z3M7Q2W4E6R8T0Y1V3B","outcome":"completed","reason":null,"status":200'

export function sinkTrail(instance = INSTANCE): SinkTrail {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-sink-'))
  const path = join(folder, 'audit.jsonl')
  const lines: string[] = []
  let previous = '0'.repeat(64)
  let first = 0
  const write = (count: number, fields = EVENT): string[] => {
    const fresh = Array.from({ length: count }, () => {
      const time = new Date(Date.UTC(2026, 10, 20) + lines.length).toISOString()
      const head = `{"schema":"mcp-egress.audit/1","instance":"${instance}","seq":${lines.length},"timestamp":"${time}"`
      const body = `${head},${fields},"prev_hash":"${previous}"`
      previous = createHash('sha256').update(body).digest('hex')
      const line = `${body},"hash":"${previous}"}`
      lines.push(line)
      return line
    })
    appendFileSync(path, fresh.map((line) => `${line}\n`).join(''), { mode: 0o600 })
    return fresh
  }
  return {
    folder,
    path,
    next: () => lines.length,
    write,
    raw: (text) => appendFileSync(path, text),
    rotate: () => {
      const closed = closedPath(path, first)
      renameSync(path, closed)
      first = lines.length
      return closed
    },
    compress: (closed) => {
      const compressed = compressedPath(closed)
      writeFileSync(compressed, gzipSync(readFileSync(closed)), { mode: 0o600 })
      rmSync(closed)
      return compressed
    },
    line: (seq) => lines[seq] ?? '',
    close: () => rmSync(folder, { recursive: true, force: true }),
  }
}
