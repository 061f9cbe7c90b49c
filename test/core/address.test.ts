import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  addressBytes,
  formatAuthority,
  formatHost,
  type Host,
  hostFromAddress,
  isMapped,
  parseAuthority,
  parseConfiguredHost,
  parseHost,
  parseServerName,
  sameHost,
} from '../../src/core/address.ts'
import { classifyAddress } from '../../src/core/address-class.ts'

const name = (text: string): Host => ({ kind: 'name', text })
const ipv4 = (text: string): Host => ({ kind: 'ipv4', text })
const ipv6 = (text: string): Host => ({ kind: 'ipv6', text })
const label63 = 'a'.repeat(63)
const name253 = `${label63}.${label63}.${label63}.${'a'.repeat(61)}`

describe('a host has one canonical form', () => {
  it.each<[string, string, Host]>([
    ['a name', 'api.example.com', name('api.example.com')],
    ['a single label', 'localhost', name('localhost')],
    ['upper case is lowered', 'API.Example.COM', name('api.example.com')],
    ['one trailing dot is taken off [D21]', 'api.allowed.', name('api.allowed')],
    ['underscores are legal [D25]', '_my_host_.example.test', name('_my_host_.example.test')],
    ['hyphens inside, two as well', 'r3---sn-x.example.com', name('r3---sn-x.example.com')],
    ['digits before the last label', '127.0.0.1.example.com', name('127.0.0.1.example.com')],
    ['a last label that only begins with digits', '1.2.3.4x', name('1.2.3.4x')],
    ['a last label that only looks like hex', '0x7g', name('0x7g')],
    ['a label of 63 bytes [D25]', `${label63}.test`, name(`${label63}.test`)],
    ['a name of 253 bytes [D25]', name253, name(name253)],
    ['a name of 253 bytes with its dot [D25]', `${name253}.`, name(name253)],
    ['an A-label [D24]', 'xn--pple-43d.com', name('xn--pple-43d.com')],
    ['an A-label in upper case', 'XN--PPLE-43D.com', name('xn--pple-43d.com')],
    ['an A-label that IDNA 2003 read otherwise [D24]', 'xn--strae-oqa.de', name('xn--strae-oqa.de')],
    ['a dotted quad', '203.0.113.7', ipv4('203.0.113.7')],
    ['IPv6 in brackets', '[2001:db8::1]', ipv6('2001:db8::1')],
    ['IPv6 in upper case and in full', '[2001:0DB8:0000:0000:0000:0000:0000:0001]', ipv6('2001:db8::1')],
    ['IPv6, the longer run of zeros is cut', '[1:0:0:2:0:0:0:3]', ipv6('1:0:0:2::3')],
    ['IPv6, the first of two equal runs is cut', '[1:0:0:2:3:0:0:4]', ipv6('1::2:3:0:0:4')],
    ['IPv6, one zero is not cut', '[1::2:3:4:5:6:7]', ipv6('1:0:2:3:4:5:6:7')],
    ['IPv6, zeros at the end', '[1:2:3:4:5:6:7::]', ipv6('1:2:3:4:5:6:7:0')],
    ['IPv6, all zeros', '[0:0:0:0:0:0:0:0]', ipv6('::')],
    ['IPv6, mapped in hex', '[::FFFF:7F00:1]', ipv6('::ffff:127.0.0.1')],
    ['IPv6, mapped and dotted', '[0:0:0:0:0:ffff:127.0.0.1]', ipv6('::ffff:127.0.0.1')],
    ['IPv6, compatible', '[::127.0.0.1]', ipv6('::7f00:1')],
  ])('%s', (_what, raw, expected) => {
    expect(parseHost(raw)).toEqual(expected)
    expect(parseHost(formatHost(expected))).toEqual(expected)
    expect(parseServerName(raw)).toEqual(expected)
  })

  it('parsing what was formatted changes nothing, for any text that parses', () => {
    const spelling = fc.oneof(
      fc.domain(),
      fc.ipV4(),
      fc.ipV4Extended(),
      fc.ipV6().map((text) => `[${text}]`),
      fc.string({ unit: fc.constantFrom(...Array.from('aZ09.-_xn[]:%\u00e9\u212a\0')), maxLength: 20 }),
    )
    fc.assert(
      fc.property(
        spelling.map(parseHost).filter((host) => host !== null),
        (host) => {
          expect(parseHost(formatHost(host))).toEqual(host)
          expect(formatHost(host)).toMatch(/^[a-z0-9_.:[\]-]+$/)
        },
      ),
      { numRuns: 2000 },
    )
  })

  it('every IPv6 address survives, and prints as the WHATWG URL serializer prints it', () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const host = parseHost(`[${text}]`) as Host
        expect(addressBytes(host.text)).toEqual(addressBytes(text))
        // The serializer writes mapped addresses in hex; those have rows of their own above.
        fc.pre(!isMapped(addressBytes(text) as number[]))
        expect(formatHost(host)).toBe(new URL(`http://[${text}]/`).hostname)
      }),
    )
  })
})

