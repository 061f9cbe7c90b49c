// What is learned from any trail allows all that the trail says was forwarded, and nothing that differs from it in one thing.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import type { TrailRecord } from '../../src/audit/read.ts'
import { learn, newLesson, policyOf } from '../../src/cli/learn.ts'
import { yamlOf } from '../../src/cli/learn-yaml.ts'
import { compare } from '../../src/cli/replay-compare.ts'
import { judgeRequest } from '../../src/config/judge-request.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

interface Request {
  readonly client: string
  readonly method: string
  readonly host: string
  readonly scheme: 'http' | 'https'
  readonly port: number
  readonly path: string
  readonly webSocket: boolean
  /** Forwarded by a rule, or by observe mode in want of one. */
  readonly by: 'rule' | 'observe'
}

const NAMES: readonly string[] = ['users', 'repos', 'acme', 'v2', "o'brien", 'a:b', '%7e', '@s%2fx', '%C3%A9', '']
const name = fc.constantFrom(...NAMES.slice(0, -1))
const id = fc.oneof(fc.nat().map(String), fc.uuid(), fc.ulid(), fc.constantFrom('a1b2c3d4', 'aB3dE5fG7hJ9kL1m'))
const path = fc
  .tuple(fc.array(fc.oneof({ arbitrary: name, weight: 2 }, id), { maxLength: 3 }), fc.constantFrom('', '/'))
  .map(([segments, end]) => (segments.length === 0 ? '/' : `/${segments.join('/')}${end}`))
function mostly<T>(usual: T, ...others: T[]): fc.Arbitrary<T> {
  return fc.oneof({ arbitrary: fc.constant(usual), weight: 5 }, { arbitrary: fc.constantFrom(...others), weight: 1 })
}

const request: fc.Arbitrary<Request> = fc.record({
  // Most are of one client and origin, so that there is something to pair.
  client: mostly('github-mcp', 'anonymous', 'mail.mcp'),
  method: fc.constantFrom('GET', 'HEAD', 'POST', 'QUERY'),
  host: mostly('api.example.com', '192.0.2.7', '10.0.0.7', '2001:db8::7'),
  scheme: mostly('https', 'http'),
  port: mostly(443, 80, 8443),
  path,
  webSocket: mostly(false, true),
  by: fc.constantFrom('rule', 'observe'),
})
const trail = fc.array(request, { minLength: 1, maxLength: 12 })

const RUNS = 60
const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-learn-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function records({ client, webSocket, by, ...asked }: Request): [TrailRecord, TrailRecord] {
  const source = client === 'anonymous' ? '10.9.0.9' : `172.30.0.${client.length}`
  const verdict =
    by === 'rule' ? {} : { decision: 'deny', enforced: false, rule: null, reason: reasonOf(asked, webSocket) }
  return [
    { ...DECIDED, timestamp: '2026-11-20T08:00:00.000Z', client: { name: client, source }, ...asked, ...verdict },
    { ...COMPLETED, status: webSocket ? 101 : 200, upstream_address: null },
  ]
}

const reasonOf = ({ path: asked }: { path: string }, webSocket: boolean): string =>
  asked.includes('%2f') ? 'path_not_canonical' : webSocket ? 'upgrade_denied' : 'no_matching_rule'

/** By the text, as a reader of the file would. */
function learnedConfig(
  requests: readonly Request[],
  merge: number | null = null,
  present: Config | null = null,
): Config {
  const lesson = newLesson(present, merge, false)
  for (const each of requests) learn(lesson, ...records(each))
  return configOf(yamlOf(policyOf(lesson, null)))
}

function configOf(text: string): Config {
  const file = join(folder, 'learned.yaml')
  writeFileSync(file, text)
  const loaded = loadConfig(file, {})
  if (!loaded.ok) throw new Error(`${JSON.stringify(loaded.problems)}\n${text}`)
  return loaded.config
}

