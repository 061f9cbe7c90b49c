import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { KnownShape, MAX_MEMBERS, MAX_NAMES } from '../../src/core/known-shape.ts'

function known(...members: readonly string[]): KnownShape {
  const shape = new KnownShape()
  for (const member of members) shape.add(member)
  return shape
}

const users = (count: number, rest = ''): string[] =>
  Array.from({ length: count }, (_, index) => `$.users.id${index}${rest}`)

describe('a shape', () => {
  it('knows what was added, in one order, and nothing beside', () => {
    const shape = known('$.b', '$.a[*].c', 'form:Bcc', '$')
    expect(shape.list()).toEqual(['$', '$.a[*].c', '$.b', 'form:Bcc'])
    expect(shape.size).toBe(4)
    for (const member of shape.list()) expect(shape.knows(member)).toBe(true)
    for (const member of ['$.a', '$.a[*]', '$.B', '$.a.c', '$.b.c', 'form:bcc', 'multipart:Bcc', '', 'b'])
      expect(shape.knows(member)).toBe(false)
  })

  it('says whether there is more to remember', () => {
    const shape = new KnownShape()
    expect(shape.add('$.a')).toBe(true)
    expect(shape.add('$.a')).toBe(false)
    expect(shape.add('form:a')).toBe(true)
    expect(shape.add('form:a')).toBe(false)
    expect(shape.add('Bcc')).toBe(false)
    expect(shape.add(`$.${'a'.repeat(300)}`)).toBe(false)
    expect(shape.list()).toEqual(['$.a', 'form:a'])
  })

  it('has room for so many members', () => {
    // No object with too many names.
    const all = Array.from({ length: MAX_MEMBERS }, (_, index) => `$.a${index % 64}.b${index >> 6}`)
    const shape = known(...all)
    expect(shape.size).toBe(MAX_MEMBERS)
    expect(shape.add('$.more')).toBe(false)
    expect(shape.knows('$.more')).toBe(false)
    expect(shape.add('form:more')).toBe(false)
  })
})

describe('an object with more names than an object has', () => {
  it('is none up to the last of them', () => {
    const shape = known(...users(MAX_NAMES))
    expect(shape.size).toBe(MAX_NAMES)
    expect(shape.knows('$.users.other')).toBe(false)
  })

  it('is a map: what is known of one name is known of all', () => {
    const shape = known(
      '$.a',
      '$.users',
      ...users(MAX_NAMES + 1),
      '$.users.id7.name',
      '$.users.other.tags[*].b',
      'form:x',
    )
    expect(shape.list()).toEqual(['$.a', '$.users', '$.users.*', '$.users.*.name', '$.users.*.tags[*].b', 'form:x'])
    expect(shape.size).toBe(6)
    for (const member of ['$.users.new', '$.users.new.name', '$.users.new.tags[*].b', "$.users['a b']"])
      expect(shape.knows(member)).toBe(true)
    for (const member of ['$.users.new.Bcc', '$.users.new.tags', '$.users[*]', '$.other', '$.users.a.b.c.d'])
      expect(shape.knows(member)).toBe(false)
    expect(shape.add('$.users.one.more')).toBe(true)
    expect(shape.add('$.users.another.more')).toBe(false)
    expect(shape.list()).toContain('$.users.*.more')
  })

  it('brings together what was known below each name', () => {
    const shape = known(...users(MAX_NAMES, '.a.b'), '$.users.x[*].c', '$.users.y[*].d', '$.users.z.*.e')
    expect(shape.list()).toEqual(['$.users.*.*.b', '$.users.*.*.e', '$.users.*[*].c', '$.users.*[*].d'])
    for (const member of ['$.users.new[*].c', '$.users.new[*].d', '$.users.new.any.e', '$.users.new.a.b'])
      expect(shape.knows(member)).toBe(true)
  })

  it('is one where the names come together from several', () => {
    const names = (user: string): string[] =>
      Array.from({ length: 200 }, (_, index) => `$.users.${user}.m${user}${index}`)
    const shape = known(...users(MAX_NAMES - 1), ...names('a'), ...names('b'))
    expect(shape.list()).toEqual(['$.users.*', '$.users.*.*'])
  })

  it('can be said to be one', () => {
    expect(known('$.users.*.name').knows('$.users.a.name')).toBe(true)
    expect(known('$.users.bob', '$.users.*.name').list()).toEqual(['$.users.*', '$.users.*.name'])
    expect(known('$.*').knows('$.a')).toBe(true)
  })

  it('is none by a name that looks like all', () => {
    expect(known("$['*']").knows('$.a')).toBe(false)
  })
})

describe('property', () => {
  const member = fc
    .array(fc.constantFrom('.a', '.b', "['c d']", '[*]', '.*'), { maxLength: 4 })
    .map((steps) => `$${steps.join('')}`)

  it('what was added stays known, whatever comes after', () => {
    fc.assert(
      fc.property(fc.array(member, { maxLength: 30 }), (members) => {
        const shape = known(...members)
        for (const each of members) expect(shape.knows(each)).toBe(true)
        expect(shape.size).toBe(shape.list().length)
      }),
    )
  })

  it('what it lists makes the same shape', () => {
    fc.assert(
      fc.property(fc.array(member, { maxLength: 30 }), (members) => {
        const shape = known(...members)
        expect(known(...shape.list()).list()).toEqual(shape.list())
      }),
    )
  })
})