describe('what another reader could take for another host is no host', () => {
  it.each([
    ['the empty text', ''],
    ['a dot', '.'],
    ['two trailing dots [D21]', 'api.allowed..'],
    ['a leading dot [D21]', '.api.allowed'],
    ['an empty label [D25]', 'api..allowed'],
    ['a label of 64 bytes [D25]', `${label63}a.test`],
    ['a name of 254 bytes [D25]', `${name253}a`],
    ['a leading hyphen [D25]', '-api.allowed'],
    ['a leading hyphen of a later label [D25]', 'api.-allowed'],
    ['a trailing hyphen', 'api-.allowed'],
    ['NUL [A14] [E13]', 'attacker.com\0.allowed.com'],
    ['a line break [D29]', 'api.allowed\r\nx: y'],
    ['a tab, which URL parsers delete', 'api\t.allowed'],
    ['a space', 'api allowed'],
    ['a percent escape [D26]', 'allowed%00.evil'],
    ['a percent escape of a letter', 'api.%61llowed'],
    ['latin1 [A14]', '\xffapi.allowed'],
    ['Cyrillic [D24]', '\u0430pple.com'],
    ['a sharp s [D24]', 'stra\u00dfe.de'],
    ['fullwidth letters [D24]', '\uff45xample.com'],
    ['a soft hyphen [D24]', 'exam\u00adple.com'],
    ['a zero-width space [D24]', 'exam\u200bple.com'],
    ['an ideographic full stop [D24]', 'good\u3002test'],
    ['the Kelvin sign, which lower-cases to k', '\u212aernel.org'],
    ['punycode of nothing', 'xn--.com'],
    ['punycode that does not decode', 'xn--999999999.com'],
    ['punycode of plain ASCII', 'xn--abc-.com'],
    ['punycode of what IDNA maps to something else', 'xn--xn--a--gua.com'],
    ['a wildcard', '*.good'],
    ['a path as a name', '../../etc/passwd'],
    ['empty brackets', '[]'],
    ['an open bracket', '[::1'],
    ['text behind the bracket', '[::1]x'],
    ['a name in brackets', '[good.test]'],
    ['IPv4 in brackets', '[127.0.0.1]'],
    ['brackets twice', '[[::1]]'],
    ['IPvFuture', '[v1.a]'],
    ['an escaped zone id [E05]', '[fe80::1%25eth0]'],
    ['a zone id [E05]', '[fe80::1%eth0]'],
    ['IPv6 of nine groups', '[1:2:3:4:5:6:7:8:9]'],
    ['IPv6 with two gaps', '[1::2::3]'],
    ['IPv6 with an octal quad', '[::ffff:0177.0.0.1]'],
    ['a very long literal', `[${'0'.repeat(10_000)}::1]`],
  ])('%s', (_what, raw) => {
    expect(parseHost(raw)).toBeNull()
    expect(parseServerName(raw)).toBeNull()
  })

  it.each([
    '127.1',
    '127.0.1',
    '0',
    '00',
    '0x0',
    '0x',
    '2130706433',
    '017700000001',
    '0177.0.0.1',
    '0177.0.0.01',
    '127.0.0.01',
    '0127.0.0.1',
    '0x7f.1',
    '0x7F000001',
    '0x7f.0x0.0x0.0x1',
    '0x7f.0.0.0x1',
    '127.0.0.0x1',
    '127.0.0.1.',
    '127.0.0.1..',
    '127.0.0.256',
    '127.0.0.1.1',
    '127.0.0',
    '4294967296',
    '999999999999999999999',
    'example.0',
    'example.0x7f',
    '127\u30020.0.1',
    '\uff11\uff12\uff17.0.0.1',
    '\u2460\u2461\u2466.0.0.1',
    '127.0.0.1%00',
    '127.0.0.1 ',
    '+127.0.0.1',
  ])('a spelling of loopback or of a number: %j [E02]', (raw) => {
    expect(parseHost(raw)).toBeNull()
    expect(parseServerName(raw)).toBeNull()
  })

  it.each([
    '127.0.0.1',
    '127.255.255.255',
    '127.127.127.127',
    '0.0.0.0',
    '[::]',
    '[::1]',
    '[0000::1]',
    '[0:0:0:0:0:0:0:1]',
    '[::0001]',
    '[::127.0.0.1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:0001]',
    '[0:0:0:0:0:ffff:127.0.0.1]',
    '[64:ff9b::127.0.0.1]',
    '[2002:7f00:1::]',
  ])('a canonical spelling of loopback is read, and is not public: %s [E02]', (raw) => {
    expect(classifyAddress((parseHost(raw) as Host).text)).not.toBe('public')
  })
})

