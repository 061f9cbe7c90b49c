import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { derivedRuleId, writtenRuleId } from '../../src/core/rule-id.ts'

describe('the id of a rule made of another', () => {
  it.each([
    ['an operationId', 'issues/list-for-repo', 'r:issues/list-for-repo'],
    ['a request', 'GET:/repos/{owner}/{id}.json', 'r:GET:/repos/{owner}/{id}.json'],
    ['a blank', 'Get issue', 'r:Get%20issue'],
    ['a quote and a line break', '"\r\n', 'r:%22%0D%0A'],
    ['letters beyond ASCII', 'préférence 😀', 'r:pr%C3%A9f%C3%A9rence%20%F0%9F%98%80'],
    ['what looks escaped', 'a%20b', 'r:a%2520b'],
    ['the mark of a second endpoint', 'a@2', 'r:a%402'],
    ['half a character', '\ud83d', 'r:%EF%BF%BD'],
  ])('%s', (_, part, id) => {
    expect(derivedRuleId('r', part)).toBe(id)
  })

  it('differs where the part does, needs no quotes, and leads back', () => {
    const part = fc.string({ unit: 'grapheme' })
    fc.assert(
      fc.property(part, part, (a, b) => {
        const [one, other] = [derivedRuleId('r', a), derivedRuleId('r', b)]
        expect(one === other).toBe(a === b)
        expect(one).toMatch(/^[!#-&*-;=?-~]+$/)
        expect(writtenRuleId(one)).toBe('r')
      }),
    )
  })

  it('is that of the file where none was made', () => {
    expect(writtenRuleId('github-issues')).toBe('github-issues')
    expect(writtenRuleId('')).toBe('')
  })
})
