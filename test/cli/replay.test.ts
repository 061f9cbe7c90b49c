// What a changed policy decides otherwise, what it decides alike, and what a trail can not tell.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { replayCommand } from '../../src/cli/replay.ts'
import { Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

let fixture: Fixture
beforeEach(async () => {
  fixture = new Fixture()
  await fixture.open()
})
afterEach(() => fixture.remove())

const GITHUB = { host: 'api.github.com', method: 'GET', scheme: 'https', port: 443, query: null } as const
const allowed = (path: string, more = {}): Promise<string> =>
  fixture.request({ decided: { ...GITHUB, decision: 'allow', rule: 'github', reason: null, path, ...more } })
const denied = (path: string, more = {}): Promise<string> => fixture.denied({ ...GITHUB, path, ...more })

async function replayed(rules: string, ...flags: string[]): Promise<Ended> {
  await fixture.trail.close()
  const file = join(fixture.folder, 'changed.yaml')
  writeFileSync(file, `version: 1\nclients: [{ name: github-mcp, source: [172.30.0.5] }]\nrules:\n${rules}`)
  return run(replayCommand, ['-c', file, ...flags, fixture.path])
}

const WIDE = '  - { id: github, allow: { hosts: [api.github.com] } }\n'
const NARROW = '  - { id: github, allow: { hosts: [api.github.com], paths: ["/repos/**"] } }\n'

describe('replay', () => {
  it('of the policy that was in force finds no difference', async () => {
    await allowed('/user')
    await denied('/', { host: 'evil.example' })
    const { code, out } = await replayed(WIDE)
    expect([code, out]).toEqual([0, '2 requests decided as before\n'])
  })

  it('names what a narrower one denies, with the missing piece, and ends with 3', async () => {
    await allowed('/repos/acme/app')
    await allowed('/user')
    await allowed('/user/emails')
    const { code, out } = await replayed(NARROW)
    expect(code).toBe(3)
    expect(out).toMatch(/^now denied {2}\S+ GET https:\/\/api\.github\.com: 2 requests, last 2026-11-20T/)
    expect(out).toContain(
      '\n  was   allow by github\n  now   deny no_matching_rule: add /user to the paths of rule github\n',
    )
    expect(out).toContain('\n  path  /user  /user/emails\n1 request decided as before\n')
  })

  it.each(['secret:github_token', 'inject:GITHUB'])('leaves open what %s has denied', async (rule) => {
    await denied('/user', { reason: 'denied_by_rule', rule })
    const { code, out } = await replayed(WIDE)
    expect([code, out]).toEqual([
      0,
      '0 requests decided as before; can not be told: 1 (its secrets are not in a trail)\n',
    ])
  })

  it('takes no log of something else for a trail in which nothing happened', async () => {
    const file = join(fixture.folder, 'access.log')
    writeFileSync(file, 'GET / 200\nGET /a 200\n')
    const ended = await run(replayCommand, [file])
    expect(ended).toMatchObject({ code: 1, message: expect.stringContaining('no record of an audit trail') })
  })

  it('leaves open what asks for no path', async () => {
    await allowed('*', { method: 'OPTIONS' })
    const { code, out } = await replayed(WIDE)
    expect([code, out]).toEqual([0, '0 requests decided as before; can not be told: 1 (it asks for no path)\n'])
  })

  it('names what a wider one allows, and ends with 0', async () => {
    await denied('/user')
    const { code, out } = await replayed(WIDE)
    expect(code).toBe(0)
    expect(out).toMatch(/^now allowed \S+ GET https:\/\/api\.github\.com: 1 request,/)
    expect(out).toContain('  was   deny no_matching_rule\n  now   allow by github\n')
  })

  it('in JSON', async () => {
    await allowed('/user')
    const { code, out } = await replayed(NARROW, '--json')
    expect(code).toBe(3)
    expect(JSON.parse(out)).toMatchObject({
      same: 0,
      denied: [
        { method: 'GET', service: 'https://api.github.com', count: 1, paths: ['/user'], now: { decision: 'deny' } },
      ],
      allowed: [],
      open: {},
    })
  })

  it.each([
    ['what no policy decides', { decision: 'deny', reason: 'identity_mismatch' }, WIDE, 'identity_mismatch'],
    ['a limit that was used up', { decision: 'deny', reason: 'rate_limited' }, WIDE, 'rate_limited'],
    [
      'bytes that were no request',
      { decision: 'deny', reason: 'malformed', method: null, host: null },
      WIDE,
      'it names no destination',
    ],
    [
      'a body',
      { decision: 'allow' },
      '  - { id: github, allow: { hosts: [api.github.com] }, body: { json: [{ path: $.a, must: be-absent }] } }\n',
      'its body decides',
    ],
    ['a path that is redacted', { path: '/user/hmac:0123456789abcdef' }, NARROW, 'its path is redacted'],
  ])('says of %s that it can not be told', async (_what, decided, rules, why) => {
    await allowed('/user', decided)
    const { code, out } = await replayed(rules)
    expect([code, out]).toEqual([0, `0 requests decided as before; can not be told: 1 (${why})\n`])
  })

  it('knows connections that were passed through', async () => {
    const spliced = { method: null, path: null, host: 'updates.vendor.example', rule: 'pinned' }
    await allowed('', spliced)
    const still = await replayed('  - { id: pinned, passthrough: { hosts: [updates.vendor.example] } }\n')
    expect([still.code, still.out]).toEqual([0, '1 request decided as before\n'])
    const { code, out } = await run(replayCommand, ['-c', join(fixture.folder, 'changed.yaml'), fixture.path])
    expect([code, out]).toEqual([0, '1 request decided as before\n'])
    await fixture.open()
    const none = await replayed(WIDE)
    expect(none.code).toBe(3)
    expect(none.out).toContain('no rule does that any more')
    await fixture.open()
    const opened = await replayed('  - { id: read, allow: { hosts: [updates.vendor.example], paths: [/feed] } }\n')
    expect([opened.code, opened.out]).toEqual([
      0,
      '0 requests decided as before; can not be told: 1 (it was passed through undecrypted)\n',
    ])
  })

  it('knows a WebSocket by its answer', async () => {
    await fixture.request({
      decided: { ...GITHUB, decision: 'allow', rule: 'chat', reason: null, path: '/socket' },
      completed: { status: 101 },
    })
    const { code, out } = await replayed('  - { id: chat, allow: { hosts: [api.github.com], upgrade: [websocket] } }\n')
    expect([code, out]).toEqual([0, '1 request decided as before\n'])
    await fixture.open()
    expect((await replayed(WIDE)).out).toContain('upgrade_denied')
  })

  it('lets nothing of a trail near a terminal as it is', async () => {
    await allowed(HOSTILE, { host: 'evil.example', client: { name: HOSTILE, source: '192.0.2.1' } })
    const { out } = await replayed(WIDE)
    expect(out).not.toMatch(UNSAFE)
  })

  it('needs a trail and a policy', async () => {
    await expect(run(replayCommand, [])).rejects.toThrow(/missing required argument/)
    expect((await run(replayCommand, ['-c', '/nowhere.yaml', fixture.path])).code).toBe(1)
    await fixture.trail.close()
    expect((await replayed(WIDE.replace('github.com', '*.com'))).code).toBe(1)
  })
})
