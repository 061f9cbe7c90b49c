import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Authority, parseAuthority } from '../../src/core/address.ts'
import { frameRequest } from '../../src/core/framing.ts'
import type { RequestHead } from '../../src/core/http1.ts'
import { type ConnectionNames, readSubject } from '../../src/core/subject.ts'

const authority = (text: string): Authority => {
  const parsed = parseAuthority(text, 443)
  if (parsed === null) throw new Error(text)
  return parsed
}

const TLS: ConnectionNames = { scheme: 'https', expected: authority('api.allowed.test'), port: 443, absolute: false }
const TLS_8443: ConnectionNames = { ...TLS, expected: authority('api.allowed.test:8443'), port: 8443 }
const PLAIN: ConnectionNames = { scheme: 'http', expected: null, port: 80, absolute: false }
const PROXY: ConnectionNames = { scheme: 'http', expected: null, port: null, absolute: true }

function read(
  names: ConnectionNames,
  target: string,
  headers: string[],
  method = 'GET',
): ReturnType<typeof readSubject> {
  const head: RequestHead = { method, target, version: '1.1', headers }
  return readSubject(names, head, frameRequest(head))
}

describe('one name', () => {
  it.each<[string, ConnectionNames, string, string]>([
    ['Host is what SNI said', TLS, '/p', 'api.allowed.test'],
    ['Host in another case and with a trailing dot', TLS, '/p', 'API.Allowed.Test.'],
    ['Host with the default port spelled out', TLS, '/p', 'api.allowed.test:443'],
    ['Host with the port that was connected to', TLS_8443, '/p', 'api.allowed.test:8443'],
    ['an absolute URL that says the same as everything else', TLS, 'https://api.allowed.test/p', 'api.allowed.test'],
    ['a proxy request', PROXY, 'http://api.allowed.test/p', 'api.allowed.test'],
    ['a proxy request to a port', PROXY, 'http://api.allowed.test:8080/p', 'api.allowed.test:8080'],
    ['a plain redirected request', PLAIN, '/p', 'api.allowed.test'],
  ])('accepts: %s', (_name, names, target, host) => {
    const result = read(names, target, ['Host', host])
    expect(result).toMatchObject({
      kind: 'subject',
      subject: { host: { text: 'api.allowed.test' }, path: '/p', target: '/p' },
    })
  })

  it.each<[string, ConnectionNames, string, string, string]>([
    ['[A01] Host is not SNI (domain fronting)', TLS, '/', 'evil.test', 'identity_mismatch'],
    ['[A08] a proxy URL and Host differ', PROXY, 'http://evil.test/p', 'api.allowed.test', 'identity_mismatch'],
    [
      '[A09] an absolute URL inside TLS names another host',
      TLS,
      'https://evil.test/',
      'api.allowed.test',
      'identity_mismatch',
    ],
    [
      'an absolute URL inside TLS says http',
      TLS,
      'http://api.allowed.test:443/',
      'api.allowed.test',
      'identity_mismatch',
    ],
    ['[A15] Host names another port', TLS, '/', 'api.allowed.test:8443', 'identity_mismatch'],
    ['[A15] Host leaves out the port of a non-default tunnel', TLS_8443, '/', 'api.allowed.test', 'identity_mismatch'],
    [
      'a plain request to a port that Host does not name',
      { ...PLAIN, port: 8080 },
      '/',
      'api.allowed.test',
      'identity_mismatch',
    ],
    ['[A13] userinfo in Host', TLS, '/', 'api.allowed.test@evil.test', 'host_not_canonical'],
    ['[A13] a list in Host', TLS, '/', 'api.allowed.test, evil.test', 'host_not_canonical'],
    ['[A13] two ports in Host', TLS, '/', 'api.allowed.test:443:80', 'host_not_canonical'],
    ['[D26] userinfo in a proxy URL', PROXY, 'http://api.allowed.test@evil.test/', 'evil.test', 'host_not_canonical'],
    ['[D28] https over the plain proxy port', PROXY, 'https://api.allowed.test/', 'api.allowed.test', 'malformed'],
    ['[D28] another scheme', PROXY, 'ftp://api.allowed.test/', 'api.allowed.test', 'malformed'],
    ['a request to the proxy itself', PROXY, '/', 'api.allowed.test', 'malformed'],
    ['[D01] dot segments', TLS, '/public/../secret', 'api.allowed.test', 'path_not_canonical'],
    ['[D18] asterisk with GET', TLS, '*', 'api.allowed.test', 'malformed'],
  ])('refuses: %s', (_name, names, target, host, reason) => {
    expect(read(names, target, ['Host', host])).toMatchObject({ kind: 'refused', reason })
  })

  it('[A11] refuses two Host headers with what is known of them', () => {
    const result = read(TLS, '/p?q=1', ['Host', 'api.allowed.test', 'Host', 'evil.test'])
    expect(result).toMatchObject({
      kind: 'refused',
      reason: 'malformed',
      facts: { method: 'GET', host: 'api.allowed.test', port: 443, path: '/p', query: 'q=1', hostHeader: null },
    })
  })

  it('keeps every name that disagrees for the record', () => {
    const result = read(PROXY, 'http://evil.test/p', ['Host', 'api.allowed.test'])
    expect(result.facts).toMatchObject({ host: 'evil.test', hostHeader: 'api.allowed.test', url: 'evil.test' })
  })

  it('keeps an ambiguous path as it was spelled, and none where the target has none', () => {
    expect(read(TLS, '/a/../b?x', ['Host', 'api.allowed.test']).facts).toMatchObject({ path: '/a/../b', query: null })
    expect(read(PROXY, 'http://api.allowed.test/a//b?x', ['Host', 'api.allowed.test']).facts.path).toBe('/a//b')
    expect(read(PROXY, 'gopher://api.allowed.test', ['Host', 'api.allowed.test']).facts.path).toBeNull()
    expect(read(PROXY, 'gopher:x', ['Host', 'api.allowed.test']).facts.path).toBeNull()
    expect(read({ ...PLAIN, port: 81 }, '/', ['Host', '@']).facts).toMatchObject({ host: null, port: 81 })
  })
})

