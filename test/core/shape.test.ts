import { describe, expect, it } from 'vitest'
import type { ReadBody } from '../../src/core/body.ts'
import type { Inspected } from '../../src/core/body-failure.ts'
import { readJson } from '../../src/core/json-strict.ts'
import { KnownShape, MAX_MEMBERS } from '../../src/core/known-shape.ts'
import type { ShapeMode, Subject } from '../../src/core/rule.ts'
import { judgeShape, type KnownMembers, NOTHING_NEW, type ShapeJudgement } from '../../src/core/shape.ts'

const subject: Subject = {
  client: 'anonymous',
  scheme: 'https',
  method: 'POST',
  host: { kind: 'name', text: 'api.postmarkapp.com' },
  port: 443,
  path: '/email',
  encodedSlash: false,
  target: '/email',
  upgrade: null,
  overrideHeaders: [],
}
const inspected = (read: ReadBody, empty = false): Inspected => ({ subject, empty, read })
function json(value: unknown): Inspected {
  const read = readJson(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
  if (read.kind !== 'ok') throw new Error(`the test itself is wrong: ${read.why}`)
  return inspected({ kind: 'ok', content: { kind: 'json', value: read.value } })
}
const fields = (kind: 'form' | 'multipart', ...names: readonly string[]): Inspected =>
  inspected({ kind: 'ok', content: { kind, fields: names.map((name) => ({ name, value: 'x' })) } })

/** `mail` has learned these. */
function learned(...members: readonly string[]): KnownMembers {
  const shape = new KnownShape()
  for (const member of members) if (!shape.add(member)) throw new Error(`not a member: ${member}`)
  return { knows: (rule, member) => rule === 'mail' && (member === null ? shape.size > 0 : shape.knows(member)) }
}
const MAIL = learned(
  '$.From',
  '$.To',
  '$.items',
  '$.items[*].id',
  '$.users',
  '$.users.*',
  '$.users.*.name',
  'form:From',
)
const judge = (mode: ShapeMode | null, body: Inspected, known: KnownMembers = MAIL): ShapeJudgement =>
  judgeShape('mail', mode, body, known)
const fresh = (...members: readonly string[]): string[] => members.map((member) => `new_member:${member}`)

const CASES: readonly (readonly [string, Inspected, readonly string[]])[] = [
  ['none, where all is known', json({ From: 'a', To: 'b' }), []],
  ['none, where less is there than was learned', json({ From: 'a' }), []],
  ['none, in an empty object', json({}), []],
  ['none, whatever a member holds', json({ From: null, To: ['a', 'b'], items: 7 }), []],
  ['none, in a list of what is known', json({ items: [{ id: 1 }, { id: 2 }, {}] }), []],
  ['none, in a map of what is known', json({ users: { u1: { name: 'a' }, 'u 2': {} } }), []],
  ['none, in a known form', fields('form', 'From', 'From'), []],
  ['one member', json({ From: 'a', Bcc: 'b' }), ['$.Bcc']],
  ['one member with an escaped name', json('{"From":"a","\\u0042cc":"b"}'), ['$.Bcc']],
  ['one member that is known in another case', json({ from: 'a' }), ['$.from']],
  ['one member of another object', json({ From: { To: 'b' } }), ['$.From.To']],
  ['one member in a list', json({ items: [{ id: 1 }, { id: 2, Bcc: 'x' }, { Bcc: 'x' }] }), ['$.items[*].Bcc']],
  ['one member in a list in a list', json({ items: [[{ id: 1 }]] }), ['$.items[*][*].id']],
  ['one member in a map', json({ users: { a: { name: 'x', Bcc: 'y' } } }), ['$.users.a.Bcc']],
  ['all members of a member that is new', json({ a: { b: [{ c: 1 }] } }), ['$.a', '$.a.b', '$.a.b[*].c']],
  ['a name that is no identifier', json({ 'a b': 1, "it's": 2 }), ["$['a b']", String.raw`$['it\'s']`]],
  ['a name that looks like a path', json({ 'From.To': 1 }), ["$['From.To']"]],
  ['a body that is a list', json([{ From: 'a' }]), ['$', '$[*].From']],
  ['a body that is a text', json('"From"'), ['$']],
  ['a field of a form', fields('form', 'From', 'Bcc', 'Bcc'), ['form:Bcc']],
  ['a field that is known in another kind of form', fields('multipart', 'From'), ['multipart:From']],
]

describe('new in a body is', () => {
  it.each(CASES)('%s', (_what, body, members) => {
    expect(judge('alert', body)).toEqual({ failure: null, flags: fresh(...members), learned: [] })
    expect(judge('learn', body)).toEqual({ failure: null, flags: [], learned: members })
    const why = `${members[0]} was never seen; set shape: learn to learn it`
    const failure = members.length === 0 ? null : { why, flags: fresh(...members) }
    expect(judge('enforce', body)).toEqual({ failure, flags: [], learned: [] })
  })
})

describe('where nothing was learned', () => {
  const NOTHING = learned()
  it('all is new, and nothing is allowed', () => {
    const body = json({ From: 'a' })
    expect(judge('learn', body, NOTHING)).toEqual({ failure: null, flags: [], learned: ['$.From'] })
    expect(judge('alert', body, NOTHING)).toEqual({ failure: null, flags: fresh('$.From'), learned: [] })
    const failure = { why: 'no shape was learned yet; set shape: learn to learn it', flags: [] }
    expect(judge('enforce', body, NOTHING)).toEqual({ failure, flags: [], learned: [] })
    expect(judge('enforce', json({}), NOTHING)).toEqual({ failure, flags: [], learned: [] })
  })

  it('of one rule, what another has learned is new', () => {
    expect(judgeShape('other', 'alert', json({ From: 'a' }), MAIL).flags).toEqual(fresh('$.From'))
  })
})

describe('a body that can not be read', () => {
  const unreadable = inspected({ kind: 'bad', why: 'the body is not strict JSON' })
  it('is said to be so, and denied where the shape is enforced', () => {
    const said = { failure: null, flags: ['shape_unknown'], learned: [] }
    expect(judge('learn', unreadable)).toEqual(said)
    expect(judge('alert', unreadable)).toEqual(said)
    const failure = { why: 'the body is not strict JSON', flags: ['shape_unknown'] }
    expect(judge('enforce', unreadable)).toEqual({ failure, flags: [], learned: [] })
  })

  it.each([null, 'learn', 'alert', 'enforce'] as const)('because there is none has no members: %s', (mode) => {
    expect(judge(mode, inspected({ kind: 'bad', why: 'the Content-Type is not JSON' }, true))).toBe(NOTHING_NEW)
  })
})

it('a rule that says nothing of shapes does not look', () => {
  expect(judge(null, json({ Bcc: 'x' }))).toBe(NOTHING_NEW)
})

describe('of members beyond a bound', () => {
  const many = (count: number): Inspected =>
    json(Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index])))

  it('16 are flagged, and that there are more', () => {
    expect(judge('alert', many(16)).flags).toHaveLength(16)
    const { flags } = judge('alert', many(5_000))
    expect(flags).toHaveLength(17)
    expect(flags.slice(15)).toEqual(['new_member:$.m15', 'new_member:…'])
    expect(judge('enforce', many(5_000)).failure?.flags).toHaveLength(17)
  })

  it('as many are learned at once as a rule has room for', () => {
    expect(judge('learn', many(5_000)).learned).toHaveLength(MAX_MEMBERS)
  })

  it('one that is too long is shown cut, and never learned', () => {
    const name = 'a'.repeat(100_000)
    const body = json({ To: 'b', x: 1, [name]: { y: 1 }, form: 2 })
    const cut = `$.${'a'.repeat(253)}…`
    expect(judge('learn', body)).toEqual({ failure: null, flags: fresh(cut), learned: ['$.x', '$.form'] })
    expect(judge('alert', body).flags).toEqual(fresh('$.x', cut, '$.form'))
    expect(judge('enforce', json({ [name]: 1 })).failure?.why).toBe(
      `${cut} was never seen; set shape: learn to learn it`,
    )
    expect(judge('learn', fields('form', name))).toMatchObject({
      learned: [],
      flags: [expect.stringMatching(/^new_member:form:a{250}…$/)],
    })
  })

  it('those below one that is too long are not looked at: their paths would be longer than any memory', () => {
    const inner = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`m${index}`, index]))
    expect(judge('alert', json({ ['a'.repeat(500_000)]: inner })).flags).toHaveLength(1)
  })
})
