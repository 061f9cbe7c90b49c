import { describe, expect, it } from 'vitest'
import {
  type Context,
  findElements,
  findMembers,
  findParameters,
  secretHeaders,
  secretParameters,
} from '../../src/core/redact-names.ts'

const isSecret = secretParameters(['Tenant-Pin'])

function found(text: string, context: Context = 'text'): string[] {
  const places: string[] = []
  const add = (start: number, end: number): void => void places.push(text.slice(start, end))
  findParameters(text, context, isSecret, add)
  findMembers(text, context, isSecret, add)
  if (context === 'text') findElements(text, isSecret, add)
  return places
}

describe('names', () => {
  it.each([
    'token',
    'X-Amz-Security-Token',
    'client_secret',
    'PASSWORD',
    'awsSecretAccessKey',
    'tenant-pin',
    'user[password][0]',
    'auth.token',
    'cookie',
    'authorization',
  ])('secret: %s', (name) => {
    expect(isSecret(name)).toBe(true)
  })

  it.each(['', 'tokens', 'author', 'monkey', 'name', 'a.b', 'sec-websocket-key', 'idempotency-key'])(
    'not secret: %j',
    (name) => {
      expect(isSecret(name)).toBe(false)
    },
  )

  const keys = 'api access private secret auth subscription account encryption signing'.split(' ')
  it.each([
    ...'token secret passwd password passphrase signature credential credentials authorization'.split(' '),
    ...keys.flatMap((key) => [`${key}key`, `${key}-key`, `${key}_key`]),
    'sessionid',
    'session-id',
    'session_id',
  ])('secret, whatever stands in front: %s', (ending) => {
    expect([ending, `my-${ending}`, `My${ending.toUpperCase()}`, `a[b_${ending}]`].map(isSecret)).toEqual([
      true,
      true,
      true,
      true,
    ])
    expect(isSecret(`${ending}x`)).toBe(false)
  })

  it('header fields have some of their own', () => {
    const isSecretHeader = secretHeaders(['X-Door-Code'])
    expect(['x-auth', 'X-Door-Code', 'x-api-key', 'X-Postmark-Server-Token'].every(isSecretHeader)).toBe(true)
    expect(isSecret('x-door-code')).toBe(false)
  })
})

describe('parameters', () => {
  it.each<[string, Context, string, string[]]>([
    ['in a query, to the next parameter', 'query', 'a=1&token=x;y z&b=2', ['x;y z']],
    ['in a path, to the next segment', 'path', '/a;token=x/b', ['x']],
    ['in a text, to the next word', 'text', 'a token=x b', ['x']],
    ['in quotes', 'text', 'password="two words" x', ['two words']],
    ['in the other quotes', 'text', "password='two words' x", ['two words']],
    ['in quotes that are never closed', 'text', 'password="two words', ['two words']],
    ['in the quotes of a string within a string', 'text', '{"a":"password=\\"two words\\" x"}', ['two words']],
    ['of a name too long to be read whole', 'query', `${'a'.repeat(80)}token=x`, ['x']],
    ['quotes are nothing in a query', 'query', 'token="a b"&c=d', ['"a b"']],
  ])('%s', (_case, context, text, values) => {
    expect(found(text, context)).toEqual(values)
  })
})

describe('parts of a form (RFC 7578)', () => {
  const part = (name: string, value: string): string =>
    `--b\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n--b--`

  it('the value of a part that is named like a secret', () => {
    expect(found(part('password', 'two\r\nlines'))).toEqual(['two\r\nlines\r'])
    expect(found(part('title', 'two\r\nlines'))).toEqual([])
    expect(found(part('token', 'a=b&c').replace('\r\n--b--', ''))).toEqual(['a=b&c'])
  })

  it('a head without an end, or a name that is none, is no part', () => {
    expect(found('form-data; name="password"\r\nX: y')).toEqual([])
    expect(found(`form-data; name="${'a'.repeat(70)}token"\r\n\r\nx`)).toEqual([])
  })
})

describe('members', () => {
  it.each<[string, Context, string, string[]]>([
    ['of JSON', 'text', '{"password":"x","n":1}', ['x']],
    ['of JSON with white space', 'text', '{"password" : \n\t"x y" }', ['x y']],
    ['of JSON in a path', 'path', '/{"password":"x"}', ['x']],
    ['with an escaped quote', 'text', '{"secret": "a\\"b\'c", "n":1}', ['a\\"b\'c']],
    ['with a backslash at the end', 'text', '{"secret": "a\\\\", "n":"token"}', ['a\\\\']],
    ['a number', 'text', '{"secret":1234}', ['1234']],
    ['a list', 'text', '{"tokens":1,"token":["a","b]",["c"]],"n":1}', ['["a","b]",["c"]]']],
    ['an object', 'text', '{"credentials":{"user":"a","x":{}},"n":1}', ['{"user":"a","x":{}}']],
    ['a list that is cut', 'text', '{"token":["a","b', ['["a","b']],
    ['an unfinished value', 'text', '{"secret":"ab\\', ['ab\\']],
    ['of JSON within JSON', 'text', '{"text":"{\\"token\\": \\"a b\\", \\"n\\":1}"}', ['a b']],
    ['of it, with a quote inside', 'text', '{"text":"{\\"token\\":\\"a\\\\\\"b\\",\\"n\\":1}"}', ['a\\\\\\"b']],
    ['of it, with a backslash at the end', 'text', '{"t":"{\\"token\\":\\"a\\\\\\\\\\",\\"n\\":1}"}', ['a\\\\\\\\']],
    ['of a dictionary of Python', 'text', "{'token': 'a b', 'n': 1}", ['a b']],
    ['a header line', 'text', 'X: y\nAuthorization: Digest a=b, c=d\r\nZ: y', ['Digest a=b, c=d']],
    ['a header line without a space', 'text', 'X-Api-Key:abc', ['abc']],
    ['a header line with a space too many', 'text', 'X-Api-Key : abc', ['abc']],
    ['no line of a path', 'path', 'token:abc', []],
    ['no line in the middle of one', 'text', 'say token: abc', []],
    ['another member', 'text', '{"name": "token"}', []],
  ])('%s', (_case, context, text, values) => {
    expect(found(text, context)).toEqual(values)
  })
})

describe('elements', () => {
  it.each([
    ['<SecretAccessKey>abc/d</SecretAccessKey><Name>x</Name>', ['abc/d']],
    ['<password>cut here', ['cut here']],
    ['a > b', []],
    ['token>x<', []],
  ])('%s', (text, values) => {
    expect(found(text)).toEqual(values)
  })
})

describe('time', () => {
  it.each([
    'name="password"\n\n',
    'name="',
    "name='",
    'name=\\"',
    'token=\\"',
    '"key":[',
    '"key":{"',
    '"key" : ',
    '\\"',
    '<key>',
    'key=\\\\\\"',
  ])('half a megabyte of %s is searched in time that grows with it', (part) => {
    expect(found(part.repeat(524_288 / part.length)).length).toBeLessThanOrEqual(524_288)
  })
})
