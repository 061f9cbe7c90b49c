// Requests behind one another on one connection: each judged for itself, answered in order, and none read behind a refused one.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  accountedRefusal,
  called,
  forwarded,
  follow,
  HOST,
  noRequest,
  refusedOn,
  seen,
  SMUGGLED,
  type SmugglingBed,
  startSmugglingBed,
  WAYS,
} from './support/smuggling.ts'

const PIPELINED = 1_000
const RULES = (port: number): string => `  - id: open
    allow: { hosts: [${HOST}], ports: [${port}], schemes: [http, https], methods: [GET, POST, HEAD] }
  - { id: never, deny: { hosts: [${HOST}], ports: [${port}], paths: ["/denied/**"] } }`

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
    bed.lab.reload({ rules: RULES(bed.canary.port) })
  })
  afterAll(() => bed.close())
  const get = (path: string, fields = ''): string =>
    `GET ${bed.spelling.target(path)} HTTP/1.1\r\n${bed.spelling.host}${fields}\r\n`

  it(`[B29] ${PIPELINED} requests in one write: as many answers, decisions and requests at the origin, in order`, async () => {
    const paths = Array.from({ length: PIPELINED }, (_, index) => `/many/${index}`)
    const before = bed.lab.recordsOf('request.decided').length
    const requests = paths.map((path) => get(path)).join('')
    const { sent } = await forwarded(
      bed,
      requests,
      paths.map(() => 'GET'),
    )
    expect(sent).toEqual(paths.map((target) => ({ method: 'GET', target, body: '' })))
    const decided = bed.lab.recordsOf('request.decided').slice(before, before + PIPELINED)
    expect(decided.map((record) => record['path'])).toEqual(paths)
  })

  it('[B27] a denied request between two allowed ones: three decisions, and the origin sees two', async () => {
    const { canary, lab, open } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    wire.write(get('/1') + get('/denied/2') + get('/3'))
    const statuses = [(await wire.message()).status, (await wire.message()).status, (await wire.message()).status]
    expect(statuses).toEqual([200, 403, 200])
    wire.socket.destroy()
    const records = await left(3)
    const decided = records.filter(({ event }) => event === 'request.decided')
    expect(decided.map((record) => [record['decision'], record['path']])).toEqual([
      ['allow', '/1'],
      ['deny', '/denied/2'],
      ['allow', '/3'],
    ])
    expect(seen(canary).map(({ target }) => target)).toEqual(['/1', '/3'])
  })

  it('[B27] the body of a denied request is not read as the next request', async () => {
    const { canary, lab, open, spelling } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    const { smuggled, target, host } = spelling
    const head = `POST ${target('/denied/body')} HTTP/1.1\r\n${host}Content-Length: ${smuggled.length}\r\n\r\n`
    wire.write(head + smuggled + get('/behind'))
    expect([(await wire.message()).status, (await wire.message()).status]).toEqual([403, 200])
    wire.socket.destroy()
    await left(2)
    expect(seen(canary).map(({ target: path }) => path)).toEqual(['/behind'])
  })

  it.each<[string, string, string]>([
    ['control characters', '\0\x01garbage\r\n\r\n', 'BAD_METHOD'],
    ['a bare LF', 'GET / HTTP/1.1\nHost: a\n\n', 'BARE_LF'],
    ['a field without a name', 'GET / HTTP/1.1\r\n: x\r\n\r\n', 'BAD_NAME'],
  ])(
    '[B30] a request, then %s: the first is answered, the second refused, a third not read',
    async (_name, garbage, code) => {
      const { canary, lab, open, spelling } = bed
      canary.take()
      const left = await follow(lab)
      const wire = await open()
      wire.write(get('/good') + garbage + spelling.smuggled)
      expect((await wire.message()).body).toBe('ok')
      expect(await refusedOn(wire)).toEqual(noRequest(code))
      const records = await left(2)
      const [good] = records
      expect(good).toMatchObject({ event: 'request.decided', decision: 'allow', path: '/good' })
      accountedRefusal(
        records.filter(({ request_id }) => request_id !== good?.request_id),
        noRequest(code),
      )
      expect(seen(canary).map(({ target }) => target)).toEqual(['/good'])
    },
  )

  it.each([
    ['close', 'HTTP/1.1', 'Connection: close\r\n'],
    ['close in a list', 'HTTP/1.1', 'Connection: keep-alive, CLOSE\r\n'],
    ['close in a second field', 'HTTP/1.1', 'Connection: keep-alive\r\nConnection: close\r\n'],
    ['nothing, on HTTP/1.0', 'HTTP/1.0', ''],
  ])('[B30] Connection says %s: what is behind it is no request any more', async (_name, version, fields) => {
    const { canary, lab, open, spelling } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    wire.write(get('/last', fields).replace('HTTP/1.1', version) + spelling.smuggled)
    expect((await wire.message()).fields).toContainEqual(['Connection', 'close'])
    expect(await wire.closed()).toBe('end')
    expect(wire.text).toBe('')
    await left(1)
    expect(seen(canary).map(({ target }) => target)).toEqual(['/last'])
    expect(lab.recordsOf('request.decided').map((record) => record['path'])).not.toContain(SMUGGLED)
  })
})
