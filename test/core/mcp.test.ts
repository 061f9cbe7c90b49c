import { Buffer } from 'node:buffer'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import { readBody } from '../../src/core/body.ts'
import type { BodyFailure, Inspected } from '../../src/core/body-failure.ts'
import {
  type CompiledMcp,
  compileMcp,
  mcpFailure,
  methodRates,
  recognizeMcp,
  SESSION_METHODS,
} from '../../src/core/mcp.ts'
import type { McpSpec, Subject } from '../../src/core/rule.ts'

const subject: Subject = {
  client: 'agent',
  scheme: 'https',
  method: 'POST',
  host: parseHost('mcp.example.com') as Host,
  port: 443,
  path: '/mcp',
  encodedSlash: false,
  target: '/mcp',
  upgrade: null,
  overrideHeaders: [],
}

type Problem = readonly [at: string, message: string, fix: string]

function compiled(spec: McpSpec): { readonly mcp: CompiledMcp; readonly problems: readonly Problem[] } {
  const problems: Problem[] = []
  const mcp = compileMcp(spec, (...problem) => problems.push(problem))
  return { mcp, problems }
}

function inspected(text: string, contentType = 'application/json', more: Partial<Subject> = {}): Inspected {
  const body = { bytes: Buffer.from(text), complete: true, contentType, undecodable: null }
  return { subject: { ...subject, ...more }, empty: text === '', read: readBody(body) }
}

const judge = (spec: McpSpec, text: string): BodyFailure | null => mcpFailure(compiled(spec).mcp, inspected(text))
const message = (method: string, params: Record<string, unknown> = {}): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
const call = (name: string): string => message('tools/call', { name })
const read = (uri: string, method = 'resources/read'): string => message(method, { uri })
const listen = (...uris: readonly string[]): string =>
  message('subscriptions/listen', { notifications: { resourceSubscriptions: uris } })

