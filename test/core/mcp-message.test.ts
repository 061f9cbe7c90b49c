import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readJson } from '../../src/core/json-strict.ts'
import { MAX_BATCH, type ReadMessages, readMessages } from '../../src/core/mcp-message.ts'

function read(text: string): ReadMessages {
  const json = readJson(Buffer.from(text))
  if (json.kind === 'bad') throw new Error(json.why)
  return readMessages(json.value)
}

const faultsOf = ({ messages, fault }: ReadMessages): unknown[] =>
  [fault, ...messages.map((each) => each.fault)].filter((each) => each !== null)
const call = (more = ''): string =>
  `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"get_issue","arguments":{}}${more}}`

describe('a message', () => {
  it.each([
    ['a call of a tool', call(), { method: 'tools/call', tool: 'get_issue', resources: [], id: '7' }],
    [
      'a resource that is read',
      '{"jsonrpc":"2.0","id":"a","method":"resources/read","params":{"uri":"file:///a"}}',
      { method: 'resources/read', tool: null, resources: ['file:///a'], id: '"a"' },
    ],
    [
      'resources that are listened to',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["a:1","a:2"]}}}',
      { method: 'subscriptions/listen', tool: null, resources: ['a:1', 'a:2'], id: '1' },
    ],
    [
      'listening to nothing in particular',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true}}}',
      { method: 'subscriptions/listen', tool: null, resources: [], id: '1' },
    ],
    [
      'a notification without parameters',
      '{"jsonrpc":"2.0","method":"notifications/initialized"}',
      { method: 'notifications/initialized', tool: null, resources: [], id: null },
    ],
    [
      'a prompt',
      '{"jsonrpc":"2.0","id":1,"method":"prompts/get","params":{"name":"p"}}',
      { method: 'prompts/get', tool: null, resources: [], id: '1' },
    ],
    [
      'a response',
      '{"jsonrpc":"2.0","id":3,"result":{"action":"accept"}}',
      { method: null, tool: null, resources: [], id: '3' },
    ],
    [
      'an error',
      '{"jsonrpc":"2.0","id":3,"error":{"code":-32600,"message":"no"}}',
      { method: null, tool: null, resources: [], id: '3' },
    ],
    [
      'an error about nothing in particular',
      '{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}',
      { method: null, tool: null, resources: [], id: null },
    ],
  ])('says what it calls: %s', (_, text, message) => {
    const found = read(text)
    expect(faultsOf(found)).toEqual([])
    expect(found.messages.map((each) => each.message)).toEqual([message])
  })

  it.each([
    ['tools/call', '"name":"x"', 'x'],
    ['prompts/get', '"name":"x"', 'x'],
    ['resources/read', '"uri":"x"', 'x'],
    ['resources/subscribe', '"uri":"x"', null],
    ['tasks/get', '"name":"x"', null],
  ])('tells what Mcp-Name repeats: %s', (method, params, name) => {
    const { messages } = read(`{"jsonrpc":"2.0","id":1,"method":"${method}","params":{${params}}}`)
    expect(messages[0]).toMatchObject({ name, fault: null })
  })

  it.each([
    ['no object', '7', '$'],
    ['null', 'null', '$'],
    ['another version', '{"jsonrpc":"1.0","method":"ping","id":1}', '$.jsonrpc'],
    ['a version that is a number', '{"jsonrpc":2.0,"method":"ping","id":1}', '$.jsonrpc'],
    ['no version', '{"method":"ping","id":1}', '$.jsonrpc'],
    ['a member that MCP does not have', call(',"x":1'), '$.x'],
    ['one with a name that is none', call(',"a b":1'), '$["a b"]'],
    ['one with a name too long to repeat', call(`,"${'x'.repeat(129)}":1`), '$["…"]'],
    ['one that is just short enough', call(`,"${'x'.repeat(128)}":1`), `$.${'x'.repeat(128)}`],
    ['a method in another case', '{"jsonrpc":"2.0","id":1,"Method":"tools/call"}', '$.Method'],
    ['one beside the real one', call(',"METHOD":"ping"'), '$.METHOD'],
    ['a method that is no text', '{"jsonrpc":"2.0","id":1,"method":["tools/call"]}', '$.method'],
    ['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"ping"}', '$.id'],
    ['an id that is an object', '{"jsonrpc":"2.0","id":{},"method":"ping"}', '$.id'],
    ['an id that is a fraction', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}', '$.id'],
    ['an id past 2^53', '{"jsonrpc":"2.0","id":9007199254740993,"method":"ping"}', '$.id'],
    ['a result beside a method', call(',"result":{}'), '$.result'],
    ['an error beside a method', call(',"error":{"code":1,"message":""}'), '$.error'],
    ['parameters in a list', '{"jsonrpc":"2.0","id":1,"method":"ping","params":["x"]}', '$.params'],
    ['a tool by its place', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["execute"]}', '$.params'],
    ['a tool without a name', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}', '$.params.name'],
    ['a tool without parameters', '{"jsonrpc":"2.0","id":1,"method":"tools/call"}', '$.params.name'],
    ['a name that is a number', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}', '$.params.name'],
    [
      'a name in another case',
      '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","Name":"b"}}',
      '$.params.name',
    ],
    [
      'a URI in another case',
      '{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"URI":"a"}}',
      '$.params.uri',
    ],
    [
      'a resource that is no text',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["a",1]}}}',
      '$.params.notifications.resourceSubscriptions',
    ],
    [
      'resources that are no list',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":"a"}}}',
      '$.params.notifications.resourceSubscriptions',
    ],
    [
      'resources in another case',
      '{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"ResourceSubscriptions":["a"]}}}',
      '$.params.notifications.resourceSubscriptions',
    ],
    ['parameters in a response', '{"jsonrpc":"2.0","id":1,"result":{},"params":{}}', '$.params'],
    ['neither request nor response', '{"jsonrpc":"2.0","id":1}', '$'],
    ['a result and an error', '{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}', '$'],
    ['a result of nothing', '{"jsonrpc":"2.0","result":{}}', '$.id'],
    ['a result that is no object', '{"jsonrpc":"2.0","id":1,"result":"x"}', '$.result'],
    ['an error that is no object', '{"jsonrpc":"2.0","id":1,"error":"x"}', '$.error'],
    ['an error without a code', '{"jsonrpc":"2.0","id":1,"error":{"message":""}}', '$.error'],
    ['an error without a message', '{"jsonrpc":"2.0","id":1,"error":{"code":1}}', '$.error'],
  ])('is none with %s', (_, text, member) => {
    expect(faultsOf(read(text))).toEqual([{ member, why: expect.any(String) }])
  })

  it('tells what it can of one that is none', () => {
    const [first] = read('{"method":"tools/call","params":{"name":"execute"}}').messages
    expect(first?.message).toEqual({ method: 'tools/call', tool: 'execute', resources: [], id: null })
    const [second] = read('{"jsonrpc":"2.0","method":"subscriptions/listen","params":{"notifications":[]}}').messages
    expect(second).toMatchObject({ message: { resources: [] }, fault: { member: expect.stringContaining('$.params') } })
  })

  it('escapes are undone before it is read', () => {
    const text = String.raw`{"jsonrpc":"2.0","id":1,"m\u0065thod":"tools\/call","p\u0061rams":{"n\u0061me":"\u0065xecute"}}`
    expect(read(text).messages[0]).toMatchObject({ fault: null, message: { tool: 'execute' } })
  })
})

