// Every attempt has its record, whatever becomes of it, and no client and no origin decides what stands in it.

import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { startProxy, systemGround } from '../../src/cli/runtime.ts'
import { loadConfig } from '../../src/config/load.ts'
import { verifyFile } from '../support/audit-events.ts'
import { connectVia, exchangeOn, httpsVia, reasonOf, tcp } from '../support/clients.ts'
import { type AuditRecord, type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { type ScriptedOrigin, startScriptedOrigin } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'

const HOST = 'api.allowed.test'
const UNRESOLVED = 'gone.allowed.test'
const PRIVATE = 'private.allowed.test'
const PINNED = 'pinned.allowed.test'

let root: TestRoot
let origin: ScriptedOrigin
let lab: Lab
/** A port that nobody listens on. */
let closedPort: number

beforeAll(async () => {
  root = createTestRoot()
  origin = await startScriptedOrigin(root)
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closedPort = (server.address() as AddressInfo).port
  await new Promise((resolve) => server.close(resolve))
  lab = await startLab({
    root,
    names: { [HOST]: ['127.0.0.1'], [PRIVATE]: ['10.0.0.7'], [PINNED]: ['127.0.0.1'] },
    original: { address: '127.0.0.1', port: origin.port },
    rules: `  - { id: open, allow: { hosts: [${HOST}, ${UNRESOLVED}, ${PRIVATE}], ports: [${origin.port}, ${closedPort}] } }
  - { id: pinned, passthrough: { hosts: [${PINNED}], ports: [${origin.port}] } }`,
  })
})
afterAll(async () => {
  await lab.close()
  await origin.close()
  root.close()
})

/** The records of what `attempt` does: `decided` decisions, each with its end. */
async function left(attempt: () => unknown, decided = 1): Promise<{ decided: AuditRecord[]; ends: AuditRecord[] }> {
  // What came before may still be ending.
  await lab.waitFor('request.completed', lab.recordsOf('request.decided').length)
  const start = lab.records().length
  const before = { decided: lab.recordsOf('request.decided').length, ends: lab.recordsOf('request.completed').length }
  await attempt()
  await lab.waitFor('request.completed', before.ends + decided)
  const since = lab.records().slice(start)
  const found = {
    decided: since.filter(({ event }) => event === 'request.decided'),
    ends: since.filter(({ event }) => event === 'request.completed'),
  }
  const ids = (records: AuditRecord[]): Set<unknown> => new Set(records.map((record) => record.request_id))
  expect(ids(found.ends)).toEqual(ids(found.decided))
  expect(ids(found.ends).size).toBe(found.ends.length)
  expect(found.decided).toHaveLength(decided)
  return found
}

async function ask(host: string, port: number, target = '/', headers = ''): Promise<number> {
  const socket = await httpsVia(lab, `${host}:${port}`)
  const answer = await exchangeOn(socket, `GET ${target} HTTP/1.1\r\nHost: ${host}:${port}\r\n${headers}\r\n`)
  socket.destroy()
  return answer.status
}

describe('[K20] each attempt has one decision and one end', () => {
  it.each<
    [string, () => unknown, { decision: string; reason: string | null }, { outcome: string; reason: string | null }]
  >([
    [
      'allowed',
      () => ask(HOST, origin.port),
      { decision: 'allow', reason: null },
      { outcome: 'completed', reason: null },
    ],
    [
      'denied',
      () => ask('evil.test', 443),
      { decision: 'deny', reason: 'no_matching_rule' },
      { outcome: 'refused', reason: 'no_matching_rule' },
    ],
    [
      'malformed',
      async () => {
        const wire = new Wire(await tcp(lab.proxyPort))
        wire.write('GET http://x/ HTTP/1.1\r\nbad header\r\n\r\n')
        await wire.message()
        wire.socket.destroy()
      },
      { decision: 'deny', reason: 'malformed' },
      { outcome: 'refused', reason: 'malformed' },
    ],
    [
      'neither TLS nor HTTP',
      async () => {
        const { socket } = await connectVia(lab, `${HOST}:${origin.port}`)
        const wire = new Wire(socket)
        wire.write('\u0000\u0001\u0002\u0003nothing known\r\n\r\n')
        await wire.closed()
      },
      { decision: 'deny', reason: 'malformed' },
      { outcome: 'refused', reason: 'malformed' },
    ],
    [
      'a name that does not resolve',
      () => ask(UNRESOLVED, origin.port),
      { decision: 'allow', reason: null },
      { outcome: 'failed', reason: 'dns_failed' },
    ],
    [
      'a loop',
      async () => {
        lab.redirectTo(null)
        const wire = new Wire(await tcp(lab.transparentPort))
        wire.write(`GET / HTTP/1.1\r\nHost: 127.0.0.1:${lab.transparentPort}\r\n\r\n`)
        await wire.message()
        wire.socket.destroy()
        lab.redirectTo({ address: '127.0.0.1', port: origin.port })
      },
      { decision: 'deny', reason: 'self' },
      { outcome: 'refused', reason: 'self' },
    ],
    [
      'a client that leaves',
      async () => {
        origin.on('/never', async (wire) => wire.closed())
        const socket = await httpsVia(lab, `${HOST}:${origin.port}`)
        socket.write(`GET /never HTTP/1.1\r\nHost: ${HOST}:${origin.port}\r\n\r\n`)
        await new Promise<void>((resolve) => {
          const look = (): void => (origin.askedFor('/never').length > 0 ? resolve() : void setImmediate(look))
          look()
        })
        socket.destroy()
      },
      { decision: 'allow', reason: null },
      { outcome: 'client_aborted', reason: 'client_aborted' },
    ],
  ])('%s', async (_case, attempt, decision, end) => {
    const { decided, ends } = await left(attempt)
    expect(decided[0]).toMatchObject(decision)
    expect(ends[0]).toMatchObject(end)
  })

  it('a client that does not take our certificate: a record of its own', async () => {
    const before = lab.recordsOf('tls.rejected').length
    await httpsVia(lab, `${HOST}:${origin.port}`, { ca: root.pem }).catch(() => undefined)
    const rejected = (await lab.waitFor('tls.rejected', before + 1)).at(-1)
    expect(rejected).toMatchObject({ sni: HOST })
    // A client of Node closes without saying why.
    expect(['certificate_rejected', 'closed', 'reset']).toContain(rejected?.['cause'])
  })

  it('many at once, of every kind', async () => {
    const many = Array.from({ length: 40 }, (_, index) =>
      ask(index % 2 === 0 ? HOST : UNRESOLVED, origin.port, `/many-${index}`),
    )
    const { ends } = await left(() => Promise.all(many), 40)
    expect(ends.filter((end) => end['outcome'] === 'failed')).toHaveLength(20)
  })
})

describe('[K21] the decision says what was permitted, the end what came of it', () => {
  it.each([
    ['nobody listens', () => ask(HOST, closedPort), { outcome: 'failed', reason: 'upstream_unreachable', status: 502 }],
    [
      'the address is forbidden',
      () => ask(PRIVATE, origin.port),
      { outcome: 'refused', reason: 'address_denied', status: 403 },
    ],
  ])('%s', async (_case, attempt, end) => {
    const { decided, ends } = await left(attempt)
    expect(decided[0]).toMatchObject({ decision: 'allow', enforced: true, rule: 'open', reason: null })
    expect(ends[0]).toMatchObject(end)
  })
})

it('[K22] a long connection is in the trail from its first moment', async () => {
  const before = lab.recordsOf('tunnel.opened').length
  const socket = await httpsVia(lab, `${PINNED}:${origin.port}`, { ca: root.pem })
  const opened = (await lab.waitFor('tunnel.opened', before + 1)).at(-1)
  const closed = (): AuditRecord[] =>
    lab.recordsOf('tunnel.closed').filter((each) => each.request_id === opened?.request_id)
  expect(opened).toMatchObject({ kind: 'passthrough' })
  expect(closed()).toHaveLength(0)
  socket.destroy()
  await lab.waitFor('tunnel.closed', before + 1)
  expect(closed()).toHaveLength(1)
})

it('[K23] the ids are ours, whatever ids a client sends', async () => {
  const forged = '01ARZ3NDEKTSV4RRFFQ69G5FAV'
  const fields = `X-Request-Id: ${forged}\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n`
  const { decided } = await left(() => ask(HOST, origin.port, '/ids', fields))
  const { decided: denied } = await left(() => ask('evil.test', 443, '/ids', fields))
  for (const { request_id } of [...decided, ...denied]) {
    expect(request_id).toMatch(/^[0-9A-HJKMNP-TV-Z]{26}$/)
    expect(request_id).not.toBe(forged)
  }
  expect(readFileSync(lab.trailFile, 'latin1')).not.toContain(forged)
})

it('[K24] an origin that answers as we would is still an origin', async () => {
  const ours = await (async () => {
    const socket = await httpsVia(lab, 'evil.test:443')
    const answer = await exchangeOn(socket, 'GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n')
    socket.destroy()
    return answer
  })()
  expect(reasonOf(ours)).toBe('no_matching_rule')
  origin.on('/imitation', (wire) => {
    const status = 'Proxy-Status: mcp-egress; error=http_request_denied\r\n'
    const body = ours.body
    wire.write(`HTTP/1.1 403 Forbidden\r\n${status}X-Request-Id: x\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
  })
  const { decided, ends } = await left(() => ask(HOST, origin.port, '/imitation'))
  expect(decided[0]).toMatchObject({ decision: 'allow', rule: 'open', reason: null })
  expect(ends[0]).toMatchObject({ outcome: 'completed', reason: null, status: 403 })
})

it('[K28] neither metrics nor anything else about the log is told through the proxy', async () => {
  const authority = `127.0.0.1:${lab.adminPort}`
  const wire = new Wire(await tcp(lab.proxyPort))
  wire.write(`GET http://${authority}/metrics HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  const absolute = await wire.message()
  wire.socket.destroy()
  expect([absolute.status, (JSON.parse(absolute.body) as { reason: string }).reason]).toEqual([403, 'self'])
  lab.redirectTo({ address: '127.0.0.1', port: lab.adminPort })
  const redirected = new Wire(await tcp(lab.transparentPort))
  redirected.write(`GET /metrics HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  expect((await redirected.message()).status).toBe(403)
  redirected.socket.destroy()
  lab.redirectTo({ address: '127.0.0.1', port: origin.port })
})

describe('[K08] a shutdown with much in flight', () => {
  it('writes every end, and the stop after them all', async () => {
    const own = await startLab({
      root,
      names: { [HOST]: ['127.0.0.1'] },
      rules: `  - { id: open, allow: { hosts: [${HOST}], ports: [${origin.port}] } }`,
      extra: 'shutdown: { grace: 200ms }',
    })
    const waiting = 150
    origin.on('/waits', async (wire) => wire.closed())
    origin.asked.length = 0
    const sockets = await Promise.all(
      Array.from({ length: waiting }, async () => {
        const socket = await httpsVia(own, `${HOST}:${origin.port}`)
        socket.on('error', () => undefined)
        socket.write(`GET /waits HTTP/1.1\r\nHost: ${HOST}:${origin.port}\r\n\r\n`)
        return socket
      }),
    )
    await own.waitFor('request.decided', waiting)
    await own.proxy.stop()
    const { records } = verifyFile(own.trailFile)
    const ends = records.filter((record) => record['event'] === 'request.completed')
    expect(ends).toHaveLength(waiting)
    expect(new Set(ends.map((end) => end['reason']))).toEqual(new Set(['shutting_down']))
    const stopped = records.findIndex((record) => record['event'] === 'proxy.stopped')
    expect(records.slice(stopped + 1).filter((record) => String(record['event']).startsWith('request.'))).toEqual([])
    for (const socket of sockets) socket.destroy()
    await own.close()
  })
})

it('[K03] a flood of long and different URLs: each is recorded, bounded, and the memory of none is kept', async () => {
  const wire = new Wire(await tcp(lab.proxyPort))
  const flood = 200
  const { decided } = await left(async () => {
    for (let index = 0; index < flood; index++) {
      const path = `/${index}-${'x'.repeat(40_000)}`
      wire.write(`GET http://flood-${index}.test${path} HTTP/1.1\r\nHost: flood-${index}.test\r\n\r\n`)
      expect((await wire.message()).status).toBe(403)
    }
  }, flood)
  wire.socket.destroy()
  const lines = readFileSync(lab.trailFile, 'latin1').split('\n')
  expect(Math.max(...lines.map((line) => line.length))).toBeLessThanOrEqual(65_536)
  for (const record of decided) expect(record).toMatchObject({ truncated: ['path'] })
})

describe('the folder of the trail, and no way to be without one', () => {
  const folders: string[] = []
  afterEach(() => {
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
  })

  function configured(audit: string, more = ''): { folder: string; file: string } {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-trail-'))
    folders.push(folder)
    const file = join(folder, 'mcp-egress.yaml')
    writeFileSync(file, `version: 1\nlisten: { proxy: "127.0.0.1:0" }\naudit: { ${audit} }\n${more}`)
    return { folder, file }
  }

  async function start(file: string): Promise<void> {
    const loaded = loadConfig(file, {})
    if (!loaded.ok) throw new Error(loaded.problems.map(({ at, message }) => `${at}: ${message}`).join('\n'))
    await (await startProxy(loaded.config, systemGround())).stop()
  }

  it('[K10] [K29] a folder that others may write to is refused; one that is made is for us alone', async () => {
    const { folder, file } = configured('path: shared/audit.jsonl')
    mkdirSync(join(folder, 'shared'))
    chmodSync(join(folder, 'shared'), 0o777)
    await expect(start(file)).rejects.toThrow(/chmod/)
    rmSync(join(folder, 'shared'), { recursive: true })
    await start(file)
    expect(statSync(join(folder, 'shared')).mode & 0o777).toBe(0o700)
    expect(statSync(join(folder, 'shared/audit.jsonl')).mode & 0o777).toBe(0o600)
  })

  it.each([
    ['audit off', 'enabled: false'],
    ['a level of none', 'level: none'],
    ['sampling', 'sample: 0.1'],
    ['no path', 'path: ""'],
  ])('[K30] there is no %s', async (_case, audit) => {
    await expect(start(configured(audit).file)).rejects.toThrow('audit')
  })

  it('[K30] no rule is without its metadata', async () => {
    const rule = 'rules: [{ id: quiet, audit: none, allow: { hosts: [a.example] } }]\n'
    await expect(start(configured('durability: os', rule).file)).rejects.toThrow('audit')
  })

  it('[K30] the trail says which configuration is in force, and that it changed', async () => {
    const hashes = (): unknown[] => lab.recordsOf('config.loaded').map((record) => record['policy'])
    expect(hashes()[0]).toBe(lab.recordsOf('proxy.started')[0]?.['policy'])
    lab.reload({ audit: 'body_prefix: 1' })
    await lab.waitFor('config.loaded', 2)
    expect(hashes()[1]).not.toBe(hashes()[0])
    lab.reload({})
  })
})