describe('what a rule allows', () => {
  it.each<[string, McpSpec, string]>([
    ...SESSION_METHODS.map((method): [string, McpSpec, string] => [method, { tools: ['x'] }, message(method)]),
    ['a session beside named methods', { methods: ['prompts/*'] }, message('initialize')],
    ['a tool by its name', { tools: ['get_issue'] }, call('get_issue')],
    ['a tool by a glob', { tools: ['list_*'] }, call('list_issues')],
    ['the list of tools beside tools', { tools: ['x'] }, message('tools/list')],
    ['any tool by the method', { methods: ['tools/call'] }, call('execute')],
    ['a tool beside named methods', { methods: ['prompts/list'], tools: ['x'] }, call('x')],
    ['a resource by a glob', { resources: ['resources://users/*'] }, read('resources://users/7')],
    ['a resource subscribed to', { resources: ['a:*'] }, read('a:1', 'resources/subscribe')],
    ['and unsubscribed from', { resources: ['a:*'] }, read('a:1', 'resources/unsubscribe')],
    ['one that is listened to', { resources: ['a:*'] }, listen('a:1', 'a:2')],
    ['any that is listened to', { methods: ['resources/*'] }, listen('b:../1')],
    ['the lists of resources beside resources', { resources: ['x'] }, message('resources/templates/list')],
    ['any resource by the method', { methods: ['resources/read'] }, read('file:///a/../b')],
    ['a method by a glob', { methods: ['prompts/*'] }, message('prompts/get', { name: 'p' })],
    ['a response', { tools: ['x'] }, '{"jsonrpc":"2.0","id":1,"result":{}}'],
    ['a batch of what is allowed', { tools: ['x'] }, `[${call('x')},${message('ping')}]`],
  ])('passes: %s', (_, spec, text) => {
    expect(judge(spec, text)).toBeNull()
  })

  it.each<[string, McpSpec, string, BodyFailure]>([
    [
      'another tool',
      { tools: ['get_*'] },
      call('execute'),
      { why: 'add execute to its mcp.tools', flags: ['body_rule:mcp:tools/call:execute'] },
    ],
    [
      'a tool where only resources are named',
      { resources: ['a:*'] },
      call('execute'),
      { why: 'add execute to its mcp.tools', flags: ['body_rule:mcp:tools/call:execute'] },
    ],
    [
      'a tool in another case',
      { tools: ['get'] },
      call('GET'),
      { why: 'add GET to its mcp.tools', flags: ['body_rule:mcp:tools/call:GET'] },
    ],
    [
      'another method',
      { tools: ['*'] },
      message('prompts/get', { name: 'p' }),
      { why: 'add prompts/get to its mcp.methods', flags: ['body_rule:mcp:prompts/get'] },
    ],
    [
      'a method in another case',
      { methods: ['prompts/list'] },
      message('Prompts/list'),
      { why: 'add Prompts/list to its mcp.methods', flags: ['body_rule:mcp:Prompts/list'] },
    ],
    [
      'the list of tools beside named methods',
      { methods: ['ping'], tools: ['x'] },
      message('tools/list'),
      { why: 'add tools/list to its mcp.methods', flags: ['body_rule:mcp:tools/list'] },
    ],
    [
      'another resource',
      { resources: ['a:*'] },
      read('b:1'),
      { why: 'add b:1 to its mcp.resources', flags: ['body_rule:mcp:resources/read:b:1'] },
    ],
    [
      'a resource where only tools are named',
      { tools: ['*'] },
      read('b:1'),
      { why: 'add b:1 to its mcp.resources', flags: ['body_rule:mcp:resources/read:b:1'] },
    ],
    [
      'one of those that are listened to',
      { resources: ['a:*'] },
      listen('a:1', 'b:1'),
      { why: 'add b:1 to its mcp.resources', flags: ['body_rule:mcp:subscriptions/listen:b:1'] },
    ],
    [
      'resources listened to where only tools are named',
      { tools: ['*'] },
      listen('b:1'),
      { why: 'add b:1 to its mcp.resources', flags: ['body_rule:mcp:subscriptions/listen:b:1'] },
    ],
    [
      'no message',
      { tools: ['*'] },
      '{"jsonrpc":"2.0","id":1,"Method":"ping"}',
      { why: '$.Method is no member of a message', flags: ['body_rule:$.Method'] },
    ],
    ['an empty batch', { tools: ['*'] }, '[]', { why: '$ is an empty batch', flags: ['body_rule:$'] }],
    [
      'one bad item of a batch',
      { tools: ['get'] },
      `[${call('get')},${call('execute')},${call('execute')},{}]`,
      {
        why: 'add execute to its mcp.tools',
        flags: ['body_rule:mcp:tools/call:execute', 'body_rule:$[3].jsonrpc'],
      },
    ],
    [
      'a batch that is too long',
      { tools: ['*'] },
      `[${Array<string>(101).fill(call('x')).join(',')}]`,
      { why: '$ is a batch of more than 100', flags: ['body_rule:$'] },
    ],
  ])('refuses and names: %s', (_, spec, text, failure) => {
    expect(judge(spec, text)).toEqual(failure)
  })

  it('a name that is too long is not repeated in a flag', () => {
    const flagsOf = (text: string): unknown => judge({ tools: ['a'] }, text)?.flags
    expect(flagsOf(call('x'.repeat(256)))).toEqual([`body_rule:mcp:tools/call:${'x'.repeat(256)}`])
    expect(flagsOf(call('x'.repeat(257)))).toEqual(['body_rule:mcp:tools/call'])
    expect(flagsOf(read('x'.repeat(257)))).toEqual(['body_rule:mcp:resources/read'])
    expect(flagsOf(message('x'.repeat(257)))).toEqual(['body_rule:mcp'])
  })

  it.each([
    'file:///docs/../etc/passwd',
    'file:///docs/..',
    'file:///docs/%2e%2e/etc',
    'file:///docs/.%2E/etc',
    'file:///docs/%252e%252e/etc',
    'file:///docs/%25252E/etc',
    'file:///docs/.\t./etc',
    'file:///docs/.\n./etc',
    String.raw`file:///docs/.\./etc`,
    'file:///docs/a b',
  ])('a URI that can be read as another one matches no glob: %j', (uri) => {
    const failure = judge({ resources: ['file:///docs/**'] }, read(uri))
    expect(failure?.why).toBe(`${uri} can be read as another URI`)
    expect(judge({ resources: ['file:///docs/**'] }, listen('file:///docs/a', uri))?.why).toBe(failure?.why)
  })

  it.each([
    ['GET', null],
    ['DELETE', null],
    ['HEAD', null],
    ['OPTIONS', null],
    ['POST', 'the request has no message of MCP'],
    ['PUT', 'the request has no message of MCP'],
  ])('without a body %s: %s', (method, why) => {
    const failure = mcpFailure(compiled({ tools: ['*'] }).mcp, inspected('', 'application/json', { method }))
    expect(failure?.why ?? null).toBe(why)
  })

  it.each(['GET', 'DELETE', 'PUT', 'HEAD'])('a message is sent by POST and not by %s', (method) => {
    const failure = mcpFailure(
      compiled({ tools: ['*'] }).mcp,
      inspected(message('ping'), 'application/json', { method }),
    )
    expect(failure).toEqual({ why: 'messages of MCP are sent by POST', flags: [] })
  })

  it('messages are JSON, and strict JSON', () => {
    const { mcp } = compiled({ tools: ['*'] })
    const form = mcpFailure(mcp, inspected('a=b', 'application/x-www-form-urlencoded'))
    expect(form).toEqual({ why: 'messages of MCP are JSON', flags: [] })
    expect(mcpFailure(mcp, inspected('{"method":1,"method":2}'))?.why).toContain('a member name twice')
  })

  it('fields of the request that say something else than its message', () => {
    const { mcp } = compiled({ tools: ['*'] })
    const mcpFields = { recognized: true, method: 'tools/call', name: 'execute' }
    expect(mcpFailure(mcp, { ...inspected(call('get')), mcpFields })).toEqual({
      why: 'the field Mcp-Name names another call than the message',
      flags: ['body_rule:mcp:Mcp-Name'],
    })
    expect(mcpFailure(mcp, { ...inspected(call('execute')), mcpFields })).toBeNull()
  })
})

