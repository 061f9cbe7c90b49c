// An allowed API with room for everybody, used with the attacker's account: paths tell accounts apart, and the trail shows a change of keys.

import { expect, it } from 'vitest'
import { HOST, refusalOf } from '../doors/support/bed.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'

const BUCKET = 'acme-bucket.s3.allowed.test'
const RULES = `  - { id: repository, audit: headers, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https], paths: ["/repos/acme/**"] } }
  - { id: bucket, audit: headers, allow: { hosts: [${BUCKET}], ports: [PORT], schemes: [http, https] } }
  - { id: bucket-by-path, allow: { hosts: [s3.allowed.test], ports: [PORT], schemes: [http, https], paths: ["/acme-bucket/**"] } }
`
const HOSTS = [HOST, BUCKET, 's3.allowed.test', 'evil-bucket.s3.allowed.test']

const OTHER_ACCOUNTS: readonly (readonly [what: string, host: string, path: string, reason: string])[] = [
  ['a gist', HOST, '/gists', 'no_matching_rule'],
  ['a repository of its own', HOST, '/repos/evil/loot/contents/x', 'no_matching_rule'],
  ['an account whose name only begins so', HOST, '/repos/acme-evil/x', 'no_matching_rule'],
  ['the account in another case', HOST, '/repos/Acme/x', 'no_matching_rule'],
  ['the account behind dots', HOST, '/repos/acme/../evil/x', 'path_not_canonical'],
  ['the account behind escaped dots', HOST, '/repos/acme/%2e%2e/evil/x', 'path_not_canonical'],
  ['the account behind an escaped slash', HOST, '/repos/acme%2f..%2fevil/x', 'path_not_canonical'],
  ['the account in the query alone', HOST, '/gists?owner=/repos/acme/', 'no_matching_rule'],
  ['another bucket as a host', 'evil-bucket.s3.allowed.test', '/x', 'no_matching_rule'],
  ['another bucket as a path', 's3.allowed.test', '/evil-bucket/x', 'no_matching_rule'],
  ['a bucket whose name only begins so', 's3.allowed.test', '/acme-bucket-2/x', 'no_matching_rule'],
]

const OWN = 'the-key-of-acme-0123456789'
const FOREIGN = 'the-key-of-evil-9876543210'

/** Where a key stands, as field lines or as a query. */
const KEYS: readonly (readonly [where: string, fields: (key: string) => string, query: (key: string) => string])[] = [
  ['Bearer credentials', (key) => `Authorization: Bearer ${key}\r\n`, () => ''],
  ['credentials of GitHub', (key) => `Authorization: token ${key}\r\n`, () => ''],
  ['Basic credentials', (key) => `Authorization: Basic ${Buffer.from(`me:${key}`).toString('base64')}\r\n`, () => ''],
  ['a field of its own', (key) => `X-Api-Key: ${key}\r\n`, () => ''],
  ['a cookie', (key) => `Cookie: theme=dark; session=${key}\r\n`, () => ''],
  ['the query', () => '', (key) => `?page=2&access_token=${key}`],
]

eachWay(
  EVERY_WAY,
  (bed, way) => {
    it.each(OTHER_ACCOUNTS)('[J06] %s is not what the rule names', async (_what, host, path, reason) => {
      const { ask, origin } = bed()
      const before = origin.asked.length
      const answer = await ask(path, { host, fields: `Authorization: Bearer ${FOREIGN}\r\n` })
      expect(refusalOf(answer).reason).toBe(reason)
      expect(origin.asked.length).toBe(before)
    })

    it.each(KEYS)(
      '[J06] a key in %s has the same fingerprint as long as it is the same, and never stands there',
      async (where, fields, query) => {
        const { ask, lab } = bed()
        const path = `/repos/acme/${way.door}-${way.tls}-${where.replaceAll(' ', '-')}`
        for (const key of [OWN, OWN, FOREIGN, OWN]) {
          expect((await ask(`${path}${query(key)}`, { fields: fields(key) })).status).toBe(200)
        }
        const records = lab.recordsOf('request.decided').filter((record) => record['path'] === path)
        const told = records.map((record) => JSON.stringify([record['query'], record['request_headers']]))
        const marks = told.map((text) => text.match(/hmac:[0-9a-f]{16}/g) ?? [])
        expect(marks.map(({ length }) => length > 0)).toEqual([true, true, true, true])
        const [first, second, other, last] = marks.map((found) => found.join(' '))
        expect([second, last]).toEqual([first, first])
        expect(other).not.toBe(first)
        expect(told.join('')).not.toMatch(new RegExp(`${OWN}|${FOREIGN}|${Buffer.from(OWN).toString('base64')}`))
        // All of it but the key is the same.
        expect(new Set(told.map((text) => text.replaceAll(/hmac:[0-9a-f]{16}/g, 'key'))).size).toBe(1)
      },
    )
  },
  { rules: RULES, names: Object.fromEntries(HOSTS.map((name) => [name, ['127.0.0.1']])) },
)
