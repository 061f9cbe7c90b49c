// Unmodified MCP servers and real clients behind the real redirection: what they get, what the origin sees, what the trail tells.

import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditRecord } from '../support/lab.ts'
import { ANSWERS, LONG_TEXT } from './support/answers.ts'
import {
  BRAVE,
  type Family,
  GITHUB,
  type Machine,
  machinePossible,
  SOURCES,
  startMachine,
  WORKLOAD_UID,
} from './support/machine.ts'
import { SERVERS, startMcpServer } from './support/mcp-server.ts'
import type { OriginEvent } from './support/origin-process.ts'
import { readTrail } from './support/proxy-process.ts'
import { NEUTRAL } from './support/spawner.ts'
import { ask, clientMissing, type Got, type WebAnswer, type WebClient } from './support/web-clients.ts'

const GITHUB_TOKEN = 'ghp_e2eDummyTokenThatMustNotBeWritten01'
const BRAVE_KEY = 'BSAe2eDummyKeyThatMustNotBeWritten02'

const GITHUB_RULES = `  - id: github-read
    allow: { hosts: [${GITHUB}], methods: [GET], paths: [/search/repositories, "/repos/acme/**"] }
  - id: github-no-post
    deny: { hosts: [${GITHUB}], methods: [POST] }
`
const RULES = `${GITHUB_RULES}  - id: brave-search
    allow: { hosts: [${BRAVE}], methods: [GET], paths: [/res/v1/web/search] }
`