describe('the rest of the subject', () => {
  it('carries the original spelling for sending and the canonical one for matching', () => {
    const result = read(TLS, '/secre%74?a=%2F', ['Host', 'api.allowed.test'])
    expect(result).toMatchObject({ subject: { path: '/secret', target: '/secre%74?a=%2F' } })
  })

  it('takes OPTIONS * for the origin itself', () => {
    const result = read(TLS, '*', ['Host', 'api.allowed.test'], 'OPTIONS')
    expect(result).toMatchObject({ kind: 'subject', subject: { path: '*', target: '*' }, facts: { path: '*' } })
  })

  it.each([
    ['websocket', 'websocket'],
    ['h2c', 'h2c'],
    ['TLS/1.2', 'tls/1.2'],
    ['h2c, websocket', 'h2c'],
    ['websocket, connect-udp', 'connect-udp'],
    ['foo', 'foo'],
  ])('upgrade %s is judged as %s', (value, expected) => {
    const result = read(TLS, '/', ['Host', 'api.allowed.test', 'Connection', 'Upgrade', 'Upgrade', value])
    expect(result).toMatchObject({ kind: 'subject', subject: { upgrade: expected } })
  })

  it('[D19] names the headers that override method or path', () => {
    const result = read(TLS, '/', ['Host', 'api.allowed.test', 'X-HTTP-Method-Override', 'DELETE'])
    expect(result.kind === 'subject' && result.subject.overrideHeaders).toHaveLength(1)
  })
})

describe('a Host that spells what the connection was opened for', () => {
  it.each([
    ['an IPv4 address', '203.0.113.7', '203.0.113.7'],
    ['an IPv6 address', '[2001:db8::1]', '2001:db8::1'],
  ])('may be %s', (_, host, text) => {
    const result = read({ ...TLS, expected: authority(host) }, '/', ['Host', host])
    expect(result).toMatchObject({ kind: 'subject', subject: { host: { text }, port: 443 } })
  })

  it('is no IPv6 address without its brackets', () => {
    const names = { ...TLS, expected: authority('[2001:db8::1]') }
    expect(read(names, '/', ['Host', '2001:db8::1'])).toMatchObject({ kind: 'refused', reason: 'host_not_canonical' })
  })

  it('is read as any other', () => {
    const host = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV6().map((text) => `[${text}]`),
    )
    const spelled = fc.tuple(host, fc.constantFrom('', ':443', ':8443', '.')).map(([text, end]) => text + end)
    fc.assert(
      fc.property(spelled, spelled, fc.boolean(), (opened, other, same) => {
        const expected = parseAuthority(opened, 443)
        fc.pre(expected !== null)
        const value = same ? expected.host.text : other
        const result = read({ ...TLS, expected }, '/', ['Host', value])
        const parsed = parseAuthority(value, 443)
        const agrees = parsed !== null && parsed.port === expected.port && parsed.host.text === expected.host.text
        expect(result.kind === 'subject' ? { host: result.subject.host, port: result.subject.port } : null).toEqual(
          agrees ? parsed : null,
        )
      }),
      { numRuns: 2000 },
    )
  })
})

describe('properties', () => {
  it('no Host but the bound one ever becomes a subject', () => {
    const hosts = fc.oneof(fc.domain(), fc.string(), fc.ipV4(), fc.ipV6())
    const bound = fc.property(hosts, (host) => {
      const result = read(TLS, '/', ['Host', host])
      return result.kind === 'refused' || result.subject.host.text === 'api.allowed.test'
    })
    expect(fc.check(bound).failed).toBe(false)
  })
})