describe('an SNI', () => {
  it.each<[string, string, Host | null]>([
    ['a bare IPv6 literal is taken', '2001:DB8::1', ipv6('2001:db8::1')],
    ['a bare mapped literal is taken', '::ffff:1.2.3.4', ipv6('::ffff:1.2.3.4')],
    ['a bare IPv4 literal is taken', '203.0.113.7', ipv4('203.0.113.7')],
    ['a zone id is not', 'fe80::1%eth0', null],
    ['a port is not', 'api.allowed:443', null],
  ])('%s', (_what, raw, expected) => {
    expect(parseServerName(raw)).toEqual(expected)
  })

  it('a bare IPv6 literal is no host on the wire', () => {
    expect(parseHost('::1')).toBeNull()
  })
})

describe('an authority', () => {
  it.each<[string, string, number | null, { host: Host; port: number } | null]>([
    ['a host takes the default port', 'api.allowed', 443, { host: name('api.allowed'), port: 443 }],
    ['a host without a default port', 'api.allowed', null, null],
    ['a port', 'API.allowed.:8443', 443, { host: name('api.allowed'), port: 8443 }],
    ['the smallest port', 'a:1', null, { host: name('a'), port: 1 }],
    ['the largest port', 'a:65535', null, { host: name('a'), port: 65_535 }],
    ['IPv4 with a port', '10.0.0.1:80', null, { host: ipv4('10.0.0.1'), port: 80 }],
    ['IPv6 with a port', '[::1]:80', null, { host: ipv6('::1'), port: 80 }],
    ['IPv6 without a port', '[::1]', 80, { host: ipv6('::1'), port: 80 }],
    ['IPv6 without brackets', '::1', 80, null],
    ['IPv6 without brackets, with a port', '2001:db8::1:80', null, null],
    ['an open bracket', '[::1:80', 80, null],
    ['text between bracket and port', '[::1]x:80', null, null],
    ['a name in brackets', '[good.test]:443', null, null],
    ['the empty text [A12]', '', 443, null],
    ['a port alone', ':443', null, null],
    ['an empty port', 'a:', 443, null],
    ['port 0', 'a:0', null, null],
    ['port 65536', 'a:65536', null, null],
    ['a port of six digits', 'a:000443', null, null],
    ['a leading zero', 'a:0443', null, null],
    ['a signed port', 'a:+443', null, null],
    ['a port in hex', 'a:0x1bb', null, null],
    ['a port in fullwidth digits', 'a:\uff14\uff14\uff13', null, null],
    ['userinfo [A13]', 'api.allowed@evil.test', 443, null],
    ['userinfo that looks like a port [D26]', 'good:443@evil:443', null, null],
    ['two hosts [A13]', 'api.allowed, evil.test', 443, null],
    ['a space [A13]', 'api.allowed evil.test', 443, null],
    ['a leading space', ' api.allowed', 443, null],
    ['two ports [A13]', 'api.allowed:443:80', 443, null],
    ['a path [A13]', 'api.allowed/evil', 443, null],
    ['a path behind the port', 'good:443/evil', null, null],
    ['a fragment [A13]', 'api.allowed#', 443, null],
    ['a query', 'api.allowed?', 443, null],
    ['NUL [A14]', 'api.allowed\0.evil.test', 443, null],
    ['latin1 [A14]', '\xffapi.allowed', 443, null],
    ['a backslash [D26]', 'evil\\@allowed', 443, null],
    ['a relative path', '../../../../x:443', null, null],
  ])('%s', (_what, raw, defaultPort, expected) => {
    expect(parseAuthority(raw, defaultPort)).toEqual(expected)
  })

  it.each<[string, Host, number, number | null, string]>([
    ['the default port is left out', name('a.test'), 443, 443, 'a.test'],
    ['another port is written', name('a.test'), 8443, 443, 'a.test:8443'],
    ['without a default, every port is written', ipv4('10.0.0.1'), 80, null, '10.0.0.1:80'],
    ['IPv6 stands in brackets', ipv6('::1'), 80, 80, '[::1]'],
    ['IPv6 with a port', ipv6('::1'), 81, 80, '[::1]:81'],
  ])('is written canonically: %s', (_what, host, port, defaultPort, expected) => {
    expect(formatAuthority({ host, port }, defaultPort)).toBe(expected)
    expect(parseAuthority(expected, defaultPort)).toEqual({ host, port })
  })
})

