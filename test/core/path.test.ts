import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAbsoluteForm, parseOriginForm, type Target } from '../../src/core/path.ts'

const ok = (target: string, path: string, query: string | null = null): Target => ({
  kind: 'ok',
  path,
  encodedSlash: false,
  target,
  query,
})
const bad = (reason: string): object => ({ kind: 'bad', reason, why: expect.any(String) as string })

describe('a path that is canonical as it stands', () => {
  it('is read as one that is not, and so is what only looks like it', () => {
    const piece = fc.constantFrom(
      '/',
      'b',
      '.',
      '..',
      '~',
      '%',
      '%2F',
      '%2e',
      '%zz',
      ';',
      '\\',
      '?',
      '#',
      ' ',
      '\0',
      '\x7f',
      '\xe9',
      '{',
      '"',
      '@:',
      '\u0141',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 6 }), (pieces) => {
        const rest = pieces.join('')
        const [plain, escaped] = [parseOriginForm(`/a${rest}`), parseOriginForm(`/%61${rest}`)]
        expect(plain).toEqual(escaped.kind === 'ok' ? { ...escaped, target: `/a${rest}` } : escaped)
      }),
      { numRuns: 5000 },
    )
  })
  it.each([
    ['//a', 'path_not_canonical'],
    ['/a//', 'path_not_canonical'],
    ['/..', 'path_not_canonical'],
    ['/a/.?b', 'path_not_canonical'],
    ['/a?b\x7f', 'path_not_canonical'],
    ['/a?b#c', 'malformed'],
    ['/a?\u0121', 'malformed'],
    ['/\u0161', 'malformed'],
  ])('%j is not one', (target, reason) => {
    expect(parseOriginForm(target)).toMatchObject({ kind: 'bad', reason })
  })
})

describe('a path has one canonical form, and is sent as it was spelled', () => {
  it.each<[string, string, string]>([
    ['the root', '/', '/'],
    ['a path', '/repos/acme/app', '/repos/acme/app'],
    ['a trailing slash is another path [D17]', '/allowed/', '/allowed/'],
    ['case is kept [D12]', '/Secret', '/Secret'],
    ['an escaped letter [D13]', '/secre%74', '/secret'],
    ['escaped unreserved characters [D13]', '/%2D%5f%7e%30%5A%2Ex', '/-_~0Z.x'],
    ['a hidden file', '/.well-known/x', '/.well-known/x'],
    ['three dots', '/a/.../b', '/a/.../b'],
    ['dots inside a segment', '/a..b/..c/d..', '/a..b/..c/d..'],
    ['a double escape is decoded once [D09]', '/%252e%252e/x', '/%252e%252e/x'],
    ['a double escape of a slash', '/a%252fb', '/a%252fb'],
    ['hex digits go to upper case', '/%c3%a9', '/%C3%A9'],
    ['an escaped question mark stays in the path [D15]', '/allowed%3f', '/allowed%3F'],
    ['reserved characters', "/a:@!$&'()*+,=", "/a:@!$&'()*+,="],
    ['escapes of reserved characters stay', '/%40%3a', '/%40%3A'],
    ['an escaped semicolon', '/a%3bb', '/a%3Bb'],
    ['an escaped space', '/a%20b', '/a%20b'],
    ['raw characters that are not legal', '/{a}|"b"^`<c>[d]', '/%7Ba%7D%7C%22b%22%5E%60%3Cc%3E%5Bd%5D'],
    ['the same characters escaped', '/%7ba%7d%7c%22b%22%5e%60%3cc%3e%5bd%5d', '/%7Ba%7D%7C%22b%22%5E%60%3Cc%3E%5Bd%5D'],
    ['four-byte UTF-8', '/%f0%9f%92%a9', '/%F0%9F%92%A9'],
  ])('%s', (_what, raw, path) => {
    expect(parseOriginForm(raw)).toEqual(ok(raw, path))
    expect(parseOriginForm(path)).toEqual(ok(path, path))
  })

  it.each<[string, string, string, string]>([
    ['a query [D15]', '/allowed?x=/../secret', '/allowed', 'x=/../secret'],
    ['an empty query [D15]', '/allowed?', '/allowed', ''],
    ['a query with a question mark', '/a?b?c', '/a', 'b?c'],
    ['a query of what no path may hold', '/a?;\\//%zz%00%', '/a', ';\\//%zz%00%'],
  ])('%s is no part of it', (_what, raw, path, query) => {
    expect(parseOriginForm(raw)).toEqual(ok(raw, path, query))
  })

  it.each<[string, string, string]>([
    ['an npm scope [D05]', '/@scope%2fname', '/@scope%2Fname'],
    ['at the end', '/a%2F', '/a%2F'],
    ['with a hidden file behind it', '/a%2f.b', '/a%2F.b'],
  ])('an encoded slash is kept and told: %s', (_what, raw, path) => {
    expect(parseOriginForm(raw)).toEqual({ kind: 'ok', path, encodedSlash: true, target: raw, query: null })
  })
})

