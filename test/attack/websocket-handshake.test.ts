// A handshake that one side takes for a WebSocket and the other does not: refused, or answered as the HTTP that it is, never tunnelled.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, refusalOf, startBed, type Way } from '../doors/support/bed.ts'
import { webSocketRule } from '../doors/support/websocket-bed.ts'
import { assertAccounted } from '../support/accounting.ts'
import { frame, handshake, switching, text } from '../support/websocket.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]
const HIDDEN = 'GET /hidden HTTP/1.1\r\nHost: internal.test\r\n\r\n'

describe.each(WAYS)('$door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, { rules: webSocketRule() })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  let count = 0
  it.each<[string, string, Parameters<Bed['ask']>[1]?]>([
    ['a version that the origin does not speak', handshake({ 'Sec-WebSocket-Version': '1337' })],
    ['no version', handshake({ 'Sec-WebSocket-Version': null })],
    ['two versions', `${handshake()}Sec-WebSocket-Version: 8\r\n`],
    ['no key', handshake({ 'Sec-WebSocket-Key': null })],
    ['a key that is none', handshake({ 'Sec-WebSocket-Key': 'x' })],
    ['two keys', `${handshake()}Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n`],
    ['another method', handshake(), { method: 'POST' }],
    ['a body', `${handshake()}Content-Length: 5\r\n`, { body: 'hello' }],
    ['a body in chunks', `${handshake()}Transfer-Encoding: chunked\r\n`, { body: '0\r\n\r\n' }],
  ])('[G08] %s is refused, and the origin hears nothing', async (_name, fields, more) => {
    const path = `/refused/${count++}`
    const answer = await bed.ask(path, { ...more, fields })
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'malformed'])
    expect(await bed.attempt(path)).toMatchObject({
      decided: { decision: 'deny', reason: 'malformed' },
      completed: { outcome: 'refused', status: 400 },
    })
    expect(bed.origin.askedFor(path)).toEqual([])
  })

  it('[G08] a handshake of HTTP/1.0 is a request without an upgrade', async () => {
    expect((await bed.ask('/old', { version: '1.0', fields: handshake() })).status).toBe(200)
    expect(bed.origin.askedFor('/old')[0]?.head).not.toMatch(/upgrade/i)
  })

  it.each<[string, (right: string) => string]>([
    ['a wrong accept', (right) => right.replace(/(Accept: )./, '$1!')],
    ['no accept', (right) => right.replace(/Sec-WebSocket-Accept: .*\r\n/, '')],
    ['no Upgrade', (right) => right.replace('upgrade: WebSocket\r\n', '')],
    ['another protocol', (right) => right.replace('WebSocket', 'h2c')],
    ['no Connection', (right) => right.replace('connection: Upgrade\r\n', '')],
    [
      'a subprotocol that nobody asked for',
      (right) => right.replace('\r\n\r\n', '\r\nSec-WebSocket-Protocol: x\r\n\r\n'),
    ],
    [
      'an extension that nobody offered',
      (right) => right.replace('\r\n\r\n', '\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n'),
    ],
    ['HTTP/1.0', (right) => right.replace('HTTP/1.1', 'HTTP/1.0')],
    ['a broken head', (right) => right.replace('upgrade:', 'upgrade :')],
  ])('[G08] a 101 with %s is none: 502, and what is behind it does not arrive', async (_name, broken) => {
    const path = `/broken/${count++}`
    bed.origin.on(path, async (wire, asked) => {
      wire.write(Buffer.concat([Buffer.from(broken(switching(asked))), frame(text('secret'), false)]))
      await wire.closed()
    })
    const wire = await bed.open()
    wire.write(bed.request(path, { fields: handshake() }))
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
    expect(wire.text).toBe('')
    expect((await bed.attempt(path)).completed).toMatchObject({ outcome: 'failed', reason: 'upstream_malformed' })
    wire.socket.destroy()
  })

  it.each(['200 OK', '426 Upgrade Required'])(
    '[G08] behind a %s bytes are requests of their own, judged each',
    async (status) => {
      const path = `/smuggled/${count++}`
      bed.origin.on(path, (wire) => void wire.write(`HTTP/1.1 ${status}\r\nContent-Length: 2\r\n\r\nno`))
      const wire = await bed.open()
      const hidden = way.door === 'absolute' ? HIDDEN.replace('/hidden', 'http://internal.test/hidden') : HIDDEN
      wire.write(bed.request(path, { fields: handshake() }) + hidden)
      expect((await wire.message()).body).toBe('no')
      expect((await wire.message()).status).toBeGreaterThanOrEqual(400)
      expect(bed.origin.askedFor('/hidden')).toEqual([])
      wire.socket.destroy()
    },
  )

  it('a 101 that nobody asked for is no answer', async () => {
    bed.origin.on('/unasked', async (wire) => {
      wire.write(switching({ fields: [] }))
      await wire.closed()
    })
    const answer = await bed.ask('/unasked')
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_malformed'])
  })

  it('nothing of all that was a tunnel', () => {
    expect(bed.lab.recordsOf('request.decided').length).toBeGreaterThan(10)
    expect(bed.lab.recordsOf('tunnel.opened')).toEqual([])
  })
})
