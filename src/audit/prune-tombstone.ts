// What pruning leaves behind: which records were deleted, and the hash that those left stand on.

import { type KeyObject, verify } from 'node:crypto'
import fs, { constants } from 'node:fs'
import { basename, dirname, extname, join, resolve } from 'node:path'
import { z } from 'zod'
import { prunedStatement, type SigningKey } from './signing.ts'

const SCHEMA = 'mcp-egress.pruned/1'
/** A prune a day makes this many in a century. */
const MAX_TOMBSTONES = 40_000

/** Records `first_seq` to `last_seq` were deleted; `last_hash` is the hash of the last of them. */
export interface Tombstone {
  readonly schema: typeof SCHEMA
  readonly instance: string
  readonly first_seq: number
  readonly last_seq: number
  readonly last_hash: string
  readonly files: readonly string[]
  readonly pruned_at: string
  readonly key_id: string | null
  readonly signature: string | null
}

const tombstone: z.ZodType<Tombstone> = z.object({
  schema: z.literal(SCHEMA),
  instance: z.string(),
  first_seq: z.int().min(0),
  last_seq: z.int().min(0),
  last_hash: z.string().regex(/^[0-9a-f]{64}$/),
  files: z.array(z.string()),
  pruned_at: z.string(),
  key_id: z.string().nullable(),
  signature: z.string().nullable(),
})

/** Beside the active file: `audit.pruned.jsonl` for `audit.jsonl`. */
export function tombstonePath(active: string): string {
  const extension = extname(active)
  return join(dirname(resolve(active)), `${basename(active, extension)}.pruned${extension}`)
}

/** Lines that are none are passed over: a tombstone proves nothing by being absent. */
export function readTombstones(path: string): Tombstone[] {
  if (!fs.existsSync(path)) return []
  const lines = fs.readFileSync(path, 'latin1').split('\n').slice(-MAX_TOMBSTONES)
  return lines.flatMap((line) => {
    const parsed = tombstone.safeParse(plainData(line))
    return parsed.success ? [parsed.data] : []
  })
}

function plainData(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return null
  }
}

/** Resolves nothing later: the line is on disk when this returns. */
export function appendTombstone(
  path: string,
  pruned: Omit<Tombstone, 'schema' | 'key_id' | 'signature'>,
  key: SigningKey | null,
): void {
  const statement = prunedStatement(pruned.instance, pruned.last_seq, pruned.last_hash)
  const signed = { key_id: key?.keyId ?? null, signature: key?.sign(statement) ?? null }
  const flags =
    constants.O_WRONLY | constants.O_CREAT | constants.O_APPEND | constants.O_NOFOLLOW | constants.O_NONBLOCK
  const fd = fs.openSync(path, flags, 0o600)
  try {
    fs.writeFileSync(fd, `${JSON.stringify({ schema: SCHEMA, ...pruned, ...signed })}\n`)
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
}

/** Whether one of `keys` signed it. */
export function isSigned(stone: Tombstone, keys: ReadonlyMap<string, KeyObject>): boolean {
  const key = stone.key_id === null ? undefined : keys.get(stone.key_id)
  if (key === undefined || stone.signature === null) return false
  const statement = Buffer.from(prunedStatement(stone.instance, stone.last_seq, stone.last_hash), 'latin1')
  return verify(null, statement, key, Buffer.from(stone.signature, 'base64'))
}
