// `audit export` writes what other tools read, and nothing in it can run in them.

import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DuckDBInstance } from '@duckdb/node-api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { COLUMNS } from '../../src/cli/audit-columns.ts'
import { csvField } from '../../src/cli/audit-csv.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { audit, Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

const fixture = new Fixture()
let copy: string

beforeAll(async () => {
  await fixture.open()
  await fixture.request({
    decided: { method: 'POST', host: '2001:db8::1', port: 8443, query: 'a=1&b=%20x&c' },
    completed: { upstream_address: '[2001:db8::1]:8443', timings: { dns: 1, connect: 20, tls: 10, first_byte: 30 } },
  })
  await fixture.denied({ path: '=cmd|"/c calc"!A1', query: HOSTILE, method: '@SUM' })
  await fixture.denied({ enforced: false, mode: 'observe', rule: 'never' })
  await fixture.request({
    decided: {
      host: null,
      port: null,
      scheme: null,
      path: null,
      query: null,
      method: null,
      protocol: 'unknown',
      sni: null,
    },
    completed: { outcome: 'failed', reason: 'client_timeout', status: null, upstream_address: null },
  })
  await fixture.request({ decided: { path: '/open' }, completed: null })
  copy = join(fixture.folder, 'copy.jsonl')
  writeFileSync(copy, readFileSync(fixture.path))
})
afterAll(() => fixture.remove())

const exported = (...args: string[]): Promise<Ended> => run(audit, ['export', copy, ...args])

/** RFC 4180, by other means than the writer. */
function parseCsv(text: string): string[][] {
  return text
    .split('\r\n')
    .slice(0, -1)
    .map((line) =>
      [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^",]*))/g)].map(
        ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
      ),
    )
}

describe('CSV', () => {
  it('has a row for each request and a column for each member', async () => {
    const { out } = await exported('--format', 'csv')
    const [head = [], ...rows] = parseCsv(out)
    expect(head).toEqual(COLUMNS.map(({ name }) => name))
    expect(rows.map((row) => row.length)).toEqual(Array(5).fill(head.length))
    const column = (name: string): (string | undefined)[] => rows.map((row) => row[head.indexOf(name)])
    expect(column('status')).toEqual(['200', '403', '403', '', ''])
    expect(column('outcome')).toEqual(['completed', 'refused', 'refused', 'failed', ''])
    expect(column('enforced')).toEqual(['true', 'true', 'false', 'true', 'true'])
    expect(column('tls_ms')).toEqual(['10', '', '', '', ''])
  })

  it('runs nothing in a spreadsheet and drives no terminal [K25]', async () => {
    const { out } = await exported('--format', 'csv')
    expect(out.replaceAll('\r\n', '\n')).not.toMatch(UNSAFE)
    const cells = parseCsv(out).flat()
    expect(cells).toContain('\'=cmd|"/c calc"!A1')
    expect(cells).toContain("'@SUM")
    expect(cells.filter((text) => /^[=+\-@\t\r]/.test(text))).toEqual([])
  })

  it.each([
    ['=1+1', "'=1+1"],
    ['+1', "'+1"],
    ['-1', "'-1"],
    ['@a', "'@a"],
    ['\t=1', "'\\u0009=1"],
    ['\r=1', "'\\u000d=1"],
    ['a,b', '"a,b"'],
    ['=a"b', '"\'=a""b"'],
    [-1, '-1'],
    [null, ''],
    [['a'], '"[""a""]"'],
  ])('%j is written %s', (value, expected) => {
    expect(csvField(value)).toBe(expected)
  })
})

describe('HAR', () => {
  it('is an archive whose times add up', async () => {
    const { out } = await exported('--format', 'har')
    expect(out).not.toMatch(UNSAFE)
    const { log } = JSON.parse(out) as {
      log: { version: string; entries: { time: number; timings: Record<string, number> }[] }
    }
    expect(log).toMatchObject({ version: '1.2', creator: { name: 'mcp-egress' } })
    expect(log.entries).toHaveLength(5)
    expect(log.entries[0]).toMatchObject({
      time: 84.125,
      request: {
        method: 'POST',
        url: 'https://[2001:db8::1]:8443/repos/acme/app/issues?a=1&b=%20x&c',
        httpVersion: 'HTTP/1.1',
        queryString: [
          { name: 'a', value: '1' },
          { name: 'b', value: '%20x' },
          { name: 'c', value: '' },
        ],
      },
      response: { status: 200, statusText: 'OK', content: { size: 31_337 } },
      timings: { dns: 1, connect: 30, ssl: 10, send: 0, wait: 30, receive: 23.125 },
      serverIPAddress: '2001:db8::1',
    })
    for (const entry of log.entries) {
      const { blocked = 0, dns = 0, connect = 0, send = 0, wait = 0, receive = 0 } = entry.timings
      const sum = [blocked, dns, connect, send, wait, receive].reduce((total, each) => total + Math.max(0, each), 0)
      expect(sum).toBeCloseTo(entry.time, 2)
    }
  })

  it('of nothing is an archive too', async () => {
    const { out } = await exported('--format', 'har', '--rule', 'nobody')
    expect(JSON.parse(out)).toMatchObject({ log: { entries: [] } })
  })
})

