import { describe, expect, it } from 'vitest'
import { compileSecrets, type Guard, guardFor } from '../../src/core/secret.ts'
import { leakInCoding, leakInFields, leakInHead } from '../../src/core/secret-head.ts'

// Put together at run time: no scanner of this repository should take the samples for real.
const TOKEN = ['gh', 'p_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')
const SECRET = 'Correct-Horse-42'
const NPM = ['np', 'm_', 'aB3dE5fG7hI9jK1lM3nO5pQ7rS9tU1vW3xY5'].join('')

const guard = guardFor(
  compileSecrets([
    { name: 'github_token', value: null, onlyTo: ['home.test'] },
    { name: 'npm_token', value: null, onlyTo: ['away.test'] },
    { name: 'private_key', value: null, onlyTo: [] },
    { name: 'db', value: SECRET, onlyTo: [] },
  ]),
  { kind: 'name', text: 'away.test' },
) as Guard

interface Said {
  readonly method?: string
  readonly target?: string
  readonly host?: string
  readonly headers?: readonly string[]
}

const seen = ({ method = 'GET', target = '/', host = 'away.test', headers = [] }: Said): string | null =>
  leakInHead({ method, target, version: '1.1', headers }, host, guard)?.name ?? null
const hex = (text: string): string => Buffer.from(text).toString('hex')

describe('the head of a request', () => {
  it.each<[string, Said]>([
    ['its method', { method: TOKEN }],
    ['its path', { target: `/a/${TOKEN}/b` }],
    ['its query', { target: `/?q=${TOKEN}` }],
    ['its query, escaped', { target: `/?q=%67${TOKEN.slice(1)}` }],
    ['the value of a field', { headers: ['X-Note', TOKEN] }],
    ['credentials', { headers: ['Authorization', `Basic ${Buffer.from(`x:${TOKEN}`).toString('base64')}`] }],
    ['the name of a field', { headers: [`X-${TOKEN}`, '1'] }],
    ['the name of a field in lower case', { headers: [`x-${TOKEN.toLowerCase()}`, '1'] }],
    ['the host', { host: `${TOKEN.toLowerCase()}.away.test` }],
    ['the host in hexadecimal digits', { host: `${hex(TOKEN).slice(0, 60)}.${hex(TOKEN).slice(60)}.away.test` }],
  ])('with a token in %s', (_case, said) => {
    expect(seen(said)).toBe('github_token')
  })

  it.each<[string, Said]>([
    ['a field', { headers: ['X-Note', SECRET] }],
    ['the name of a field in lower case', { headers: [SECRET.toLowerCase(), '1'] }],
    ['the host', { host: `${SECRET.toLowerCase()}.away.test` }],
    ['the host, spread over labels', { host: `correct-.horse-42.away.test` }],
    ['the host in hexadecimal digits', { host: `${hex(SECRET)}.away.test` }],
  ])('with a value in %s', (_case, said) => {
    expect(seen(said)).toBe('db')
  })

  it.each<[string, Said]>([
    ['ordinary', { headers: ['Accept', '*/*', 'Cookie', 'a=b; c=d'] }],
    ['with what only the proxy reads', { headers: ['Proxy-Authorization', `Bearer ${TOKEN}`] }],
    ['with a token that belongs there', { headers: [NPM, NPM], host: `${NPM.toLowerCase()}.away.test` }],
    ['with a name that only looks like a token', { host: 'asiapacificsoutheast.away.test' }],
    ['with a token over two fields', { headers: ['a', TOKEN.slice(0, 15), 'b', TOKEN.slice(15)] }],
  ])('%s', (_case, said) => {
    expect(seen(said)).toBeNull()
  })

  it('trailers are fields alone', () => {
    expect(leakInFields(['X-Note', TOKEN], guard)).toMatchObject({ name: 'github_token' })
    expect(leakInFields(['X-Note', 'x'], guard)).toBeNull()
  })
})

describe('a body that is packed in its own way', () => {
  it.each<[string, readonly string[], string | null]>([
    ['messages of gRPC', ['Grpc-Encoding', 'gzip'], 'grpc-encoding'],
    ['messages of Connect', ['connect-content-encoding', 'br'], 'connect-content-encoding'],
    ['messages that say that they are not', ['grpc-encoding', 'identity'], null],
    ['one of several', ['grpc-encoding', 'identity', 'grpc-encoding', 'gzip'], 'grpc-encoding'],
    ['what would be accepted', ['grpc-accept-encoding', 'gzip'], null],
  ])('%s', (_case, headers, name) => {
    const hint = `it could hold a secret that may not go there: its messages are packed (${name})`
    expect(leakInCoding(headers)).toEqual(name === null ? null : { name: 'unreadable', hint })
  })
})