describe('a path with two readings is refused', () => {
  it.each([
    ['a dot segment [D01]', '/public/../secret'],
    ['a dot segment at the end [D01]', '/public/..'],
    ['a single dot [D01]', '/a/./b'],
    ['a single dot alone', '/.'],
    ['above the root [D03]', '/../../etc'],
    ['escaped dots [D02]', '/public/%2e%2e/secret'],
    ['one escaped dot [D02]', '/public/.%2E/secret'],
    ['the other escaped dot [D02]', '/public/%2E./secret'],
    ['a single escaped dot', '/%2e/secret'],
    ['escaped dots and slash [D02]', '/public/%2e%2e%2fsecret'],
    ['a leading double slash [D04]', '//secret'],
    ['a double slash [D04]', '/a//b'],
    ['a double slash at the end [D04]', '/a//'],
    ['a double slash before a query', '/a//?x'],
    ['an encoded slash behind a slash [D05]', '/public/%2F..%2Fsecret'],
    ['an encoded slash before a slash', '/a%2f/b'],
    ['two encoded slashes', '/a%2f%2Fb'],
    ['an encoded slash alone', '/%2f'],
    ['dots behind an encoded slash [D06]', '/a/..%2fsecret'],
    ['a dot between encoded slashes', '/a%2F.%2Fb'],
    ['dots at the end, behind an encoded slash', '/a%2f..'],
    ['an escaped backslash [D05]', '/a%5Cb'],
    ['an escaped backslash in lower case [D05]', '/a%5cb'],
    ['a backslash [D08]', '/\\secret'],
    ['a backslash before dots [D08]', '/a\\..\\b'],
    ['a backslash for a host [D08]', '/\\evil.test/p'],
    ['a path parameter', '/a;b=c/d'],
    ['a path parameter behind dots', '/a/..;/secret'],
    ['an escaped NUL [D11]', '/secret%00.png'],
    ['an escaped line break [D11]', '/a%0d%0ab'],
    ['an escaped tab [D11]', '/a%09b'],
    ['an escaped DEL', '/a%7fb'],
    ['the last escaped control', '/a%1Fb'],
    ['a raw control character [D11]', '/a\x01b'],
    ['a raw NUL', '/a\0b'],
    ['a raw line break in the query', '/a?b\r\nc'],
    ['a raw DEL', '/a\x7f'],
    ['an overlong dot [D10]', '/%c0%ae%c0%ae/secret'],
    ['an overlong slash [D10]', '/a%e0%80%afb'],
    ['a lone continuation byte', '/%80'],
    ['a cut-off sequence', '/%c3'],
    ['a surrogate', '/%ed%a0%80'],
    ['a UTF-16 escape [D10]', '/%u002e%u002e/secret'],
    ['a bad escape [D10]', '/%zz'],
    ['half a bad escape', '/%4g'],
    ['a lone percent sign [D10]', '/100%'],
    ['a percent sign and one digit [D10]', '/a%2'],
    ['a percent sign before the query', '/a%?41'],
  ])('%s', (_what, raw) => {
    expect(parseOriginForm(raw)).toEqual(bad('path_not_canonical'))
  })

  it.each([
    ['nothing', ''],
    ['the asterisk-form [D18]', '*'],
    ['no leading slash', 'a/b'],
    ['a query alone', '?a'],
    ['an absolute form', 'http://example.com/'],
    ['a fragment', '/a#b'],
    ['a fragment in the query', '/a?b#c'],
    ['a space', '/a b'],
    ['latin1 [D16]', '/caf\xe9'],
    ['UTF-8 as latin1 [D16]', '/caf\xc3\xa9'],
    ['a character beyond latin1', '/\u212a'],
    ['a byte 0xff in the query [D16]', '/a?\xff'],
  ])('and what is no target is malformed: %s', (_what, raw) => {
    expect(parseOriginForm(raw)).toEqual(bad('malformed'))
  })
})