describe('OCSF', () => {
  it('has what HTTP Activity requires, and says what was done', async () => {
    const { out } = await exported('--format', 'ocsf')
    expect(out).not.toMatch(UNSAFE)
    const events = out
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, number>)
    expect(events).toHaveLength(5)
    for (const event of events) {
      expect(event).toMatchObject({
        class_uid: 4002,
        category_uid: 4,
        time: expect.any(Number) as unknown,
        severity_id: expect.any(Number) as unknown,
        metadata: {
          version: '1.5.0',
          product: { name: 'mcp-egress', vendor_name: 'mcp-egress' },
          profiles: ['security_control'],
        },
        http_request: { url: { url_string: expect.any(String) as unknown } },
        src_endpoint: { name: 'github-mcp', ip: '172.30.0.5' },
      })
      expect(event['type_uid']).toBe(4_002 * 100 + (event['activity_id'] ?? Number.NaN))
    }
    expect(
      events.map((event) => [event['activity_id'], event['action_id'], event['disposition_id'], event['status_id']]),
    ).toEqual([
      [6, 1, 1, 1],
      [99, 2, 2, 2],
      [3, 3, 15, 2],
      [0, 1, 1, 2],
      [3, 1, 1, 0],
    ])
    expect(events[0]).toMatchObject({
      dst_endpoint: { hostname: '2001:db8::1', port: 8_443, ip: '2001:db8::1' },
      traffic: { bytes_out: 0, bytes_in: 31_337, bytes: 31_337 },
      firewall_rule: { uid: 'github-read' },
      status_code: '200',
    })
    expect(events[3]).not.toHaveProperty('dst_endpoint')
  })
})

describe('Parquet', () => {
  it('holds the same as CSV, typed', async () => {
    const path = join(fixture.folder, 'requests.parquet')
    expect(await exported('--format', 'parquet', '-o', path)).toMatchObject({ code: 0, out: '' })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const database = await DuckDBInstance.create(':memory:')
    const connection = await database.connect()
    try {
      const result = await connection.runAndReadAll(
        `select host, path, query, status, enforced, tls_ms, typeof(timestamp) as type from '${path}' order by seq`,
      )
      expect(result.getRowsJson()).toEqual([
        ['2001:db8::1', '/repos/acme/app/issues', 'a=1&b=%20x&c', 200, true, 10, 'TIMESTAMP'],
        ['evil.example', '=cmd|"/c calc"!A1', HOSTILE.replace('\ud800', '\ufffd'), 403, true, null, 'TIMESTAMP'],
        ['evil.example', '/repos/acme/app/issues', 'state=open&per_page=100', 403, false, null, 'TIMESTAMP'],
        [null, null, null, null, true, null, 'TIMESTAMP'],
        ['api.github.com', '/open', 'state=open&per_page=100', null, true, null, 'TIMESTAMP'],
      ])
    } finally {
      connection.closeSync()
      database.closeSync()
    }
  })

  it('is written to a file, and nothing is left beside it', async () => {
    expect(await exported('--format', 'parquet')).toMatchObject({
      code: EXIT.usage,
      message: expect.stringContaining('-o') as unknown,
    })
    expect(readdirSync(fixture.folder).filter((name) => name.startsWith('.'))).toEqual([])
  })
})

describe('a file', () => {
  it('is new: nothing is written over, least of all the trail', async () => {
    const before = readFileSync(copy)
    expect(await exported('--format', 'csv', '-o', copy)).toMatchObject({
      code: EXIT.usage,
      message: expect.stringContaining('is there already') as unknown,
    })
    expect(readFileSync(copy).equals(before)).toBe(true)
    expect(await exported('--format', 'csv', '-o', join(fixture.folder, 'no', 'x.csv'))).toMatchObject({
      code: EXIT.usage,
    })
  })

  it('is the same as what is printed, 0600, and takes the filters', async () => {
    const path = join(fixture.folder, 'denied.csv')
    await exported('--format', 'csv', '--decision', 'deny', '-o', path)
    expect(readFileSync(path, 'utf8')).toBe((await exported('--format', 'csv', '--decision', 'deny')).out)
    expect(parseCsv(readFileSync(path, 'utf8'))).toHaveLength(3)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  })

  it('is not there after a failure', async () => {
    const path = join(fixture.folder, 'never.csv')
    const damaged = join(fixture.folder, 'damaged.jsonl.gz')
    writeFileSync(damaged, 'no gzip at all')
    const ended = await run(audit, ['export', damaged, '--format', 'csv', '-o', path])
    const message = expect.stringContaining('damaged.jsonl.gz can not be read') as unknown
    expect(ended).toMatchObject({ code: EXIT.failure, message })
    expect(existsSync(path)).toBe(false)
    expect(readdirSync(fixture.folder).filter((name) => name.startsWith('.'))).toEqual([])
  })
})
