import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type HostPattern, overlaps, parseHostPattern } from '../../src/core/host-pattern.ts'

describe('host patterns', () => {
  it.each<[string, HostPattern]>([
    ['example.com', { kind: 'exact', text: 'example.com' }],
    ['*.example.com', { kind: 'children', base: 'example.com' }],
    ['**.example.com', { kind: 'subtree', base: 'example.com' }],
    ['203.0.113.7', { kind: 'exact', text: '203.0.113.7' }],
    ['[2001:db8::1]', { kind: 'exact', text: '2001:db8::1' }],
    ['*.internal', { kind: 'children', base: 'internal' }],
    ['**.svc.cluster.local', { kind: 'subtree', base: 'svc.cluster.local' }],
    ['*.acme.github.io', { kind: 'children', base: 'acme.github.io' }],
    ['com', { kind: 'exact', text: 'com' }],
  ])('%s is understood in every rule', (text, pattern) => {
    expect(parseHostPattern(text, true)).toEqual({ kind: 'ok', pattern })
    expect(parseHostPattern(text, false)).toEqual({ kind: 'ok', pattern })
  })

  it.each<[string, HostPattern]>([
    ['*', { kind: 'any' }],
    ['*.com', { kind: 'children', base: 'com' }],
    ['**.co.uk', { kind: 'subtree', base: 'co.uk' }],
    ['*.github.io', { kind: 'children', base: 'github.io' }],
    ['*.xn--p1ai', { kind: 'children', base: 'xn--p1ai' }],
    ['**.kawasaki.jp', { kind: 'subtree', base: 'kawasaki.jp' }],
  ])('%s is legal only where nothing is opened [D30]', (text, pattern) => {
    expect(parseHostPattern(text, false)).toEqual({ kind: 'ok', pattern })
    const granted = parseHostPattern(text, true)
    expect(granted.kind).toBe('bad')
    expect(granted.kind === 'bad' && granted.fix).not.toBe('')
  })

  it.each([
    ['upper case', 'API.Example.com', 'write api.example.com'],
    ['a trailing dot [D21]', 'api.example.com.', 'write api.example.com'],
    ['upper case below a wildcard', '*.Example.com', 'write *.example.com'],
    ['an international name [D24]', '**.straße.de', 'write **.xn--strae-oqa.de'],
    ['a look-alike name [D24]', 'аpple.com', 'write xn--pple-43d.com'],
    ['a full-width name [D24]', 'ｅxample.com', 'write example.com'],
    ['an ideographic full stop [D24]', 'good。test', 'write good.test'],
    ['two trailing dots [D21]', 'api.example.com..', 'write a name as in api.example.com'],
    ['a leading dot [D21]', '.example.com', 'write a name as in api.example.com'],
    ['a newline [D29]', 'example.com\nevil.test', 'write a name as in api.example.com'],
    ['a URL', 'https://example.com/x', 'write example.com'],
    ['nothing', '', 'write a name as in api.example.com'],
    ['IPv6 without brackets', '2001:db8::1', 'write [2001:db8::1]'],
    ['a wildcard in the middle [D30]', 'api.*.com', 'write *.example.com or **.example.com'],
    ['a wildcard in a label [D30]', 'api*.example.com', 'write *.example.com or **.example.com'],
    ['two wildcards', '*.*.example.com', 'write *.example.com or **.example.com'],
    ['three stars', '***.example.com', 'write *.example.com or **.example.com'],
    ['two stars alone', '**', 'write *.example.com or **.example.com'],
    ['a wildcard before an address', '*.203.0.113.7', 'write 203.0.113.7'],
    ['a wildcard before IPv6', '*.[2001:db8::1]', 'write [2001:db8::1]'],
  ])('%s is refused with the fix', (_, text, fix) => {
    expect(parseHostPattern(text, false)).toMatchObject({ kind: 'bad', fix })
    expect(parseHostPattern(text, true)).toMatchObject({ kind: 'bad', fix })
  })
})

describe('overlap of host patterns', () => {
  const pattern = (text: string): HostPattern => {
    const result = parseHostPattern(text, false)
    if (result.kind === 'bad') throw new Error(result.why)
    return result.pattern
  }

  it.each([
    ['a.x', 'a.x', true],
    ['a.x', 'b.x', false],
    ['a.x', '*', true],
    ['*', '**.x', true],
    ['a.x', '*.x', true],
    ['b.a.x', '*.x', false],
    ['x', '*.x', false],
    ['x', '**.x', true],
    ['a.b.x', '**.x', true],
    ['notx', '**.x', false],
    ['*.x', '*.x', true],
    ['*.a.x', '*.x', false],
    ['*.x', '**.x', true],
    ['*.x', '**.a.x', true],
    ['*.x', '**.b.a.x', false],
    ['*.b.a.x', '**.x', true],
    ['**.a.x', '**.x', true],
    ['**.a.x', '**.b.x', false],
    ['203.0.113.7', '*', true],
  ])('%s and %s: %s', (a, b, expected) => {
    expect(overlaps(pattern(a), pattern(b))).toBe(expected)
    expect(overlaps(pattern(b), pattern(a))).toBe(expected)
  })

  it('holds exactly when some name matches both', () => {
    const label = fc.constantFrom('a', 'b')
    const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'))
    const any = fc.tuple(fc.constantFrom('', '*.', '**.'), name).map(([stars, base]) => stars + base)
    const universe = namesUpTo(5)
    fc.assert(
      fc.property(any, any, (a, b) => {
        const both = universe.some((host) => matches(a, host) && matches(b, host))
        expect(overlaps(pattern(a), pattern(b))).toBe(both)
      }),
      { numRuns: 500 },
    )
  })
})

function namesUpTo(depth: number): readonly string[] {
  if (depth === 0) return []
  const shorter = namesUpTo(depth - 1)
  return ['a', 'b', ...shorter.flatMap((name) => [`a.${name}`, `b.${name}`])]
}

function matches(pattern: string, host: string): boolean {
  if (pattern.startsWith('**.')) return host === pattern.slice(3) || host.endsWith(pattern.slice(2))
  if (pattern.startsWith('*.')) return host.includes('.') && host.slice(host.indexOf('.')) === pattern.slice(1)
  return host === pattern
}