describe('for any target', () => {
  const pieces =
    '/ . .. %2e %2F %2f %25 %252e %41 %c3%a9 %c0%ae % %zz a Z ~ { | ; \\ %5c %3B ? # @ %40 " [ %00 %7e \xff'
  const piece = fc.constantFrom(' ', '\0', ...pieces.split(' '))
  const target = fc.array(piece, { maxLength: 12 }).map((chosen) => `/${chosen.join('')}`)
  const accepted = target.map(parseOriginForm).filter((parsed) => parsed.kind === 'ok')

  it('the canonical path is its own canonical path', () => {
    fc.assert(
      fc.property(accepted, ({ path, encodedSlash }) => {
        expect(parseOriginForm(path)).toEqual({ kind: 'ok', path, encodedSlash, target: path, query: null })
      }),
      { numRuns: 1000 },
    )
  })

  it('a URL parser finds no other path in what was accepted', () => {
    fc.assert(
      fc.property(accepted, ({ path, target: sent }) => {
        expect(new URL(path, 'http://host.test').host).toBe('host.test')
        expect(new URL(path, 'http://host.test').pathname).toMatch(/^\//)
        // Nothing to normalise: as many segments come out as went in.
        const pathname = new URL(`http://host.test${sent}`).pathname
        expect(pathname.split('/')).toHaveLength(path.split('/').length)
        expect(decodeURIComponent(pathname)).toBe(decodeURIComponent(path))
      }),
      { numRuns: 1000 },
    )
  })

  it('any spelling of its unreserved characters has the same canonical path', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[A-Za-z0-9_~-]{1,20}$/),
        fc.infiniteStream(fc.nat({ max: 2 })),
        (text, choices) => {
          const spelled = Array.from(text, (character) => {
            const hex = character.charCodeAt(0).toString(16)
            return [character, `%${hex}`, `%${hex.toUpperCase()}`][choices.next().value as number]
          })
          expect(parseOriginForm(`/${spelled.join('')}`)).toMatchObject({ kind: 'ok', path: `/${text}` })
        },
      ),
    )
  })

  it('an answer is given for any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (raw) => {
        expect(['ok', 'bad']).toContain(parseOriginForm(raw).kind)
        expect(['ok', 'bad']).toContain(parseAbsoluteForm(`http://h/${raw}`).kind)
        expect(['ok', 'bad']).toContain(parseAbsoluteForm(`http://${raw}`).kind)
      }),
    )
  })
})