describe.skipIf(!machinePossible).each<Family>(['v4', 'v6'])(
  'behind the redirection, names with %s addresses',
  (family) => {
    let machine: Machine

    beforeAll(async () => {
      machine = await startMachine({ family, rules: RULES, answers: ANSWERS })
    })
    afterAll(() => machine?.close())

    const github = () => startMcpServer(machine, SERVERS.github, { GITHUB_PERSONAL_ACCESS_TOKEN: GITHUB_TOKEN })
    const brave = () => startMcpServer(machine, SERVERS.brave, { BRAVE_API_KEY: BRAVE_KEY })
    const asked = (path: string): OriginEvent[] =>
      machine.origin.events.filter(({ event, url }) => event === 'request' && url?.startsWith(path) === true)

    const now = (): number => machine.proxy.records().length
    /** The first attempt for `path` after the record `since`: its decision and its end. */
    const attempt = async (path: string, since: number): Promise<{ decided: AuditRecord; completed: AuditRecord }> => {
      const find = (records: AuditRecord[]): AuditRecord[] => {
        const later = records.slice(since)
        const decided = later.find((record) => record.event === 'request.decided' && record['path'] === path)
        return later.filter((record) => decided !== undefined && record.request_id === decided.request_id)
      }
      const records = await machine.proxy.waitFor(`end of ${path}`, (found) => find(found).length === 2)
      const [decided, completed] = find(records) as [AuditRecord, AuditRecord]
      return { decided, completed }
    }

    describe('server-github', () => {
      it.each([
        ['search_repositories', { query: 'app' }, '/search/repositories', 'found through the proxy'],
        [
          'get_file_contents',
          { owner: 'acme', repo: 'app', path: 'README.md' },
          '/repos/acme/app/contents/README.md',
          'the readme of acme',
        ],
      ])('%s works, its record was down before the origin heard of it', async (tool, parameters, path, expected) => {
        const before = now()
        const server = await github()
        const { failed, text } = await server.call(tool, parameters)
        await server.close()
        expect(text).toContain(expected)
        expect(failed).toBe(false)
        const [seen, ...more] = asked(path)
        expect(more).toEqual([])
        expect(seen?.headers).toContain(`Bearer ${GITHUB_TOKEN}`)
        const { decided, completed } = await attempt(path, before)
        expect(decided).toMatchObject({
          decision: 'allow',
          enforced: true,
          rule: 'github-read',
          door: 'transparent',
          method: 'GET',
          host: GITHUB,
          sni: GITHUB,
          client: { name: 'workload' },
          original_destination: family === 'v4' ? '198.51.100.10:443' : '[2001:db8::10]:443',
        })
        expect(completed).toMatchObject({ event: 'request.completed', outcome: 'completed', status: 200 })
        const writtenThen = readTrail(machine.proxy.trailFile, seen?.trailBytes)
        expect(writtenThen.map(({ request_id, event }) => [request_id, event])).toContainEqual([
          decided.request_id,
          'request.decided',
        ])
      })

      it.each([
        [
          'create_issue',
          { owner: 'acme', repo: 'app', title: 'x' },
          '/repos/acme/app/issues',
          'denied_by_rule',
          'github-no-post',
        ],
        [
          'fork_repository',
          { owner: 'acme', repo: 'app' },
          '/repos/acme/app/forks',
          'denied_by_rule',
          'github-no-post',
        ],
        [
          'get_file_contents',
          { owner: 'other', repo: 'app', path: 'x' },
          '/repos/other/app/contents/x',
          'no_matching_rule',
          null,
        ],
        ['search_users', { q: 'someone' }, '/search/users', 'no_matching_rule', null],
      ])('%s is refused, and the origin hears nothing', async (tool, parameters, path, reason, rule) => {
        const before = now()
        const server = await github()
        const { failed, text } = await server.call(tool, parameters)
        await server.close()
        expect(failed).toBe(true)
        // Of a 403 this server shows the model nothing but the body's `message`.
        expect(text).toContain(`mcp-egress: ${reason}: `)
        const { decided, completed } = await attempt(path, before)
        expect(decided).toMatchObject({ decision: 'deny', enforced: true, reason, rule, client: { name: 'workload' } })
        expect(completed).toMatchObject({
          event: 'request.completed',
          outcome: 'refused',
          status: 403,
          upstream_address: null,
        })
        expect(asked(path)).toEqual([])
      })
    })

    describe.each<WebClient>(['curl', 'requests', 'httpx'])('%s', (client) => {
      describe.skipIf(clientMissing(client) !== null).each(['transparent', 'connect'] as const)(
        'by the %s door',
        (door) => {
          const get = async (path: string): Promise<Got | undefined> => {
            const env = door === 'connect' ? machine.proxied : machine.trusting
            const [got] = await ask(
              machine.workload,
              client,
              { method: 'GET', url: `https://${GITHUB}${path}` },
              { env, uid: WORKLOAD_UID },
            )
            return got
          }

          it('gets the very bytes a direct request gets', async () => {
            const before = now()
            const got = answered(await get('/repos/acme/app/long'))
            const records = machine.proxy.records()
            const url = `https://${GITHUB}/repos/acme/app/long`
            const env = { ...NEUTRAL, CURL_CA_BUNDLE: machine.root.file }
            const straight = answered((await ask(machine.internet, 'curl', { method: 'GET', url }, { env }))[0])
            expect(got.status).toBe(200)
            expect(got.body.equals(straight.body)).toBe(true)
            expect(got.body.toString()).toBe(LONG_TEXT)
            for (const name of ['content-type', 'content-length', 'etag', 'x-request-id']) {
              expect([name, got.headers.get(name)]).toEqual([name, straight.headers.get(name) ?? 'sent by the origin'])
            }
            const decided = records.slice(before).filter((record) => record.event === 'request.decided')
            expect(decided).toMatchObject([
              { decision: 'allow', rule: 'github-read', door, client: { name: 'workload' } },
            ])
          })

          it('reads the refusal, which was in the trail by then', async () => {
            const before = now()
            const got = answered(await get('/user/emails'))
            const records = machine.proxy.records()
            expect(got.status).toBe(403)
            const body = JSON.parse(got.body.toString()) as Record<string, unknown>
            expect(body).toMatchObject({
              error: 'egress_denied',
              reason: 'no_matching_rule',
              rule: null,
              client: 'workload',
              method: 'GET',
              host: GITHUB,
              path: '/user/emails',
            })
            expect(body['hint']).toContain('github-read')
            expect(got.headers.get('x-request-id')).toBe(body['request_id'])
            expect(got.headers.get('proxy-status')).toContain('http_request_denied')
            const decided = records.slice(before).find((record) => record.request_id === body['request_id'])
            expect(decided).toMatchObject({
              event: 'request.decided',
              decision: 'deny',
              reason: 'no_matching_rule',
              door,
            })
            expect(asked('/user/emails')).toEqual([])
          })
        },
      )
    })

    it('server-brave-search works until a reload takes its rule away; then the model reads why', async () => {
      const before = now()
      const first = await brave()
      expect(await first.call('brave_web_search', { query: 'anything' })).toMatchObject({
        failed: false,
        text: expect.stringContaining('found through the proxy') as string,
      })
      await first.close()
      const allowed = await attempt('/res/v1/web/search', before)
      expect(allowed.decided).toMatchObject({ decision: 'allow', rule: 'brave-search', host: BRAVE })
      const heard = asked('/res/v1/web/search').length
      expect(heard).toBe(1)

      await machine.reload(GITHUB_RULES)
      const after = now()
      const second = await brave()
      const { failed, text } = await second.call('brave_web_search', { query: 'anything' })
      await second.close()
      expect(failed).toBe(true)
      expect(text).toContain('Brave API error: 403 Forbidden')
      expect(text).toContain('"reason":"no_matching_rule"')
      expect((await attempt('/res/v1/web/search', after)).decided).toMatchObject({ decision: 'deny', host: BRAVE })
      expect(asked('/res/v1/web/search')).toHaveLength(heard)
    })

    it('never let a connection reach the origin for which no decision had been written', () => {
      const reached = machine.origin.events.filter(
        ({ event, peer }) => event === 'connection' && SOURCES.includes(peer ?? ''),
      )
      expect(reached.length).toBeGreaterThan(0)
      for (const [index, { trailBytes }] of reached.entries()) {
        const written = readTrail(machine.proxy.trailFile, trailBytes ?? 0)
        const allowed = written.filter((record) => record.event === 'request.decided' && record['decision'] === 'allow')
        expect(allowed.length).toBeGreaterThan(index)
      }
    })

    it('has a trail in which every attempt is decided, then completed, once each, and no secret is written', async () => {
      const env = machine.trusting
      const url = `https://${GITHUB}/search/repositories?q=x&access_token=${GITHUB_TOKEN}`
      const [got] = await ask(machine.workload, 'curl', { method: 'GET', url }, { env, uid: WORKLOAD_UID })
      expect(answered(got).status).toBe(200)
      const of = (records: AuditRecord[], event: string): AuditRecord[] =>
        records.filter((record) => record.event === event)
      const records = await machine.proxy.waitFor(
        'end of every attempt',
        (found) => of(found, 'request.decided').length === of(found, 'request.completed').length,
      )
      const decided = of(records, 'request.decided')
      expect(decided.length).toBeGreaterThan(10)
      for (const { request_id, seq } of decided) {
        const ends = of(records, 'request.completed').filter((record) => record.request_id === request_id)
        expect(ends).toHaveLength(1)
        expect(ends[0]?.seq).toBeGreaterThan(seq)
      }
      expect(records.map(({ seq }) => seq)).toEqual(records.map((_record, index) => (records[0]?.seq ?? 0) + index))
      const text = readFileSync(machine.proxy.trailFile, 'latin1')
      expect(text).not.toContain(GITHUB_TOKEN)
      expect(text).not.toContain(BRAVE_KEY)
      expect(text).toMatch(/access_token=hmac:/)
    })
  },
)

function answered(got: Got | undefined): WebAnswer {
  if (got === undefined || 'error' in got) throw new Error(`no answer: ${JSON.stringify(got)}`)
  return got
}
