import { describe, expect, it } from 'vitest'
import { contradicted, type McpFields } from '../../src/core/mcp-fields.ts'
import type { ReadMessage } from '../../src/core/mcp-message.ts'

const message = (method: string | null, name: string | null): ReadMessage => ({
  message: { method, tool: null, resources: [], id: null },
  name,
  fault: null,
})
const fields = (method: string | null, name: string | null): McpFields => ({ recognized: true, method, name })
const encoded = (text: string): string => `=?base64?${Buffer.from(text).toString('base64')}?=`

describe('fields that repeat a message', () => {
  it.each<[string, McpFields, ReadMessage, string | null]>([
    ['no fields', fields(null, null), message('tools/call', 'get'), null],
    ['the same', fields('tools/call', 'get'), message('tools/call', 'get'), null],
    ['another method', fields('tools/list', 'get'), message('tools/call', 'get'), 'Mcp-Method'],
    ['a method in another case', fields('Tools/Call', null), message('tools/call', 'get'), 'Mcp-Method'],
    ['a method twice', fields('', null), message('tools/call', 'get'), 'Mcp-Method'],
    ['a method beside a response', fields('tools/call', null), message(null, null), 'Mcp-Method'],
    ['another tool', fields('tools/call', 'execute'), message('tools/call', 'get'), 'Mcp-Name'],
    ['a tool twice', fields(null, ''), message('tools/call', 'get'), 'Mcp-Name'],
    ['a name where none is repeated', fields('tasks/get', 'task-1'), message('tasks/get', null), null],
    ['a name that is encoded', fields(null, encoded('gét')), message('tools/call', 'gét'), null],
    ['another name that is encoded', fields(null, encoded('execute')), message('tools/call', 'get'), 'Mcp-Name'],
    ['an empty name that is encoded', fields(null, '=?base64?='), message('tools/call', ''), null],
    ['an encoding that is none', fields(null, '=?base64?Z2V0!?='), message('tools/call', 'get'), 'Mcp-Name'],
    ['an encoding in another case', fields(null, '=?BASE64?Z2V0?='), message('tools/call', 'get'), 'Mcp-Name'],
    ['an encoding without an end', fields(null, '=?base64?Z2V0'), message('tools/call', 'get'), 'Mcp-Name'],
  ])('say what it says, or it is named: %s', (_, given, read, field) => {
    expect(contradicted(given, read)).toBe(field)
  })
})