describe('an absolute form', () => {
  it.each<[string, string, 'http' | 'https', string, number, Target]>([
    ['http', 'http://example.com/a', 'http', 'example.com', 80, ok('/a', '/a')],
    ['https', 'https://example.com/a?b', 'https', 'example.com', 443, ok('/a?b', '/a', 'b')],
    ['the scheme in any case', 'HtTpS://example.com/', 'https', 'example.com', 443, ok('/', '/')],
    ['the host in any case', 'http://Example.COM./', 'http', 'example.com', 80, ok('/', '/')],
    ['a port', 'http://example.com:8080/a', 'http', 'example.com', 8080, ok('/a', '/a')],
    ['no path', 'http://example.com', 'http', 'example.com', 80, ok('/', '/')],
    ['no path but a query', 'http://example.com?a=/b', 'http', 'example.com', 80, ok('/?a=/b', '/', 'a=/b')],
    ['IPv6', 'http://[::1]:81/', 'http', '::1', 81, ok('/', '/')],
    ['a path as it was spelled', 'http://a.test/%7euser', 'http', 'a.test', 80, ok('/%7euser', '/~user')],
    ['a URL in the query', 'http://a.test/?u=http://b', 'http', 'a.test', 80, ok('/?u=http://b', '/', 'u=http://b')],
    [
      'metadata by its address [E01]',
      'http://169.254.169.254/latest/meta-data/',
      'http',
      '169.254.169.254',
      80,
      ok('/latest/meta-data/', '/latest/meta-data/'),
    ],
  ])('%s', (_what, raw, scheme, host, port, origin) => {
    const parsed = parseAbsoluteForm(raw)
    expect(parsed).toMatchObject({ kind: 'ok', scheme, authority: { host: { text: host }, port }, origin })
  })

  it.each<[string, string, string]>([
    ['userinfo [D26]', 'http://allowed@evil/', 'host_not_canonical'],
    ['userinfo with a port [D26]', 'http://allowed:80@evil', 'host_not_canonical'],
    ['userinfo with a password', 'http://user:secret@allowed/', 'host_not_canonical'],
    ['empty userinfo', 'http://@allowed/', 'host_not_canonical'],
    ['a backslash [D26]', 'http://evil\\@allowed/', 'host_not_canonical'],
    ['a backslash for a slash', 'http://allowed\\evil/', 'host_not_canonical'],
    ['an escaped NUL [D26]', 'http://allowed%00.evil/', 'host_not_canonical'],
    ['two hosts and a fragment [D26]', 'http://allowed&@evil#@x/', 'host_not_canonical'],
    ['a fragment behind the host', 'http://allowed#@evil/', 'host_not_canonical'],
    ['a semicolon', 'http://allowed;evil/', 'host_not_canonical'],
    ['a space', 'http://allowed evil/', 'host_not_canonical'],
    ['a number for a host [E02]', 'http://2130706433/', 'host_not_canonical'],
    ['a zone id [E05]', 'http://[fe80::1%25eth0]/', 'host_not_canonical'],
    ['latin1 in the host', 'http://\xffallowed/', 'host_not_canonical'],
    ['port 0', 'http://allowed:0/', 'host_not_canonical'],
    ['an empty port', 'http://allowed:/', 'host_not_canonical'],
    ['no host', 'http:///etc/passwd', 'host_not_canonical'],
    ['nothing behind the slashes', 'https://', 'host_not_canonical'],
    ['a query for a host', 'http://?allowed/', 'host_not_canonical'],
    ['dots in the path', 'http://allowed/../x', 'path_not_canonical'],
    ['a double slash in the path', 'http://allowed//evil', 'path_not_canonical'],
    ['a URL in the path', 'http://allowed/http://evil/', 'path_not_canonical'],
    ['a fragment', 'http://allowed/a#b', 'malformed'],
    ['another scheme: ftp [D28]', 'ftp://allowed/', 'malformed'],
    ['another scheme: file [D28]', 'file:///etc/passwd', 'malformed'],
    ['another scheme: gopher [D28]', 'gopher://allowed/', 'malformed'],
    ['another scheme: ws [D28]', 'ws://allowed/', 'malformed'],
    ['a scheme that only begins like ours', 'httpsx://allowed/', 'malformed'],
    ['a space before the scheme', ' http://allowed/', 'malformed'],
    ['one slash', 'http:/allowed/', 'malformed'],
    ['no slash', 'http:allowed', 'malformed'],
    ['no scheme', '//allowed/', 'malformed'],
    ['no scheme but the slashes', '://allowed/', 'malformed'],
    ['backslashes for slashes', 'http:\\\\allowed/', 'malformed'],
    ['an authority form', 'allowed:443', 'malformed'],
    ['a scheme and one letter', 'httpx', 'malformed'],
    ['nothing', '', 'malformed'],
  ])('%s is refused', (_what, raw, reason) => {
    expect(parseAbsoluteForm(raw)).toEqual(bad(reason))
  })
})