describe('the same host', () => {
  it.each<[Host, Host, boolean]>([
    [name('a.test'), name('a.test'), true],
    [name('a.test'), name('b.test'), false],
    [ipv4('1.2.3.4'), ipv6('1.2.3.4'), false],
  ])('%j and %j: %s', (a, b, expected) => {
    expect(sameHost(a, b)).toBe(expected)
  })
})

describe('a configured host', () => {
  it.each<[string, Host]>([
    ['api.example.com', name('api.example.com')],
    ['xn--strae-oqa.de', name('xn--strae-oqa.de')],
    ['203.0.113.7', ipv4('203.0.113.7')],
    ['[2001:db8::1]', ipv6('2001:db8::1')],
  ])('%s is taken', (raw, host) => {
    expect(parseConfiguredHost(raw)).toEqual({ kind: 'ok', host })
  })

  it.each<[string, string, RegExp, string | null]>([
    ['upper case', 'API.example.com', /upper case/, 'api.example.com'],
    ['a trailing dot', 'api.example.com.', /trailing dot/, 'api.example.com'],
    ['long IPv6', '[2001:DB8:0::1]', /RFC 5952/, '[2001:db8::1]'],
    ['IPv6 without brackets', '2001:DB8::1', /brackets/, '[2001:db8::1]'],
    ['a U-label [D24]', 'Stra\u00dfe.de.', /ASCII/, 'xn--strae-oqa.de'],
    ['Cyrillic that looks like Latin [D24]', '\u0430pple.com', /ASCII/, 'xn--pple-43d.com'],
    ['a U-label beyond the basic plane', '\u{1f4a9}.la', /ASCII/, 'xn--ls8h.la'],
    ['a U-label that is too long', `${'\u00e9'.repeat(70)}.com`, /not a host/, null],
    ['a fullwidth percent sign', 'ex\uff0541mple.com', /not a host/, null],
    ['a U-label in a URL', 'https://stra\u00dfe.de', /not a host/, null],
    ['a URL', 'https://API.example.com/v1', /without scheme/, 'api.example.com'],
    ['a port', 'api.example.com:8443', /without scheme, port/, 'api.example.com'],
    ['a path', 'api.example.com/v1', /path/, 'api.example.com'],
    ['IPv6 with a port', '[::1]:80', /port/, '[::1]'],
    ['an octal quad', '010.0.0.1', /not a host/, null],
    ['a short quad', '127.1', /not a host/, null],
    ['a line break [D29]', 'api.example.com\nevil', /not a host/, null],
    ['a hash [D29]', 'api.example.com#x', /not a host/, null],
    ['a space [D29]', 'api example.com', /not a host/, null],
    ['a semicolon [D29]', 'api.example.com;x', /not a host/, null],
    ['a wildcard [D30]', '*', /not a host/, null],
    ['nothing', '', /not a host/, null],
  ])('%s is answered with its correction', (_what, raw, why, canonical) => {
    const answer = parseConfiguredHost(raw)
    expect(answer).toEqual({ kind: 'bad', why: expect.stringMatching(why) as string, canonical })
    expect(canonical === null || parseConfiguredHost(canonical).kind === 'ok').toBe(true)
  })
})