function allows(config: Config, { client, method, host, scheme, port, path: asked, webSocket }: Request): boolean {
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const url = `${webSocket ? scheme.replace('http', 'ws') : scheme}://${authority}${asked}`
  return judgeRequest(config, client, method, url).decision === 'allow'
}

/** What one request may teach at most: itself, and any id in the place of an id. */
function covers(seen: Request, other: Request): boolean {
  const same = (['client', 'method', 'host', 'scheme', 'port'] as const).every((key) => seen[key] === other[key])
  if (!same || (other.webSocket && !seen.webSocket)) return false
  if (other.path.includes('%2f') && !seen.path.includes('%2f')) return false
  const [from, to] = [seen.path.split('/'), other.path.split('/')]
  if (from.length !== to.length) return false
  return from.every((segment, at) => segment === to[at] || (!NAMES.includes(segment) && to[at] !== ''))
}

describe('a learned policy', () => {
  it('allows all that is in its trail, whatever is merged', () => {
    fc.assert(
      fc.property(trail, fc.constantFrom(null, 2, 3), (requests, merge) => {
        const config = learnedConfig(requests, merge)
        for (const each of requests) expect([each, allows(config, each)]).toEqual([each, true])
      }),
      { numRuns: RUNS },
    )
  })

  it.each<[string, Partial<Request>]>([
    ['another client', { client: 'stranger' }],
    ['another host', { host: 'evil.example' }],
    ['a host below', { host: 'x.api.example.com' }],
    ['another method', { method: 'PATCH' }],
    ['TRACE', { method: 'TRACE' }],
    ['another port', { port: 9443 }],
    ['another first segment', { path: '/admin' }],
    ['another last segment', { path: '/users/admin' }],
    ['a longer path', { path: '/users/1/2/3/4/5' }],
  ])('allows nothing that has %s', (_what, other) => {
    fc.assert(
      fc.property(trail, (requests) => {
        const config = learnedConfig(requests)
        for (const each of requests) {
          const changed = { ...each, ...other }
          expect([changed, allows(config, changed)]).toEqual([changed, requests.some((seen) => covers(seen, changed))])
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('pairs nothing that was not seen together', () => {
    fc.assert(
      fc.property(trail, fc.nat(), fc.nat(), (requests, at, from) => {
        const config = learnedConfig(requests)
        const [one, other] = [requests[at % requests.length], requests[from % requests.length]] as [Request, Request]
        for (const key of ['client', 'method', 'host', 'scheme', 'port'] as const) {
          const mixed: Request = { ...one, [key]: other[key] }
          const seen = requests.some((each) => covers(each, mixed))
          expect([mixed, allows(config, mixed)]).toEqual([mixed, seen])
        }
      }),
      { numRuns: RUNS * 2 },
    )
  })

  it('makes `replay` find no denial, and nothing that can not be told', () => {
    fc.assert(
      fc.property(trail, (requests) => {
        const config = learnedConfig(requests)
        for (const each of requests) {
          const compared = compare(config, records(each)[0], each.webSocket ? 101 : 200)
          const allowedThen = { kind: 'same' }
          const observedThen = { kind: 'changed', was: { decision: 'deny' }, now: { decision: 'allow' } }
          expect(compared).toMatchObject(each.by === 'rule' ? allowedThen : observedThen)
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('leaves itself nothing to add', () => {
    fc.assert(
      fc.property(trail, (requests) => {
        const lesson = newLesson(learnedConfig(requests), null, false)
        for (const each of requests) learn(lesson, ...records(each))
        const { rules, leftOut } = policyOf(lesson, 'learned.yaml')
        expect([rules, leftOut.size]).toEqual([[], 0])
      }),
      { numRuns: RUNS },
    )
  })

  it('is the same whatever the order of its trail, but for its examples', () => {
    fc.assert(
      fc.property(trail, fc.nat(), (requests, turn) => {
        const turned = [...requests.slice(turn % requests.length), ...requests.slice(0, turn % requests.length)]
        expect(learnedConfig(turned).rules).toEqual(learnedConfig(requests).rules)
      }),
      { numRuns: RUNS },
    )
  })
})
