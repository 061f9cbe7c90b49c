// Paths with more than one reading: what policy judges and what the origin gets are the same bytes, or nothing leaves.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { reasonOf } from '../support/clients.ts'
import { ALLOWED, ask, DOORS, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({
    rules: `  - { id: public, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/public/**", "/allowed", "/repo", "/SECRET"] } }
  - { id: packages, allow: { hosts: [${ALLOWED}], ports: [PORT], paths: ["/npm/**"], encoded_slash: allow } }
`,
  })
})
afterAll(() => standard.close())
beforeEach(() => {
  standard.origin.seen.length = 0
})

const REFUSED: [string, string, number, string][] = [
  ['[D01] dot segments', '/public/../secret', 400, 'path_not_canonical'],
  ['[D01] a trailing dot segment', '/public/..', 400, 'path_not_canonical'],
  ['[D02] encoded dot segments', '/public/%2e%2e/secret', 400, 'path_not_canonical'],
  ['[D02] half-encoded dot segments', '/public/.%2E/secret', 400, 'path_not_canonical'],
  ['[D03] above the root', '/../../etc/passwd', 400, 'path_not_canonical'],
  ['[D04] an empty segment first', '//secret', 400, 'path_not_canonical'],
  ['[D04] an empty segment', '/public//secret', 400, 'path_not_canonical'],
  ['[D05] an encoded slash', '/public/%2F..%2Fsecret', 400, 'path_not_canonical'],
  ['[D05] an encoded backslash', '/public/%5C..%5Csecret', 400, 'path_not_canonical'],
  ['[D06] dot segments behind an encoded slash where a rule allows it', '/npm/..%2fsecret', 400, 'path_not_canonical'],
  ['[D08] a backslash', '/public\\..\\secret', 400, 'path_not_canonical'],
  ['[D10] an overlong encoding', '/public/%c0%ae%c0%ae/secret', 400, 'path_not_canonical'],
  ['[D10] a unicode escape', '/public/%u002e', 400, 'path_not_canonical'],
  ['[D10] a bad escape', '/public/%zz', 400, 'path_not_canonical'],
  ['[D10] a lone percent', '/public/%', 400, 'path_not_canonical'],
  ['[D11] an encoded NUL', '/public/a%00.png', 400, 'path_not_canonical'],
  ['[D11] an encoded CRLF', '/public/a%0d%0aX:1', 400, 'path_not_canonical'],
  ['[D12] another case', '/Secret', 403, 'no_matching_rule'],
  ['[D13] an escaped unreserved character hides nothing', '/secre%74', 403, 'no_matching_rule'],
  ['[D15] an encoded question mark is part of the path', '/allowed%3fx', 403, 'no_matching_rule'],
  ['[D17] a longer name than the rule', '/repo-evil', 403, 'no_matching_rule'],
  ['[D17] a trailing slash', '/allowed/', 403, 'no_matching_rule'],
  ['[D18] an asterisk with GET', '*', 400, 'malformed'],
  ['a path parameter', '/public/a;b=c', 400, 'path_not_canonical'],
]

const FORWARDED: [string, string][] = [
  ['[D09] double encoding stays what it is', '/public/%252e%252e'],
  ['[D13] an escaped unreserved character, in the original spelling', '/%61llowed'],
  ['[D15] a query is no path', '/allowed?x=/../secret'],
  ['[D15] an empty query', '/allowed?'],
  ['lower-case escapes, in the original spelling', '/public/%e2%82%ac'],
  ['[D05] an encoded slash where a rule allows it', '/npm/@scope%2fname'],
]

describe.each(DOORS)('through the %s door', (door) => {
  it.each(REFUSED)('%s', async (_name, target, status, reason) => {
    const answer = await ask(standard.lab, door, standard.authority, { target })
    expect([answer.status, reasonOf(answer)]).toEqual([status, reason])
    expect(standard.origin.seen).toEqual([])
  })

  it.each(FORWARDED)('%s', async (_name, target) => {
    const answer = await ask(standard.lab, door, standard.authority, { target })
    expect(answer.status).toBe(200)
    expect(standard.origin.seen.map((seen) => seen.url)).toEqual([target])
  })

  it('[D16] raw UTF-8 in the path', async () => {
    const answer = await ask(standard.lab, door, standard.authority, { target: '/public/\u00c3\u00a9' })
    expect(answer.status).toBe(400)
    expect(standard.origin.seen).toEqual([])
  })
})