describe('a socket address', () => {
  it.each<[string, Host]>([
    ['10.0.0.1', ipv4('10.0.0.1')],
    ['2001:DB8:0::1', ipv6('2001:db8::1')],
    ['fe80::1%eth0', ipv6('fe80::1')],
    ['::ffff:172.30.0.5', ipv4('172.30.0.5')],
    ['::ffff:172.30.0.5%eth0', ipv4('172.30.0.5')],
  ])('%s', (text, host) => {
    expect(hostFromAddress(text)).toEqual(host)
  })

  it('that is none is a bug', () => {
    expect(() => hostFromAddress('localhost\n')).toThrow(new TypeError('not an IP address: "localhost\\n"'))
  })
})

describe('the bytes of an address', () => {
  it.each<[string, number[] | null]>([
    ['1.2.3.4', [1, 2, 3, 4]],
    ['::', [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
    ['1:2:3:4:5:6:7:8', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8]],
    ['ffff::1.2.3.4', [255, 255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]],
    ['1:2:3:4:5:6:1.2.3.4', [0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 1, 2, 3, 4]],
    ['01.2.3.4', null],
    ['fe80::1%1', null],
    ['[::1]', null],
  ])('%s', (text, bytes) => {
    expect(addressBytes(text)).toEqual(bytes)
  })

  it.each([
    ['::ffff:1.2.3.4', true],
    ['::fffe:1.2.3.4', false],
    ['1::ffff:1.2.3.4', false],
    ['::1:ffff:1.2.3.4', false],
    ['1.2.3.4', false],
  ])('%s is mapped: %s', (text, expected) => {
    expect(isMapped(addressBytes(text) as number[])).toBe(expected)
  })
})

describe('a name read label by label', () => {
  /** The grammar as one would write it down, label after label; Punycode apart. */
  const reference = (raw: string): string | null => {
    const bare = raw.endsWith('.') ? raw.slice(0, -1) : raw
    const labels = bare.split('.')
    if (bare.length > 253 || !labels.every((label) => /^[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$/.test(label)))
      return null
    return /^(?:[0-9]+|0[xX][0-9A-Fa-f]*)$/.test(labels.at(-1) as string) ? null : bare.toLowerCase()
  }

  it('is what the grammar says, for any text', () => {
    const piece = fc.constantFrom(
      'a',
      'Z',
      '0',
      '0x',
      '9',
      '-',
      '_',
      '.',
      'api.',
      'test',
      label63,
      '\u212a',
      '@',
      '[',
      '`',
      '\xe9',
      '{',
    )
    const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''))
    fc.assert(
      fc.property(text, (raw) => {
        const host = parseHost(raw)
        fc.pre(!raw.startsWith('[') && host?.kind !== 'ipv4')
        expect(host).toEqual(reference(raw) === null ? null : name(reference(raw) as string))
      }),
      { numRuns: 5000 },
    )
  })
})
