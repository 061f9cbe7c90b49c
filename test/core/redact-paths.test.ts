import { describe, expect, it } from 'vitest'
import { findSecretSegments, parseSecretPath, type SecretPath } from '../../src/core/redact-paths.ts'

function compiled(...patterns: readonly string[]): SecretPath[] {
  return patterns.map((pattern) => {
    const result = parseSecretPath(pattern)
    if (result.kind === 'bad') throw new Error(result.why)
    return result.path
  })
}

function found(text: string, patterns: readonly string[], isPath = true): string[] {
  const places: string[] = []
  findSecretSegments(text, isPath, compiled(...patterns), (start, end) => places.push(text.slice(start, end)))
  return places
}

describe('a pattern', () => {
  it.each([
    ['bot*', 'a path starts with a slash', 'write /bot*'],
    ['/a?b=*', 'a path has no query and no escapes', 'write it as in /bot*/**'],
    ['/%61*', 'a path has no query and no escapes', 'write it as in /bot*/**'],
    ['/**/x*', '** stands at the end alone', 'write it as in /bot*/**'],
    ['/a**', '** stands at the end alone', 'write it as in /bot*/**'],
    ['/*a*', 'two stars in one segment', 'write one, it stands for the rest of the segment'],
    ['/a/**', 'no * says where the secret stands', 'write * in its place, as in /bot*/**'],
  ])('%s is none', (pattern, why, fix) => {
    expect(parseSecretPath(pattern)).toEqual({ kind: 'bad', why, fix })
  })
})

describe('secret segments [K16]', () => {
  it.each<[string, string, string[]]>([
    ['/bot*/**', '/bot12:ab/sendMessage', ['12:ab']],
    ['/bot*/**', '/bot12:ab/', ['12:ab']],
    ['/bot*/**', '/bot12:ab', ['12:ab']],
    ['/bot*/**', '/bot/x', []],
    ['/bot*/**', '/robot/x', []],
    ['/bot*', '/bot12:ab/x', []],
    ['/hooks/*/*', '/hooks/a/b', ['a', 'b']],
    ['/hooks/*/*', '/hooks/a', []],
    ['/hooks/*/*', '/hooks', []],
    ['/hooks/*/*', '/hook/a/b', []],
    ['/files/*.key', '/files/abc.key', ['abc']],
    ['/files/*.key', '/files/.key', []],
    ['/files/*.key', '/files/abc.txt', []],
  ])('%s in %s', (pattern, path, secrets) => {
    expect(found(path, [pattern])).toEqual(secrets)
  })

  it('in URLs within other texts', () => {
    const text = 'see "https://api.example/bot12/x?y" and https://api.example/bot34 or http://bot56'
    expect(found(text, ['/bot*/**'], false)).toEqual(['12', '34'])
    expect(found('/bot12/x HTTP/1.1', ['/bot*/**'], false)).toEqual(['12'])
    expect(found('say /bot12/x', ['/bot*/**'], false)).toEqual([])
    expect(found('https://a/?u=//b/bot12/x&z', ['/bot*/**'], false)).toEqual(['12'])
  })

  it('nothing without patterns', () => {
    expect(found('/bot12/x', [])).toEqual([])
  })

  it('half a megabyte of slashes is searched in time that grows with it', () => {
    expect(found('/'.repeat(524_288), ['/bot*/**', '/a/b/c/*'])).toEqual([])
    expect(found('//a'.repeat(174_762), ['/bot*/**'], false)).toEqual([])
  })
})
