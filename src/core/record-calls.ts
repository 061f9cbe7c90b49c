// What a request calls by its body, as it is recorded: messages of MCP, operations of GraphQL.

import type { RecordedGraphqlOperation, RecordedMcpMessage } from './event.ts'
import { text } from './record-text.ts'

export const MAX_CALLS = 16
// Characters as written; a record has room for so much of one list, and of two halves.
const MAX_CALL_TEXT = 256
const MAX_CALLS_LENGTH = 2_048

/** Calls over the bounds are left out, from the end. */
export function mcpMessages(messages: readonly RecordedMcpMessage[] | undefined, cut: string[]): string {
  if (messages === undefined) return ''
  return calls('mcp', messages, cut, ({ method, tool, resource, id }, here) => {
    const member = (name: string, value: string | null): string => text(name, value, MAX_CALL_TEXT, here, 'mcp')
    return member('method', method) + member('tool', tool) + member('resource', resource) + member('id', id)
  })
}

export function graphqlOperations(operations: readonly RecordedGraphqlOperation[] | undefined, cut: string[]): string {
  if (operations === undefined) return ''
  return calls('graphql', operations, cut, ({ operation, name }, here) => {
    return (
      text('operation', operation, MAX_CALL_TEXT, here, 'graphql') + text('name', name, MAX_CALL_TEXT, here, 'graphql')
    )
  })
}

function calls<T>(
  name: string,
  items: readonly T[],
  cut: string[],
  members: (item: T, cut: string[]) => string,
): string {
  let written = ''
  for (const [index, item] of items.entries()) {
    const cutHere: string[] = []
    const call = `{${members(item, cutHere).slice(1)}}`
    if (index >= MAX_CALLS || written.length + call.length > MAX_CALLS_LENGTH) {
      cut.push(name)
      break
    }
    cut.push(...cutHere)
    written += index === 0 ? call : `,${call}`
  }
  return `,"${name}":[${written}]`
}
