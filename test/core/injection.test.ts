import { describe, expect, it } from 'vitest'
import {
  type BodyForm,
  compileInjections,
  INJECTABLE,
  type InjectionPolicy,
  type InjectionSpec,
  isRecipient,
  PLACEHOLDER,
  type Recipient,
  soughtForm,
} from '../../src/core/injection.ts'

const SPEC: InjectionSpec = {
  placeholder: 'GITHUB_TOKEN_PLACEHOLDER',
  value: 'the-real-value',
  hosts: ['api.github.com'],
  in: ['header', 'query', 'body'],
  headers: null,
  clients: null,
}
const RECIPIENT: Recipient = {
  client: 'github-mcp',
  scheme: 'https',
  method: 'POST',
  host: { kind: 'name', text: 'api.github.com' },
}

function compiled(...specs: InjectionSpec[]): InjectionPolicy {
  const policy = compileInjections(specs)
  if (policy === null) throw new Error('there are none')
  return policy
}

function isFor(spec: Partial<InjectionSpec>, recipient: Partial<Recipient>): boolean {
  const [injection] = compiled({ ...SPEC, ...spec }).injections
  if (injection === undefined) throw new Error('there is none')
  return isRecipient(injection, { ...RECIPIENT, ...recipient })
}

const to = (text: string): Partial<Recipient> => ({ host: { kind: 'name', text } })

describe('a placeholder', () => {
  it.each<[string, string, boolean]>([
    ['of letters, digits, hyphens and underscores', 'sk-ant_PLACE-holder-0000', true],
    ['of 16 characters', 'A'.repeat(16), true],
    ['of 15 characters is too short', 'A'.repeat(15), false],
    ['of 128 characters', 'A'.repeat(128), true],
    ['of 129 characters is too long', 'A'.repeat(129), false],
    ['with a dot would mean something in a pattern', 'GITHUB.TOKEN.PLACEHOLDER', false],
    ['with a percent would be an escape', 'GITHUB%41TOKEN_PLACEHOLDER', false],
    ['with a line break behind it', `${'A'.repeat(16)}\n`, false],
  ])('%s', (_case, text, isOne) => expect(PLACEHOLDER.test(text)).toBe(isOne))
})

describe('a value that can be put in', () => {
  it.each<[string, string, boolean]>([
    ['printable ASCII', 'p"a\\s&=s%', true],
    ['with blanks inside', 'correct horse battery', true],
    ['with a blank before it', ' correct-horse', false],
    ['with a blank behind it', 'correct-horse ', false],
    ['with a line break', 'correct\r\nX-Evil: 1', false],
    ['with a line break behind it', 'correct-horse\n', false],
    ['with a NUL', 'correct\0horse', false],
    ['with a tab', 'correct\thorse', false],
    ['with a letter that is not ASCII', 'côrrect-horse', false],
    ['empty', '', false],
  ])('%s', (_case, text, isOne) => expect(INJECTABLE.test(text)).toBe(isOne))
})

describe('whom a secret is for', () => {
  it('is asked of nobody where there are none', () => expect(compileInjections([])).toBeNull())

  it.each<[string, Partial<InjectionSpec>, Partial<Recipient>, boolean]>([
    ['the host that is named', {}, {}, true],
    ['no other one', {}, to('evil.test'), false],
    ['none that only ends so', {}, to('evil-api.github.com'), false],
    ['none below it', {}, to('x.api.github.com'), false],
    ['those of a pattern', { hosts: ['**.github.com'] }, to('github.com'), true],
    ['one of several', { hosts: ['a.test', 'b.test'] }, to('b.test'), true],
    ['none by a pattern that opens everything', { hosts: ['*'] }, {}, false],
    ['none by a pattern over a public suffix', { hosts: ['**.com'] }, {}, false],
    ['an address that is named', { hosts: ['203.0.113.7'] }, { host: { kind: 'ipv4', text: '203.0.113.7' } }, true],
    ['a client that is named', { clients: ['a', 'github-mcp'] }, {}, true],
    ['no other client', { clients: ['a'] }, {}, false],
    ['nobody whose request would come back', {}, { method: 'TRACE' }, false],
    ['nor in another case', {}, { method: 'tRACE' }, false],
    ['the same over plain HTTP, which is told apart later', {}, { scheme: 'http' }, true],
  ])('%s', (_case, spec, recipient, expected) => expect(isFor(spec, recipient)).toBe(expected))
})

describe('which fields', () => {
  const isField = (headers: readonly string[] | null, name: string): boolean | undefined =>
    compiled({ ...SPEC, headers }).injections[0]?.isField(name)

  it.each<[string, boolean]>([
    ['Authorization', true],
    ['x-api-key', true],
    ['X-Postmark-Server-Token', true],
    ['PRIVATE-TOKEN', true],
    ['Cookie', true],
    // Origins repeat these in their answers.
    ['Idempotency-Key', false],
    ['X-Request-Id', false],
    ['Origin', false],
    ['Access-Control-Request-Headers', false],
    ['Sec-WebSocket-Protocol', false],
    ['User-Agent', false],
  ])('named like credentials: %s is %s', (name, expected) => expect(isField(null, name)).toBe(expected))

  it('those that are named, in any case, and no other', () => {
    expect(isField(['DD-Application'], 'dd-APPLICATION')).toBe(true)
    expect(isField(['DD-Application'], 'Authorization')).toBe(false)
  })
})

describe('the body', () => {
  const form = (spec: Partial<InjectionSpec>, ...headers: string[]): BodyForm | null =>
    soughtForm(compiled({ ...SPEC, ...spec }), RECIPIENT, headers)
  const type = (value: string): [string, string] => ['Content-Type', value]

  it.each<[string, string, BodyForm | null]>([
    ['JSON', 'application/json', 'json'],
    ['JSON with a charset', 'Application/JSON; charset=utf-8', 'json'],
    ['JSON of a kind', 'application/vnd.github+json', 'json'],
    ['a form', 'application/x-www-form-urlencoded', 'form'],
    ['text', 'text/plain', 'text'],
    ['XML as text', 'text/xml', 'text'],
    ['form data', 'multipart/form-data; boundary=x', null],
    ['gRPC', 'application/grpc', null],
    ['anything else', 'application/octet-stream', null],
    ['what is no type', 'json', null],
  ])('%s', (_case, value, expected) => expect(form({}, ...type(value))).toBe(expected))

  it('without a type, or with two, is not looked through', () => {
    expect(form({})).toBeNull()
    expect(form({}, ...type('application/json'), ...type('text/plain'))).toBeNull()
  })

  it.each<[string, string, BodyForm | null]>([
    ['is not looked through', 'gzip', null],
    ['that is none is', ' Identity ', 'json'],
  ])('with a coding %s', (_case, coding, expected) => {
    expect(form({}, ...type('application/json'), 'Content-Encoding', coding)).toBe(expected)
  })

  it('is looked through only where a secret could be put into it', () => {
    expect(form({ in: ['header', 'query'] }, ...type('application/json'))).toBeNull()
    expect(form({ clients: ['a'] }, ...type('application/json'))).toBeNull()
  })
})
