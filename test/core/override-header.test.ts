import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OVERRIDE_HEADERS, overrideHeaders } from '../../src/core/override-header.ts'

describe('fields that override method or path', () => {
  it('are found in any case, with any mix of dashes and underscores, and nothing else is', () => {
    const spelled = fc
      .tuple(fc.constantFrom(...OVERRIDE_HEADERS), fc.array(fc.nat(3), { minLength: 30, maxLength: 30 }))
      .map(([name, how]) =>
        Array.from(name, (char, at) => {
          if (char === '-') return how[at] === 0 ? '_' : '-'
          return how[at] === 1 ? char.toUpperCase() : char
        }).join(''),
      )
    const other = fc.constantFrom('Host', 'X-Forwarded-For', 'x-original-urls', 'X-Http-Methods', 'X', 'http-method')
    fc.assert(
      fc.property(fc.array(fc.oneof(spelled, other)), (names) => {
        const lower = names.map((name) => name.toLowerCase().replaceAll('_', '-'))
        const expected = [...new Set(lower.filter((name) => OVERRIDE_HEADERS.includes(name)))]
        expect(overrideHeaders(names.flatMap((name) => [name, 'x']))).toEqual(expected)
      }),
    )
  })
})
