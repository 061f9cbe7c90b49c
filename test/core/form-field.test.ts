// The values of one field, and the spellings that some reader takes for it.

import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fieldValues } from '../../src/core/form-field.ts'

const field = (name: string, value: string | number = 'x'): { name: string; value: string | number } => ({
  name,
  value,
})

describe('the values of a field', () => {
  it('are all of that name, in order', () => {
    expect(fieldValues([field('To', 'a'), field('Cc'), field('To', 'b'), field('To', 3)], 'To')).toEqual(['a', 'b', 3])
  })

  it('are none where there is no such field', () => {
    expect(fieldValues([field('To'), field('BccName'), field('Bc')], 'Bcc')).toEqual([])
  })

  it.each([['bcc'], ['BCC'], ['Bcc[]'], ['Bcc[0]'], ['bcc[x][y]'], [' Bcc'], ['Bcc '], ['bCc']])(
    'are unknown beside %j',
    (name) => {
      expect(fieldValues([field('To'), field(name)], 'Bcc')).toBeNull()
      expect(fieldValues([field('Bcc'), field(name)], 'Bcc')).toBeNull()
    },
  )

  it.each([
    ['reply_to', 'reply.to'],
    ['reply_to', 'reply to'],
    ['reply_to', 'reply[to'],
    ['mask', 'ma\u017fk'],
    ['token', 'to\u212aen'],
    ['Bcc[]', 'Bcc'],
  ])('of %j are unknown beside %j', (name, other) => {
    expect(fieldValues([field(other)], name)).toBeNull()
  })

  it('of a list are found by its exact spelling', () => {
    expect(fieldValues([field('to[]', 'a'), field('to[]', 'b')], 'to[]')).toEqual(['a', 'b'])
  })

  it('[ at the beginning is a name like any other', () => {
    expect(fieldValues([field('[x]')], '[y]')).toEqual([])
  })

  it('are unknown beside whatever is read as the name, and beside nothing else', () => {
    const letter = fc.constantFrom(...'aAkKsS\u212a\u017f\u00df1_.[ '.split(''))
    const names = fc.string({ unit: letter, minLength: 1, maxLength: 3 })
    const folded = (name: string): string => name.trim().replaceAll(/[ .[]/g, '_').toUpperCase().toLowerCase()
    const read = (name: string): string[] => {
      const list = name.indexOf('[', 1)
      return [folded(name), ...(list === -1 ? [] : [folded(name.slice(0, list))])]
    }
    let alike = 0
    fc.assert(
      fc.property(names, names, (name, other) => {
        fc.pre(name !== other)
        const expected = read(other).some((reading) => read(name).includes(reading)) ? null : []
        expect(fieldValues([field(other)], name)).toEqual(expected)
        if (expected === null) alike += 1
      }),
      { numRuns: 5000 },
    )
    expect(alike).toBeGreaterThan(60)
  })
})
