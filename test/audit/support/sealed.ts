// Trails made to measure: sealed, signed and put into files as the proxy does, to be spoiled by the tests.

import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type ChainHead, EMPTY_CHAIN, seal } from '../../../src/audit/chain.ts'
import { checkpointStatement, type SigningKey } from '../../../src/audit/signing.ts'
import { MAX_UNCOVERED_RECORDS, type VerifyRules, verifyTrail } from '../../../src/audit/verify.ts'
import type { VerifyReport } from '../../../src/audit/verify-report.ts'
import type { AuditEvent, SegmentCause } from '../../../src/core/record.ts'
import { COMPLETED, DECIDED } from '../../support/audit-events.ts'

export const INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3C'
export const OTHER_INSTANCE = '01JD8Y6Z3M7Q2W4E6R8T0Y1V3D'
export const TIME = '2026-11-21T10:00:00.000Z'
const LIFECYCLE = { version: '0.1.0', policy: DECIDED.policy, mode: 'enforce' } as const
export const STARTED: AuditEvent = { event: 'proxy.started', ...LIFECYCLE }
export const LOADED: AuditEvent = { event: 'config.loaded', ...LIFECYCLE }
export const STOPPED: AuditEvent = { event: 'proxy.stopped', cause: 'SIGTERM', ...LIFECYCLE }
export const opened = (previous: string | null, cause: SegmentCause = 'size'): AuditEvent => ({
  event: 'segment.opened',
  previous,
  cause,
})

/** The id of request number `index`; later ones sort behind. */
export const requestId = (index: number): string => `01JD8Y6Z3M7Q2W4E6R${String(index).padStart(8, '0')}`
export const decided = (index: number): AuditEvent => ({ ...DECIDED, request_id: requestId(index) })
export const completed = (index: number): AuditEvent => ({ ...COMPLETED, request_id: requestId(index) })

export class Sealed {
  /** Without newlines. */
  readonly lines: string[] = []
  readonly instance: string
  readonly key: SigningKey | null
  head: ChainHead

  constructor(instance = INSTANCE, key: SigningKey | null = null, head: ChainHead = EMPTY_CHAIN) {
    this.instance = instance
    this.key = key
    this.head = head
  }

  add(event: AuditEvent, time = TIME): this {
    const { text, head } = seal(event, this.instance, time, this.head)
    this.head = head
    this.lines.push(text.slice(0, -1))
    return this
  }

  checkpoint(key: SigningKey | null = this.key): this {
    const seq = this.head.seq + 1
    const signature = key?.sign(checkpointStatement(this.instance, seq, this.head.hash)) ?? null
    return this.add({ event: 'checkpoint', records: seq, key_id: key?.keyId ?? null, signature })
  }
}

/**
 * `records` in all: a start, requests, a checkpoint at every `every`th record and a segment behind it, and a checkpoint at the end.
 */
export function sampleTrail(
  records: number,
  key: SigningKey | null,
  instance = INSTANCE,
  every = 100,
  time = TIME,
): Sealed {
  const trail = new Sealed(instance, key)
  trail.add(opened(null, 'start'), time).add(STARTED, time).add(LOADED, time)
  for (let made = 0; trail.lines.length < records - 1; ) {
    if (trail.lines.length % every === 0) {
      trail.checkpoint().add(opened(null), time)
      continue
    }
    trail.add(made % 2 === 0 ? decided(made >> 1) : completed(made >> 1), time)
    made++
  }
  return trail.checkpoint()
}

export const temporaryFolder = (): string => mkdtempSync(join(tmpdir(), 'sealed-'))

/** Writes a file and returns its path; a name ending in .gz is compressed. */
export function put(folder: string, name: string, content: string): string {
  const path = join(folder, name)
  const bytes = Buffer.from(content, 'latin1')
  writeFileSync(path, name.endsWith('.gz') ? gzipSync(bytes) : bytes)
  return path
}

export const textOf = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('')

export const LENIENT: VerifyRules = {
  instance: null,
  complete: false,
  keys: null,
  allowUnsigned: false,
  maxUncovered: MAX_UNCOVERED_RECORDS,
  kept: [],
  tombstones: [],
}

export function verifyPaths(paths: readonly string[], rules: Partial<VerifyRules> = {}): Promise<VerifyReport> {
  const files = paths.map((path) => ({ path, compressed: path.endsWith('.gz') }))
  return verifyTrail(files, { ...LENIENT, ...rules })
}
