// What is kept of bytes that are no request: enough to investigate, nothing that could be a secret.

import type { Attempt } from './attempt.ts'
import type { Deps } from './deps.ts'
import type { MalformedInput } from './message.ts'

/** Header lines described; a flood of them is counted, not listed. */
const MAX_DESCRIBED_HEADERS = 64
const MAX_LINE = 1_024
const MAX_NAME = 64

/** Beside the decision: where that could not be written, the trail may be back by now, and this would stand alone in it. */
export function recordMalformed(attempt: Attempt, input: MalformedInput, deps: Deps): void {
  if (!attempt.decided) return
  const described = describe(input.bytes, deps)
  deps.trail
    .append({
      event: 'request.malformed',
      request_id: attempt.requestId,
      code: input.code,
      length: input.bytes.length,
      fingerprint: deps.redactor.fingerprint(input.bytes),
      request_line: described === null ? null : redactLine(described.line, deps),
      headers: described?.headers ?? [],
    })
    .catch(() => undefined)
}

interface Described {
  readonly line: string
  readonly headers: { readonly name: string; readonly length: number }[]
}

/** Null unless the first line has the shape of a request line: `token SP target [SP version]`. */
function describe(bytes: Buffer, deps: Deps): Described | null {
  const lines = bytes
    .subarray(0, MAX_LINE * MAX_DESCRIBED_HEADERS)
    .toString('latin1')
    .split('\n')
  const line = (lines[0] ?? '').replace(/\r$/, '')
  if (line.length > MAX_LINE || !/^[A-Za-z]{1,32} [\x21-\x7e]+(?: HTTP\/[\d.]{1,8})?$/.test(line)) return null
  const headers: Described['headers'] = []
  for (const header of lines.slice(1, MAX_DESCRIBED_HEADERS)) {
    // What follows the empty line is no header.
    if (header === '' || header === '\r') break
    const colon = header.indexOf(':')
    if (colon > 0) headers.push({ name: nameOf(header.slice(0, colon), deps), length: header.length - colon - 1 })
  }
  return { line, headers }
}

/** SECURITY: redacted before it is cut, or what is left of a token would not be known for one. A folded line (RFC 9112 §5.2) is a value. */
function nameOf(written: string, deps: Deps): string {
  const name = /^[ \t]/.test(written) ? deps.redactor.fingerprint(written) : deps.redactor.name(written)
  return name.slice(0, MAX_NAME)
}

function redactLine(line: string, deps: Deps): string {
  const [method, target = '', version = ''] = line.split(' ')
  const query = target.indexOf('?')
  const path = deps.redactor.path(query < 0 ? target : target.slice(0, query))
  const rest = query < 0 ? '' : `?${deps.redactor.query(target.slice(query + 1)) ?? ''}`
  return deps.redactor.text(`${method} ${path}${rest} ${version}`.trimEnd())
}
