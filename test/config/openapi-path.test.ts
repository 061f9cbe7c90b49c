import { describe, expect, it } from 'vitest'
import { comesBefore, type PathTemplate, readTemplate } from '../../src/config/openapi-path.ts'
import { compilePathGlob, matchPathGlob } from '../../src/core/glob.ts'

function template(text: string): PathTemplate {
  const read = readTemplate(text)
  if (read.kind === 'bad') throw new Error(read.why)
  return read.template
}

describe('a path template is a glob', () => {
  it.each([
    ['without a variable', '/user', '/user'],
    ['of the root', '/', '/'],
    ['with a slash at its end', '/user/', '/user/'],
    ['with a variable a segment', '/repos/{owner}/{repo}/issues', '/repos/*/*/issues'],
    ['with a part of a segment', '/items/{id}.json', '/items/*.json'],
    ['with two in one segment', '/compare/{base}...{head}', '/compare/*...*'],
    ['with adjacent ones, which are one: two stars would match across segments', '/a/{b}{c}/d', '/a/*/d'],
    ['with names of any script', '/a/{Kontonummer ß}/{$x}/{user-id}/{a.b}', '/a/*/*/*/*'],
    ['with an escape that says the same', '/%7Euser/%e2%82%ac', '/~user/%E2%82%AC'],
    ['with characters that stand for themselves', "/getX(period='{period}')", "/getX(period='*')"],
    ['with a verb behind a colon', '/v1/{name}:cancel', '/v1/*:cancel'],
  ])('%s', (_, text, glob) => {
    expect(template(text).glob).toBe(glob)
  })

  it('that matches one segment for each variable', () => {
    const glob = compilePathGlob(template('/a/{b}{c}/{d}.json').glob)
    const matched = ['/a/b/d.json', '/a/x/y/d.json', '/a/b/c/d.json', '/a/b/.json', '/a/b/d/e.json']
    expect(matched.filter((path) => matchPathGlob(glob, path))).toEqual(['/a/b/d.json'])
  })
})

describe('a path that no rule can say', () => {
  it.each([
    ['a literal star', '/files/*', 'literal *'],
    ['a literal star between names', '/files/{a}*{b}', 'literal *'],
    ['a query', '/search?type=user', 'query'],
    ['a fragment', '/#Action=CreateUser', 'fragment'],
    ['a name that takes the rest of the path', '/files/{path*}', '{path*} is not a name'],
    ['a name that takes slashes', '/files/{+path}', '{+path} is not a name'],
    ['a resource name', '/v1/{name=projects/*/locations/*}', 'is not a name'],
    ['a query as a name', '/search{?q,page}', '{?q,page} is not a name'],
    ['a constraint of a router', '/items/{id:[0-9]+}', 'is not a name'],
    ['no name', '/items/{}', '{} is not a name'],
    ['an open brace', '/items/{id', 'a brace without'],
    ['a closing brace', '/items/id}', 'a brace without'],
    ['braces in braces', '/items/{a{b}}', 'a brace without'],
    ['no slash at its start', 'items', 'starts with a slash'],
    ['a host', 'https://evil.example/items', 'starts with a slash'],
    ['an empty segment', '//evil.example/{id}', 'empty segment'],
    ['a dot segment', '/items/../{id}', 'dot segment'],
    ['an escaped dot segment', '/items/%2e%2e/{id}', 'dot segment'],
    ['a semicolon', '/items;v=1', 'semicolon'],
    ['a blank', '/my items', 'a space'],
    ['a line break', '/items\r\nX: y', 'control character'],
    ['no end', `/${'a'.repeat(1024)}`, 'over 1024'],
  ])('has %s', (_, text, why) => {
    const read = readTemplate(text)
    expect(read.kind === 'bad' && read.why).toContain(why)
  })
})

describe('a path is asked for before another', () => {
  it.each([
    ['a text before a variable', '/issues/comments', '/issues/{id}', true],
    ['and not after it', '/issues/{id}', '/issues/comments', false],
    ['a part before a whole variable', '/items/{id}.json', '/items/{id}', true],
    ['and not after it', '/items/{id}', '/items/{id}.json', false],
    ['a text before a part that takes it', '/items/all.json', '/items/{id}.json', true],
    ['but not before one that does not', '/items/all', '/items/{id}.json', false],
    ['the same under other names is the same', '/items/{a}', '/items/{b}', false],
    ['of two that are more concrete in turn, the one', '/{kind}/latest', '/books/{id}', true],
    ['and the other', '/books/{id}', '/{kind}/latest', true],
    ['of two parts, the one', '/items/{id}.json', '/items/a{id}', true],
    ['and the other', '/items/a{id}', '/items/{id}.json', true],
    ['another text elsewhere keeps them apart', '/a/{x}/latest', '/b/{x}/{y}', false],
    ['another number of segments keeps them apart', '/issues/comments/all', '/issues/{id}', false],
    ['nothing is no value of a variable', '/issues/', '/issues/{id}', false],
  ])('%s', (_, other, own, expected) => {
    expect(comesBefore(template(other), template(own))).toBe(expected)
  })
})