describe('what is wrong with a rule', () => {
  it.each<[string, McpSpec, Problem[]]>([
    ['nothing', { methods: ['x/*'], tools: ['*'], resources: ['a:*'], rates: [] }, []],
    [
      'a method in another case',
      { methods: ['x', 'Tools/Call'] },
      [['mcp.methods[1]', 'methods are case-sensitive', 'write tools/call']],
    ],
    [
      'globs that are too long',
      { methods: ['m'.repeat(1_025)], tools: ['t'.repeat(1_025)], resources: ['r'.repeat(1_025)] },
      ['methods', 'tools', 'resources'].map((name) => [
        `mcp.${name}[0]`,
        'the glob is too long',
        'write at most 1024 characters',
      ]),
    ],
    [
      'a URI that no resource has',
      { resources: ['file:///a/../*'] },
      [
        [
          'mcp.resources[0]',
          '"file:///a/../*" matches nothing',
          'write it without .., %2e, \\, blanks and control characters',
        ],
      ],
    ],
    [
      'the rate of a method that is not allowed',
      { tools: ['*'], rates: [{ method: 'prompts/get', rate: { requests: 1, per: 'hour' } }] },
      [['mcp.rates', 'no message of "prompts/get" is allowed', 'add prompts/get to mcp.methods, or remove its rate']],
    ],
  ])('is said: %s', (_, spec, problems) => {
    expect(compiled(spec).problems).toEqual(problems)
  })
})

describe('rates', () => {
  const rate = { method: 'tools/call', rate: { requests: 60, per: 'minute', burst: 10 } } as const
  const { mcp, problems } = compiled({ tools: ['*'], rates: [rate] })

  it('are taken once for each message of their method', () => {
    expect(problems).toEqual([])
    const batch = recognizeMcp(inspected(`[${call('a')},${message('ping')},${call('b')}]`).read)
    expect(methodRates(mcp, batch)).toEqual([rate, rate])
    expect(methodRates(mcp, recognizeMcp(inspected('{"jsonrpc":"2.0","id":1,"result":{}}').read))).toEqual([])
  })

  it('are none without messages, and without rates', () => {
    const one = recognizeMcp(inspected(call('a')).read)
    expect([methodRates(mcp, null), methodRates(null, one), methodRates(compiled({ tools: ['*'] }).mcp, one)]).toEqual([
      [],
      [],
      [],
    ])
  })
})

describe('what is recorded', () => {
  it.each([
    ['a call', call('a'), [{ method: 'tools/call', tool: 'a', resources: [], id: '1' }]],
    [
      'one that is refused for a member',
      '{"method":"ping","x":1}',
      [{ method: 'ping', tool: null, resources: [], id: null }],
    ],
    ['of a batch the messages', `[1,${call('a')}]`, [{ method: 'tools/call', tool: 'a', resources: [], id: '1' }]],
    ['other JSON', '{"a":1}', null],
    ['no JSON', '{', null],
  ])('%s', (_, text, messages) => {
    expect(recognizeMcp(inspected(text).read)).toEqual(messages)
  })

  it('nothing of a form', () => {
    expect(recognizeMcp(inspected('method=ping', 'application/x-www-form-urlencoded').read)).toBeNull()
  })
})

const anyCall = fc.constantFrom(
  call('a'),
  call('b'),
  read('a:1'),
  read('b:1'),
  message('ping'),
  '{}',
  '7',
  listen('a:1'),
)

it('a batch is allowed exactly when each of its messages is', () => {
  fc.assert(
    fc.property(fc.array(anyCall, { minLength: 1, maxLength: 6 }), (calls) => {
      const spec = { tools: ['a'], resources: ['a:*'] }
      const each = calls.every((text) => judge(spec, text) === null)
      expect(judge(spec, `[${calls.join(',')}]`) === null).toBe(each)
    }),
  )
})
