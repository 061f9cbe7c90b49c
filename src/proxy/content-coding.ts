// Undoes the content coding of a body that is judged, on a copy: what is forwarded are the bytes as they came.

import * as zlib from 'node:zlib'
import { BODY_INSPECTION_LIMIT } from '../core/body.ts'

/** `bytes` as the destination will read them; `undecodable` says why nobody knows. */
export type Decoded =
  | { readonly kind: 'decoded'; readonly bytes: Buffer }
  | { readonly kind: 'undecodable'; readonly why: string }

/** Past this many bytes a body may not grow more than `MAX_RATIO` times: JSON that people send is compressed 5 to 20 times. */
const UNSUSPECTED_BYTES = 65_536
const MAX_RATIO = 100

interface Options {
  readonly maxOutputLength: number
  readonly info: true
}
type Callback = (error: Error | null, result: unknown) => void
type Decompress = (bytes: Buffer, options: Options, callback: Callback) => void

/** What `info: true` makes of a result (nodejs.org/api/zlib.html, class Options). */
interface Result {
  readonly buffer: Buffer
  readonly engine: { readonly bytesWritten: number }
}

/** By its name in RFC 9110 §8.4.1, RFC 7932 and RFC 8878. zstd: from Node.js 22.15 on. */
const CODINGS: ReadonlyMap<string, Decompress> = new Map<string, Decompress>(
  Object.entries({
    gzip: zlib.gunzip,
    'x-gzip': zlib.gunzip,
    // With its header (RFC 1950). SECURITY: some senders leave it out and some receivers guess: we do not.
    deflate: zlib.inflate,
    br: zlib.brotliDecompress,
    zstd: (zlib as { readonly zstdDecompress?: unknown }).zstdDecompress,
  }).filter((entry): entry is [string, Decompress] => entry[1] !== undefined),
)

/** Never rejects. `contentEncoding` null: none; an empty one stands for a field that is there twice. */
export async function decodeContent(bytes: Buffer, contentEncoding: string | null): Promise<Decoded> {
  const coding = contentEncoding?.trim().toLowerCase() ?? 'identity'
  if (coding === 'identity') return { kind: 'decoded', bytes }
  const decompress = CODINGS.get(coding)
  if (decompress === undefined) return undecodable('is not one that can be inspected')
  const result = await new Promise<Result | Error>((resolve) => {
    decompress(bytes, { maxOutputLength: BODY_INSPECTION_LIMIT, info: true }, (error, done) =>
      resolve(error ?? (done as Result)),
    )
  })
  if (result instanceof Error) return undecodable(whyOf(result, coding))
  const { buffer, engine } = result
  // SECURITY: bytes behind the end, which Node.js leaves aside, may be what the destination reads.
  if (engine.bytesWritten !== bytes.length) return undecodable(`${coding} ends before the body does`)
  if (buffer.length > UNSUSPECTED_BYTES && buffer.length > MAX_RATIO * bytes.length)
    return undecodable(`${coding} makes it more than ${MAX_RATIO} times as long`)
  return { kind: 'decoded', bytes: buffer }
}

function whyOf(error: NodeJS.ErrnoException, coding: string): string {
  if (error.code === 'ERR_BUFFER_TOO_LARGE')
    return `${coding} makes it longer than the inspection limit of ${BODY_INSPECTION_LIMIT} bytes`
  return `${coding} can not be undone: ${error.message}`
}

function undecodable(what: string): Decoded {
  return { kind: 'undecodable', why: `the Content-Encoding of the body ${what}` }
}
