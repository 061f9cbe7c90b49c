import { describe, expect, it } from 'vitest'
import { frameRequest, type RequestFraming } from '../../src/core/framing.ts'
import { acceptOf, type Handshake, readHandshake, readSwitch } from '../../src/core/websocket.ts'

/** RFC 6455 §1.3. */
const KEY = 'dGhlIHNhbXBsZSBub25jZQ=='
const ACCEPT = 's3pPLMBiTxaQ9kYGzzhZRbK+xOo='

type Fields = Readonly<Record<string, string | readonly string[] | null>>

const ASKED: Fields = {
  Host: 'a.test',
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Key': KEY,
  'Sec-WebSocket-Version': '13',
}

/** A list of several values makes several fields, null leaves one out. */
function flat(fields: Fields): string[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    const values = value === null ? [] : typeof value === 'string' ? [value] : value
    return values.flatMap((one) => [name, one])
  })
}

function read(fields: Fields = {}, method = 'GET'): ReturnType<typeof readHandshake> {
  const head = { method, target: '/', version: '1.1' as const, headers: flat({ ...ASKED, ...fields }) }
  return readHandshake(head, frameRequest(head) as RequestFraming & { kind: 'ok' })
}

describe('readHandshake', () => {
  it('reads the key', () => {
    expect(read()).toEqual({ kind: 'ok', handshake: { key: KEY, protocols: [], extensions: [] } })
  })

  it.each<[string, string | string[], string[]]>([
    ['one', 'chat', ['chat']],
    ['several, as they are written', 'graphql-ws,  Chat', ['graphql-ws', 'Chat']],
    ['several fields', ['a', 'b, c'], ['a', 'b', 'c']],
    ['none in an empty field', '', []],
    ['as many as are taken', Array.from({ length: 64 }, () => 'a').join(','), Array.from({ length: 64 }, () => 'a')],
  ])('reads the subprotocols: %s', (_name, value, protocols) => {
    expect(read({ 'Sec-WebSocket-Protocol': value })).toMatchObject({ handshake: { protocols } })
  })

  it.each<[string, string | string[], string[]]>([
    ['alone', 'permessage-deflate', ['permessage-deflate']],
    [
      'with parameters',
      'permessage-deflate; client_max_window_bits ;server_max_window_bits=10',
      ['permessage-deflate'],
    ],
    ['a quoted value', 'x; a="b"', ['x']],
    ['several offers', ['x; a=1, y', 'x'], ['x', 'y', 'x']],
  ])('reads the names of the extensions: %s', (_name, value, extensions) => {
    expect(read({ 'Sec-WebSocket-Extensions': value })).toMatchObject({ handshake: { extensions } })
  })

  it.each<[string, string, Fields, string?]>([
    ['another method', 'WEBSOCKET_METHOD', {}, 'POST'],
    ['a body', 'WEBSOCKET_BODY', { 'Content-Length': '2' }],
    ['an empty body', 'WEBSOCKET_BODY', { 'Content-Length': '0' }],
    ['[G08] no version', 'WEBSOCKET_VERSION', { 'Sec-WebSocket-Version': null }],
    ['[G08] another version', 'WEBSOCKET_VERSION', { 'Sec-WebSocket-Version': '1337' }],
    ['two versions in one field', 'WEBSOCKET_VERSION', { 'Sec-WebSocket-Version': '13, 8' }],
    ['two versions', 'WEBSOCKET_VERSION', { 'Sec-WebSocket-Version': ['13', '13'] }],
    ['no key', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': null }],
    ['an empty key', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': '' }],
    ['two keys', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': [KEY, KEY] }],
    ['a key of 15 bytes', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25j' }],
    ['a key of 17 bytes', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZWE=' }],
    ['a key with bits behind its end', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZR==' }],
    ['a key that is no base64', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25j_Q==' }],
    ['a key in a line of its own', 'WEBSOCKET_KEY', { 'Sec-WebSocket-Key': `${KEY}\n` }],
    ['a subprotocol that is no token', 'WEBSOCKET_PROTOCOL', { 'Sec-WebSocket-Protocol': 'a, b c' }],
    ['too many subprotocols', 'WEBSOCKET_PROTOCOL', { 'Sec-WebSocket-Protocol': 'a,'.repeat(65) }],
    ['an extension that is no token', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'per message' }],
    ['an extension without a name', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': ';a' }],
    ['a parameter without a name', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x; =1' }],
    ['a parameter without a value', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x; a=' }],
    ['a quoted value that is no token', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x; a="b;c"' }],
    ['an empty quoted value', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x; a=""' }],
    ['a quote that is not closed', 'WEBSOCKET_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x; a="b' }],
  ])('refuses %s', (_name, code, fields, method) => {
    expect(read(fields, method)).toEqual({ kind: 'bad', code })
  })
})

it('the answer to a key is that of RFC 6455', () => {
  expect(acceptOf(KEY)).toBe(ACCEPT)
})

const ANSWER: Fields = { Upgrade: 'websocket', Connection: 'Upgrade', 'Sec-WebSocket-Accept': ACCEPT }

function judge(fields: Fields = {}, asked: Partial<Handshake> = {}, version: '1.0' | '1.1' = '1.1'): unknown {
  const handshake = { key: KEY, protocols: [], extensions: [], ...asked }
  return readSwitch(handshake, { status: 101, statusText: '', version, headers: flat({ ...ANSWER, ...fields }) })
}

const EXTENSIONS = { extensions: ['permessage-deflate', 'x-mine'] }

describe('readSwitch', () => {
  it.each<[string, Fields, Partial<Handshake>, string, string | null]>([
    ['nothing more', {}, {}, 'none', null],
    ['names in another case', { Upgrade: 'WebSocket', Connection: 'keep-alive, upgrade' }, {}, 'none', null],
    ['a subprotocol', { 'Sec-WebSocket-Protocol': 'b' }, { protocols: ['a', 'b'] }, 'none', null],
    ['no subprotocol', {}, { protocols: ['a'] }, 'none', null],
    ['no extension', {}, EXTENSIONS, 'none', null],
    ['no extension in an empty field', { 'Sec-WebSocket-Extensions': '' }, {}, 'none', null],
    [
      'compression',
      { 'Sec-WebSocket-Extensions': 'permessage-deflate; server_no_context_takeover' },
      EXTENSIONS,
      'deflate',
      'permessage-deflate',
    ],
    ['an extension that we do not know', { 'Sec-WebSocket-Extensions': 'x-mine' }, EXTENSIONS, 'any', 'x-mine'],
    [
      'one that we do not know beside compression',
      { 'Sec-WebSocket-Extensions': ['permessage-deflate', 'x-mine'] },
      EXTENSIONS,
      'any',
      'permessage-deflate',
    ],
  ])('accepts %s', (_name, fields, asked, reserved, extension) => {
    expect(judge(fields, asked)).toEqual({ kind: 'ok', reserved, extension })
  })

  it.each<[string, string, Fields, Partial<Handshake>?]>([
    ['no Upgrade', 'SWITCH_UPGRADE', { Upgrade: null }],
    ['another protocol', 'SWITCH_UPGRADE', { Upgrade: 'h2c' }],
    ['two of them', 'SWITCH_UPGRADE', { Upgrade: 'websocket, h2c' }],
    ['two Upgrade fields', 'SWITCH_UPGRADE', { Upgrade: ['websocket', 'websocket'] }],
    ['no Connection', 'SWITCH_CONNECTION', { Connection: null }],
    ['a Connection without upgrade', 'SWITCH_CONNECTION', { Connection: 'keep-alive' }],
    ['a Connection that is no list of tokens', 'SWITCH_CONNECTION', { Connection: 'upgrade, a b' }],
    ['no accept', 'SWITCH_ACCEPT', { 'Sec-WebSocket-Accept': null }],
    ['an accept for another key', 'SWITCH_ACCEPT', { 'Sec-WebSocket-Accept': acceptOf(`${KEY} `) }],
    ['two accepts', 'SWITCH_ACCEPT', { 'Sec-WebSocket-Accept': [ACCEPT, ACCEPT] }],
    ['a subprotocol that nobody asked for', 'SWITCH_PROTOCOL', { 'Sec-WebSocket-Protocol': 'a' }],
    ['one in another case', 'SWITCH_PROTOCOL', { 'Sec-WebSocket-Protocol': 'A' }, { protocols: ['a'] }],
    ['two of those asked for', 'SWITCH_PROTOCOL', { 'Sec-WebSocket-Protocol': ['a', 'b'] }, { protocols: ['a', 'b'] }],
    ['an empty one', 'SWITCH_PROTOCOL', { 'Sec-WebSocket-Protocol': '' }, { protocols: ['a'] }],
    ['an extension that nobody offered', 'SWITCH_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'permessage-deflate' }],
    ['one more than was offered', 'SWITCH_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x-mine, y' }, EXTENSIONS],
    ['one that can not be read', 'SWITCH_EXTENSIONS', { 'Sec-WebSocket-Extensions': 'x-mine; a="' }, EXTENSIONS],
  ])('[G08] refuses %s', (_name, code, fields, asked) => {
    expect(judge(fields, asked)).toEqual({ kind: 'bad', code })
  })

  it('[G08] refuses a 101 of HTTP/1.0', () => {
    expect(judge({}, {}, '1.0')).toEqual({ kind: 'bad', code: 'SWITCH_VERSION' })
  })
})
