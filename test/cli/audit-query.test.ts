// `audit query` finds what is asked for over all segments, and lets nothing of it near a terminal as it is.

import { appendFileSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Command } from 'commander'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { queryCommand } from '../../src/cli/audit-query.ts'
import { EXIT, ExitError } from '../../src/cli/exit.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'
import { audit as command, Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

const fixture = new Fixture()
const ids: Record<string, string> = {}
let files: string[]

beforeAll(async () => {
  await fixture.open()
  ids['read'] = await fixture.request({ decided: { path: '/user' } })
  ids['denied'] = await fixture.denied({ client: { name: 'postmark-mcp', source: '172.30.0.6' } })
  ids['hostile'] = await fixture.denied({ host: null, path: HOSTILE, query: HOSTILE, method: HOSTILE, sni: HOSTILE })
  const crossing = await fixture.request({ decided: { host: 'ws.example.com', path: '/socket' }, completed: null })
  await fixture.rotate()
  await fixture.request({
    decided: { host: 'a.deep.example.com', path: '/late' },
    completed: { status: 502, outcome: 'failed', reason: 'dns_failed' },
  })
  await fixture.write({
    event: 'request.completed',
    request_id: crossing,
    outcome: 'client_aborted',
    reason: 'client_aborted',
    status: 101,
    upstream_address: '192.0.2.1:443',
    bytes_sent: 5,
    bytes_received: 6,
    duration_ms: 12_000,
    timings: { dns: null, connect: null, tls: null, first_byte: null },
  })
  ids['crossing'] = crossing
  await fixture.write({
    event: 'dns.question',
    client: { name: 'github-mcp', source: '172.30.0.5' },
    question: { name: 'x.evil.example', type: 'TXT' },
    decision: 'deny',
    enforced: true,
    rule: null,
    reason: 'no_matching_rule',
    mode: 'enforce',
    policy: 'a'.repeat(64),
    answer: 'none',
    count: 1,
    security_flags: [],
  })
  ids['open'] = await fixture.request({ decided: { path: '/open' }, completed: null })
  // The ends of open requests are written when the trail is opened anew; copies keep them open.
  const { segmentsOf } = await import('../../src/audit/segments.ts')
  mkdirSync(join(fixture.folder, 'copy'))
  files = segmentsOf(fixture.path).map(({ path }) => {
    const copy = join(fixture.folder, 'copy', path.split('/').at(-1) ?? '')
    copyFileSync(path, copy)
    return copy
  })
})
afterAll(() => fixture.remove())

const audit = (...args: string[]): Promise<Ended> => run(command, args)
const query = (...args: string[]): Promise<Ended> => audit('query', ...files, ...args)
const found = async (...args: string[]): Promise<string[]> => {
  const { out } = await query('--json', ...args)
  const rows = out.split('\n').filter((line) => line !== '')
  return rows.map((line) => (JSON.parse(line) as { decided: { request_id: string } }).decided.request_id)
}
const names = (list: readonly string[]): (string | undefined)[] =>
  list.map((id) => Object.entries(ids).find(([, own]) => own === id)?.[0])

describe('query', () => {
  it('prints a line each, oldest first, the end beside the decision', async () => {
    const { out, err, code } = await query()
    expect(out.split('\n').slice(0, 2)).toEqual([
      expect.stringMatching(
        /^2026-11-20T08:\d\d:\d\d\.000Z github-mcp     allow      GET    https:\/\/api\.github\.com\/user\?state=open&per_page=100 200 84\.125 ms$/,
      ),
      expect.stringMatching(
        /Z postmark-mcp   deny       GET    https:\/\/evil\.example\/\S+ no_matching_rule 403 84\.125 ms$/,
      ),
    ])
    expect(out).toMatch(/https:\/\/ws\.example\.com\/socket\S* client_aborted 101 12000 ms\n/)
    expect(out).toMatch(/\/open\S* open\n$/)
    expect({ err, code, lines: out.split('\n').length - 1 }).toEqual({ err: '', code: 0, lines: 6 })
  })

  it('lets no control character through [K25]', async () => {
    const outputs = [
      await query(),
      await query('--json'),
      await query('--event', 'request.decided'),
      await audit('stats', ...files),
    ]
    for (const { out } of outputs) expect(out).not.toMatch(UNSAFE)
    expect(outputs[0]?.out).toContain(
      '/\\u0000\\u001b[2J\\u009b31m\\u202e\\u2066\\u000d\\u000a\\u0007\\u007f\\u2028\\ud800\\u00e9\\\\u001b"',
    )
  })

  it('gives the lines as they are, so that hashes can be checked', async () => {
    const { out } = await query('--json', '--request-id', ids['crossing'] ?? '')
    const raw = files
      .map((path) => readFileSync(path, 'latin1'))
      .join('')
      .split('\n')
    const [decided, completed] = raw.filter((line) => line.includes(ids['crossing'] ?? '-'))
    expect(out).toBe(`{"decided":${decided},"completed":${completed}}\n`)
  })

  it.each<[string[], string[]]>([
    [
      ['--decision', 'deny'],
      ['denied', 'hostile'],
    ],
    [['--client', 'postmark-mcp'], ['denied']],
    [['--host', 'evil.example'], ['denied']],
    [['--host', '*.example.com'], ['crossing']],
    [['--host', '**.example.com', '--limit', '1'], ['crossing']],
    [['--host', '*', '--decision', 'deny'], ['denied']],
    [
      ['--reason', 'no_matching_rule'],
      ['denied', 'hostile'],
    ],
    [['--reason', 'client_aborted'], ['crossing']],
    [['--status', '101'], ['crossing']],
    [
      ['--status', '4xx'],
      ['denied', 'hostile'],
    ],
    [['--path', '/user'], ['read']],
    [['--path', '/s*t'], ['crossing']],
    [['--method', HOSTILE], ['hostile']],
    [['--rule', 'github-read', '--path', '/open'], ['open']],
    [['--rule', 'nobody'], []],
  ])('%j finds %j', async (args, expected) => {
    expect(names(await found(...args))).toEqual(expected)
  })

  it('looks at the time', async () => {
    const all = await found()
    expect(await found('--since', '2026-11-20T08:00:00Z')).toEqual(all)
    expect(await found('--until', '2026-11-20T08:00:00Z')).toEqual([])
    expect(await found('--since', '1h', '--until', '2099-01-01')).toEqual([])
    const { out } = await query('--json', '--limit', '1')
    const first = (JSON.parse(out) as { decided: { timestamp: string } }).decided.timestamp
    expect(await found('--until', first)).toEqual(all.slice(0, 1))
  })

  it('gives the newest first, with an end that another segment holds', async () => {
    const all = await found()
    expect(await found('--newest')).toEqual(all.toReversed())
    expect(await found('--newest', '--limit', '2')).toEqual(all.toReversed().slice(0, 2))
    const { out } = await query('--newest', '--json', '--host', 'ws.example.com')
    expect(JSON.parse(out)).toMatchObject({ completed: { outcome: 'client_aborted' } })
  })

  it('gives records of other events', async () => {
    const { out } = await query('--event', 'dns.question', '--host', 'x.evil.example')
    expect(out).toMatch(
      /^\S+ dns\.question client=\{"name":"github-mcp","source":"172\.30\.0\.5"\} question=\{"name":"x\.evil\.example"/,
    )
    expect((await query('--event', 'dns.question', '--host', 'y.example')).out).toBe('')
    const { out: json } = await query('--event', 'segment.opened', '--json', '--limit', '1')
    expect(JSON.parse(json)).toMatchObject({ event: 'segment.opened', seq: 0 })
  })

  it('passes over torn lines and lines that are no records, and says so', async () => {
    const torn = join(fixture.folder, 'torn.jsonl')
    const [first = ''] = readFileSync(files[0] ?? '', 'latin1')
      .split('\n')
      .filter((line) => line.includes('request.decided'))
    const raw = first.replace('/user', '/\u001b[2J')
    writeFileSync(torn, `noise\n${first.slice(0, 300)}\n${first}\n${raw}\n${first.slice(0, 50)}`, 'latin1')
    const { out, err } = await audit('query', torn)
    expect(out.split('\n')).toHaveLength(2)
    expect(out).not.toMatch(UNSAFE)
    expect(err).toBe(
      '2 torn lines skipped: never acknowledged, nothing left on its account\n1 line skipped that is no record\n',
    )
  })

  it('reads the trail of the configuration', async () => {
    const config = join(fixture.folder, 'mcp-egress.yaml')
    writeFileSync(config, `version: 1\naudit: { path: audit.jsonl }\n`)
    const { out } = await audit('query', '-c', config)
    expect(out.split('\n')).toHaveLength(7)
    expect(await audit('query', '-c', config, files[0] ?? '')).toMatchObject({ code: EXIT.usage })
  })

  it.each<[string[], RegExp]>([
    [['nowhere.jsonl'], /nowhere\.jsonl can not be read/],
    [['--host', 'a.*.example'], /--host: .*\n  fix: /],
    [['--newest', '--limit', '200000'], /at most 100000/],
    [['--newest', '--event', 'tls.rejected'], /leave one out/],
    [['--sql', 'select 1', '--client', 'x'], /--sql and --client do not go together/],
    [['--sql', 'select 1', '--request-id', 'x'], /--sql and --request-id do not go together/],
  ])('%j is refused', async (args, message) => {
    const ended = await query(...args)
    expect(ended).toMatchObject({ code: EXIT.usage, out: '' })
    expect(ended.message).toMatch(message)
  })

  it.each([
    ['--since', 'yesterday'],
    ['--status', '999'],
    ['--limit', '0'],
    ['--decision', 'maybe'],
  ])('%s %s is no value', async (...args) => {
    await expect(query(...args)).rejects.toMatchObject({
      code: expect.stringMatching(/^commander\.(?:invalidArgument|optionMissing)/) as unknown,
    })
  })

  it('a color marks the decision, and nothing else is coloured', async () => {
    const { out } = await run(command, ['query', ...files, '--limit', '3'], true)
    expect(out.match(/\u001b\[\d*m/g)).toEqual([
      '\u001b[32m',
      '\u001b[0m',
      '\u001b[31m',
      '\u001b[0m',
      '\u001b[31m',
      '\u001b[0m',
    ])
  })
})

describe('query --sql', () => {
  const sql = (text: string, ...args: string[]): Promise<Ended> => query('--sql', text, ...args)

  it('joins decision and end over all segments', async () => {
    const { out, code } = await sql('select host, outcome, status, duration_ms from requests order by seq')
    expect(code).toBe(0)
    expect(out.split('\n')).toEqual([
      'host                outcome         status  duration_ms',
      'api.github.com      completed          200       84.125',
      'evil.example        refused            403       84.125',
      '-                   refused            403       84.125',
      'ws.example.com      client_aborted     101        12000',
      'a.deep.example.com  failed             502       84.125',
      'api.github.com      -                    -            -',
      '',
    ])
  })

  it('gives JSON with numbers, and nothing but ASCII', async () => {
    const { out } = await sql('select path, seq, bytes_sent, security_flags from requests where host is null', '--json')
    expect(out).not.toMatch(UNSAFE)
    expect(JSON.parse(out)).toEqual({
      path: HOSTILE.replace('\ud800', '\ufffd'),
      seq: expect.any(Number) as unknown,
      bytes_sent: 0,
      security_flags: [],
    })
    expect((await sql('select path, chr(27) || \'[2J\' as "a\u001b[2Jb" from requests')).out).not.toMatch(UNSAFE)
  })

  it('has every record, and the questions', async () => {
    const count = files.map((path) => readFileSync(path, 'latin1').split('\n').length - 1).reduce((a, b) => a + b)
    expect((await sql('select count(*) as n, count(distinct seq) as m from records', '--json')).out).toBe(
      `{"n":${count},"m":${count}}\n`,
    )
    expect((await sql('select name, type, client from questions', '--json')).out).toBe(
      '{"name":"x.evil.example","type":"TXT","client":"github-mcp"}\n',
    )
  })

  it('passes over torn lines and others', async () => {
    const torn = join(fixture.folder, 'torn-sql.jsonl')
    const text = readFileSync(files[0] ?? '', 'latin1')
    appendFileSync(
      torn,
      `noise\n[1]\n"x"\n{"some":"json"}\n${text.slice(0, 200)}\n${text}${text.slice(0, 200)}\0\0\0\n`,
      'latin1',
    )
    const { out } = await audit('query', torn, '--sql', 'select count(*) as n from records', '--json')
    expect(JSON.parse(out)).toEqual({ n: text.split('\n').length - 1 })
  })

  it.each([
    ['a file', "select * from read_text('/etc/passwd')"],
    ['a folder', "select * from glob('/*')"],
    ['an extension', "select * from read_csv('https://example.com/x.csv')"],
  ])('reaches no %s', async (_what, text) => {
    expect(await sql(text)).toMatchObject({
      code: EXIT.usage,
      out: '',
      message: expect.stringMatching(/Permission|disabled|denied|not/i) as unknown,
    })
  })

  it.each([
    "copy (select 1) to '%s'",
    "copy (select 1) to '%s' (format csv, use_tmp_file false)",
    "explain analyze copy (select 1) to '%s'",
    "select 1; copy (select 1) to '%s'",
    "attach '%s' as x",
    'set enable_external_access = true',
    'create table x (y int)',
    "load '%s'",
    '',
  ])('writes nothing: %s', async (text) => {
    const [first = ''] = files
    const before = readFileSync(first)
    const ended = await sql(text.replace('%s', first))
    expect(ended).toMatchObject({ code: EXIT.usage, out: '' })
    expect(readFileSync(first).equals(before)).toBe(true)
  })

  it('says what is wrong and which views there are', async () => {
    const ended = await sql('select nope from requests')
    expect(ended).toMatchObject({
      code: EXIT.usage,
      message: expect.stringContaining('views: records, decisions, ends, requests, questions') as unknown,
    })
    expect((await sql('select "\u001b[2J" from requests')).message).not.toMatch(UNSAFE)
  })

  it('says what to install', async () => {
    const absent = (): Promise<never> =>
      Promise.reject(new ExitError(EXIT.failure, 'fix: npm install @duckdb/node-api'))
    const ended = await run(
      (output) => queryCommand(new Command('query'), output, absent),
      [...files, '--sql', 'select 1'],
    )
    expect(ended).toMatchObject({
      code: EXIT.failure,
      message: expect.stringContaining('npm install @duckdb/node-api') as unknown,
    })
  })

  it('leaves nothing where it worked', () => {
    expect(existsSync('.tmp')).toBe(false)
  })
})

it('keeps the order and every request when one stays open before thousands', async () => {
  const many = new Fixture()
  try {
    await many.open()
    const first = await many.request({ decided: { path: '/first' }, completed: null })
    for (let at = 0; at < 300; at++) {
      await Promise.all(
        Array.from({ length: 100 }, (_, step) => many.trail.append({ ...DECIDED, request_id: `${at}-${step}` })),
      )
      await Promise.all(
        Array.from({ length: 100 }, (_, step) =>
          many.trail.append({
            event: 'request.completed',
            request_id: `${at}-${step}`,
            outcome: 'completed',
            reason: null,
            status: 200,
            upstream_address: null,
            bytes_sent: 0,
            bytes_received: 0,
            duration_ms: 1,
            timings: { dns: null, connect: null, tls: null, first_byte: null },
          }),
        ),
      )
    }
    await many.write({ ...COMPLETED, request_id: first })
    await many.trail.close()
    const { out } = await audit('query', many.path, '--json')
    const rows = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { decided: { request_id: string }; completed: unknown })
    expect(rows).toHaveLength(30_001)
    const others = rows.filter(({ decided }) => decided.request_id !== first)
    expect(others.map(({ decided }) => decided.request_id)).toEqual(
      Array.from({ length: 30_000 }, (_, at) => `${Math.floor(at / 100)}-${at % 100}`),
    )
    expect(rows.every(({ completed }) => completed !== null)).toBe(true)
  } finally {
    await many.remove()
  }
})
