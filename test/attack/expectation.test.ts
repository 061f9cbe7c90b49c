// 100-continue is ours to answer, and only for a request that may proceed; every other expectation is refused.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  called,
  follow,
  HOST,
  refusedOn,
  seen,
  type SmugglingBed,
  startSmugglingBed,
  WAYS,
} from './support/smuggling.ts'

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
    const { port } = bed.canary
    bed.lab.reload({
      rules: `  - { id: open, allow: { hosts: [${HOST}], ports: [${port}], schemes: [http, https] } }
  - { id: never, deny: { hosts: [${HOST}], ports: [${port}], paths: ["/denied"] } }`,
    })
  })
  afterAll(() => bed.close())
  const post = (path: string, fields: string, version = '1.1'): string =>
    `POST ${bed.spelling.target(path)} HTTP/${version}\r\n${bed.spelling.host}${fields}\r\n`

  it.each([
    ['a length', 'Content-Length: 1000000\r\n'],
    ['chunks', 'Transfer-Encoding: chunked\r\n'],
  ])(
    '[B35] a denied request that waits with %s: the denial, no 100, and its connection is not used again',
    async (_name, fields) => {
      const { canary, lab, open, spelling } = bed
      canary.take()
      const left = await follow(lab)
      const wire = await open()
      wire.write(post('/denied', `Expect: 100-continue\r\n${fields}`))
      const answer = await wire.message()
      expect(answer.startLine).toBe('HTTP/1.1 403 Forbidden')
      expect(answer.fields).toContainEqual(['Connection', 'close'])
      // The client that sends its body all the same, or takes this for the end of the request.
      wire.write(spelling.smuggled)
      expect(await wire.closed()).toBe('end')
      expect(wire.text).toBe('')
      const [decided, completed] = await left(1)
      expect(decided).toMatchObject({ decision: 'deny', reason: 'denied_by_rule' })
      expect(completed).toMatchObject({ outcome: 'refused', status: 403, bytes_sent: 0 })
      expect(canary.take()).toEqual([])
    },
  )

  it('[B35] an allowed one gets its 100 from us, and Expect stays here', async () => {
    const { canary, open } = bed
    canary.take()
    const wire = await open()
    wire.write(post('/waiting', 'Expect: 100-continue\r\nContent-Length: 2\r\n'))
    expect(await wire.head()).toBe(CONTINUE)
    wire.write('hi')
    expect((await wire.message()).body).toBe('ok')
    expect(wire.text).toBe('')
    wire.socket.destroy()
    const [received] = canary.take()
    expect(received?.requests).toMatchObject([{ method: 'POST', target: '/waiting', body: 'hi' }])
    expect(received?.bytes.toString('latin1')).not.toMatch(/expect/i)
  })

  it.each([
    ['a body that is there already', 'Expect: 100-continue\r\nContent-Length: 2\r\n', '1.1', 'hi'],
    ['no body', 'Expect: 100-continue\r\n', '1.1', ''],
    ['HTTP/1.0', 'Expect: 100-continue\r\nContent-Length: 2\r\n', '1.0', 'hi'],
  ])('[B35] no 100 for %s', async (_name, fields, version, body) => {
    const { canary, open } = bed
    canary.take()
    const wire = await open()
    wire.write(post('/at-once', fields, version) + body)
    expect(await wire.head()).toMatch(/^HTTP\/1\.1 200 OK\r\n/)
    expect(await wire.take(2)).toBe('ok')
    wire.socket.destroy()
    expect(seen(canary)).toEqual([{ method: 'POST', target: '/at-once', body }])
  })

  it.each([
    'foo',
    '100-continue, foo',
    'foo, 100-continue',
    '100-continue;q=1',
    '100-continue x',
    '200-ok',
    '100',
    '"100-continue"',
    '100-continue\xa0',
  ])('[B36] the expectation %j: 417, nothing leaves', async (value) => {
    const { canary, lab, open, spelling } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    wire.write(post('/expecting', `Expect: ${value}\r\nContent-Length: 0\r\n`) + spelling.smuggled)
    const refusal = { status: 417, reason: 'expectation', code: 'UNKNOWN_EXPECTATION', unread: false }
    expect(await refusedOn(wire)).toEqual(refusal)
    const [decided, completed] = await left(1)
    expect(decided).toMatchObject({ decision: 'deny', enforced: true, reason: 'expectation', path: '/expecting' })
    expect(completed).toMatchObject({ outcome: 'refused', reason: 'expectation', status: 417 })
    expect(canary.take()).toEqual([])
  })

  it('[B36] 100-continue, once more in a second field and in another case, is what it is', async () => {
    const { open } = bed
    const wire = await open()
    wire.write(post('/twice', 'Expect: 100-Continue\r\nexpect: 100-CONTINUE\r\nContent-Length: 2\r\n'))
    expect(await wire.head()).toBe(CONTINUE)
    wire.write('hi')
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
  })
})
