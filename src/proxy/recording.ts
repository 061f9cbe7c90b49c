// What a rule has recorded of a message beside its metadata: header fields, and bodies as they pass, unbuffered.

import { createHash } from 'node:crypto'
import type { McpMessage } from '../core/mcp.ts'
import type { GraphqlOperation } from '../core/graphql.ts'
import type { RecordedBody, RecordedField, RecordedGraphqlOperation, RecordedMcpMessage } from '../core/record.ts'
import { MAX_CALLS } from '../core/record-calls.ts'
import { type RawHeaders, soleValue } from '../core/http1.ts'
import type { Redactor } from '../core/redact.ts'
import { SAMPLE_MARGIN, sampleBody } from '../core/redact-body.ts'
import type { BodyReader } from './message.ts'

/** More fields than a record takes are not looked at. */
const MAX_FIELDS = 129
/** Characters of a name that is looked through for secrets; of a longer one there is only the fingerprint. */
const MAX_CALLED = 1_024

export function recordedFields(headers: RawHeaders, redactor: Redactor): RecordedField[] {
  const fields: RecordedField[] = []
  for (let at = 0; at + 1 < headers.length && fields.length < MAX_FIELDS; at += 2) {
    const name = headers[at] as string
    fields.push([redactor.name(name), redactor.headerValue(name, headers[at + 1] as string)])
  }
  return fields
}

/** A message that names several resources is told once for each. Undefined: there is nothing to tell. */
export function recordedMessages(
  messages: readonly McpMessage[] | null | undefined,
  redactor: Redactor,
): RecordedMcpMessage[] | undefined {
  if (messages === null || messages === undefined) return undefined
  const recorded: RecordedMcpMessage[] = []
  for (const { method, tool, resources, id } of messages) {
    for (const resource of resources.length === 0 ? [null] : resources) {
      // One more than a record takes, so that it says that there were more.
      if (recorded.length > MAX_CALLS) return recorded
      recorded.push({
        method: called(method, redactor),
        tool: called(tool, redactor),
        resource: called(resource, redactor),
        id: called(id, redactor),
      })
    }
  }
  return recorded
}

export function recordedOperations(
  operations: readonly GraphqlOperation[] | null | undefined,
  redactor: Redactor,
): RecordedGraphqlOperation[] | undefined {
  return operations?.slice(0, MAX_CALLS + 1).map(({ operation, name }) => ({ operation, name: called(name, redactor) }))
}

/** SECURITY: a secret may stand anywhere in it, and a text that would be cut may be cut within one. */
function called(text: string | null, redactor: Redactor): string | null {
  if (text === null) return null
  return text.length > MAX_CALLED ? redactor.fingerprint(text) : redactor.text(text)
}

/** Counts and hashes the bytes of one body as they pass, and keeps its beginning. */
export class BodyTap {
  readonly #limit: number
  readonly #headers: RawHeaders
  readonly #hash = createHash('sha256')
  readonly #start: Buffer[] = []
  #kept = 0
  #bytes = 0

  /** `limit`: bytes of the beginning to record. */
  constructor(limit: number, headers: RawHeaders) {
    this.#limit = limit
    this.#headers = headers
  }

  add(data: Buffer): void {
    this.#bytes += data.length
    this.#hash.update(data)
    const room = this.#limit + SAMPLE_MARGIN - this.#kept
    if (room <= 0) return
    // A copy: the bytes may be a small part of a large buffer that lives on with it.
    const part = Buffer.from(data.subarray(0, room))
    this.#start.push(part)
    this.#kept += part.length
  }

  /** Called once, after the last byte. */
  record(redactor: Redactor): RecordedBody {
    const sampled = sampleBody(
      {
        bytes: Buffer.concat(this.#start),
        limit: this.#limit,
        whole: this.#kept === this.#bytes,
        contentType: soleValue(this.#headers, 'content-type'),
        contentEncoding: soleValue(this.#headers, 'content-encoding'),
      },
      redactor,
    )
    const sha256 = this.#hash.digest('hex')
    // SECURITY: with the rest of a body in the clear, its hash would tell whether a guess of the secret in it is right.
    return { bytes: this.#bytes, sha256: sampled.redacted ? null : sha256, ...sampled }
  }
}

export function tapped(reader: BodyReader, tap: BodyTap): BodyReader {
  return {
    read: async () => {
      const part = await reader.read()
      if (part.kind === 'data') tap.add(part.data)
      return part
    },
  }
}