describe('a batch', () => {
  it('is read item by item, and each fault says where it is', () => {
    const { messages, fault } = read(`[${call()},{"jsonrpc":"2.0"},[${call()}]]`)
    expect(fault).toBeNull()
    expect(messages.map((each) => each.fault?.member)).toEqual([undefined, '$[1]', '$[2]'])
  })

  it('has at least one message, and at most so many', () => {
    expect(read('[]')).toMatchObject({ messages: [], fault: { member: '$' } })
    const batch = (count: number): string => `[${Array<string>(count).fill(call()).join(',')}]`
    expect(read(batch(MAX_BATCH)).fault).toBeNull()
    expect(read(batch(MAX_BATCH + 1))).toMatchObject({ fault: { member: '$', why: expect.stringContaining('100') } })
    expect(read(batch(MAX_BATCH + 1)).messages).toHaveLength(MAX_BATCH)
  })

  it('of what is listened to at most so much is told, and all of it is read', () => {
    const uris = JSON.stringify(Array.from({ length: 1_000 }, (_, at) => `a:${at}`))
    const listen = (list: string): string =>
      `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":${list}}}}`
    const { messages } = read(listen(uris))
    expect(messages[0]?.message.resources).toHaveLength(1_000)
    expect(faultsOf(read(listen(uris.replace('"a:999"', '999'))))).toHaveLength(1)
  })
})

it('whatever JSON there is, it is read without an exception and has no more messages than items', () => {
  fc.assert(
    fc.property(fc.json(), (text) => {
      const json = readJson(Buffer.from(text))
      if (json.kind === 'bad') return
      const { messages } = readMessages(json.value)
      expect(messages.length).toBeLessThanOrEqual(Array.isArray(json.value) ? json.value.length : 1)
    }),
  )
})
