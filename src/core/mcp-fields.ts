// What the header fields of a request say of MCP, and whether that is what its message says.

import { Buffer } from 'node:buffer'
import type { ReadMessage } from './mcp-message.ts'

/** Values as sent, null: the field is not there; an empty one stands for a field that is there twice. */
export interface McpFields {
  /** The request looks like one of Streamable HTTP. */
  readonly recognized: boolean
  /** Mcp-Method. */
  readonly method: string | null
  /** Mcp-Name. */
  readonly name: string | null
}

const ENCODED_START = '=?base64?'
const ENCODED_END = '?='

/**
 * The field that says something else than the message, null where none does. SECURITY: revision 2026-07-28 has both repeated for whoever
 * routes by them, and a server behind that may run what they say.
 */
export function contradicted(fields: McpFields, { message, name }: ReadMessage): 'Mcp-Method' | 'Mcp-Name' | null {
  if (fields.method !== null && fields.method !== message.method) return 'Mcp-Method'
  return fields.name !== null && name !== null && decoded(fields.name) !== name ? 'Mcp-Name' : null
}

/** Null for an encoding that is none. */
function decoded(value: string): string | null {
  if (!value.startsWith(ENCODED_START) || !value.endsWith(ENCODED_END)) return value
  const text = value.slice(ENCODED_START.length, -ENCODED_END.length)
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes.toString('utf8') : null
}
