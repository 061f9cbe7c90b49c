// Which requests look like messages of MCP, so that the record can tell of them where no rule asks for it. It denies nothing.

import { BODY_INSPECTION_LIMIT, readBody } from '../core/body.ts'
import { headerValues, type RawHeaders, soleValue } from '../core/http1.ts'
import { recognizeMcp } from '../core/mcp.ts'
import type { McpFields } from '../core/mcp-fields.ts'
import type { Calls } from './attempt.ts'
import { bodyToJudge, type Inspected } from './inspected-body.ts'
import type { IncomingRequest } from './message.ts'
import type { OutgoingBody } from './upstream.ts'

/** Fields that Streamable HTTP has of its own, in one revision or another. */
const OWN_FIELDS = ['mcp-session-id', 'mcp-protocol-version', 'mcp-method'] as const
const ANSWERS = ['application/json', 'text/event-stream'] as const

/** A body that would not be inspected whole is not held back for the record. */
export function isRecordedMcp({ head }: IncomingRequest, body: OutgoingBody | null): boolean {
  if (body === null || (body.length ?? 0) > BODY_INSPECTION_LIMIT) return false
  return head.method === 'POST' && looksLikeMcp(head.headers)
}

/** SECURITY: for the record only. What a rule asks of MCP it asks of every request, whatever its fields say. */
function looksLikeMcp(headers: RawHeaders): boolean {
  const type = soleValue(headers, 'content-type')?.toLowerCase() ?? ''
  if (!type.startsWith('application/json')) return false
  if (OWN_FIELDS.some((name) => soleValue(headers, name) !== null)) return true
  const accepted = headerValues(headers, 'accept').join(',').toLowerCase()
  return ANSWERS.every((answer) => accepted.includes(answer))
}

export function mcpFieldsOf(headers: RawHeaders): McpFields {
  return {
    recognized: looksLikeMcp(headers),
    method: soleValue(headers, 'mcp-method'),
    name: soleValue(headers, 'mcp-name'),
  }
}

/** What a body that no rule looks at holds. */
export function recordedCalls(whole: Inspected, headers: RawHeaders): Calls {
  return { mcp: recognizeMcp(readBody(bodyToJudge(whole, headers))), graphql: null }
}
