// What an HTTP/2 peer sent that is no request, as bytes that `proxy/malformed.ts` can describe and redact.

import type { RawHeaders } from '../../core/http1.ts'
import type { MalformedInput } from '../message.ts'
import type { Http2Fault } from './events.ts'

const LINE_BREAKS = /[\r\n]/g

/** `method` and `path` null where they could not be read: then there is no request line to show, only a fingerprint. */
export function malformedHead(
  fields: RawHeaders,
  bad: Pick<MalformedInput, 'reason' | 'code'> & { readonly method: string | null; readonly path: string | null },
): MalformedInput {
  const lines = [`${bad.method ?? '?'} ${bad.path ?? '?'} HTTP/2`]
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? ''
    if (!name.startsWith(':')) lines.push(`${name}: ${fields[i + 1]}`)
  }
  // SECURITY: what follows a line break in a path or a value would go on as the name of a header, and names are shown.
  const text = lines.map((line) => line.replace(LINE_BREAKS, ' ')).join('\r\n')
  return { reason: bad.reason, code: bad.code, bytes: Buffer.from(text, 'latin1') }
}

/** The counts belong to the code: `H2_RESET_FLOOD rst_stream=201 ping=3`. */
export function malformedConnection({ code, counts, timedOut }: Http2Fault): MalformedInput {
  return {
    reason: timedOut ? 'client_timeout' : 'malformed',
    code: counts === '' ? code : `${code} ${counts}`,
    bytes: Buffer.alloc(0),
  }
}
