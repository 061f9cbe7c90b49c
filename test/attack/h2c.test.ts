// HTTP/2 in the clear: by prior knowledge it is sent back to HTTP/1.1, by upgrade it is refused, and neither reaches an origin.

import { connect } from 'node:http2'
import { expect, it } from 'vitest'
import { refusalOf } from '../doors/support/bed.ts'
import { EVERY_WAY, eachWay, recordedWith, outcomeOf } from './support/foreign.ts'

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
const SETTINGS = '\0\0\0\x04\0\0\0\0\0'
/** An empty SETTINGS, then GOAWAY of length 8 + debug text, last stream 0, HTTP_1_1_REQUIRED. */
const SENT_BACK = /^\0\0\0\x04\0\0\0\0\0\0\0.\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0dmcp-egress: [ -~]+$/s
const OFFER = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n'

eachWay(EVERY_WAY, (bed) => {
  it.each([
    ['its preface', PREFACE],
    ['its preface and SETTINGS', PREFACE + SETTINGS],
    ['as much of it as shows the version', PREFACE.slice(0, 12)],
  ])('[P16] prior knowledge, %s: GOAWAY HTTP_1_1_REQUIRED', async (_name, bytes) => {
    const outcome = await outcomeOf(bed(), (wire) => wire.write(bytes))
    expect(outcome.said).toMatch(SENT_BACK)
    expect(outcome.ending).toBe('end')
    expect(outcome).toMatchObject(recordedWith('H2C_PRIOR_KNOWLEDGE'))
    expect(outcome.completed).toMatchObject([{ status: null }])
  })

  it('[P16] a real client of HTTP/2 understands it', async () => {
    const { lab, open, authority } = bed()
    const before = lab.recordsOf('request.decided').length
    const { socket } = await open()
    socket.removeAllListeners('data')
    const session = connect(`http://${authority()}`, { createConnection: () => socket })
    const goaway = new Promise<number>((resolve) => void session.once('goaway', resolve))
    session.on('error', () => undefined)
    session.request({ ':path': '/prior' }).on('error', () => undefined)
    expect(await goaway).toBe(0xd)
    session.destroy()
    await lab.waitFor('request.completed', before + 1)
    expect(lab.recordsOf('request.malformed').at(-1)).toMatchObject({ code: 'H2C_PRIOR_KNOWLEDGE' })
  })

  it.each([
    ['h2c with settings', OFFER],
    ['h2c without', 'Connection: upgrade\r\nUpgrade: h2c\r\n'],
    ['h2c beside websocket', 'Connection: upgrade\r\nUpgrade: websocket, h2c\r\n'],
    ['h2c on a line of its own', 'Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n'],
    ['h2c in capitals', 'Connection: UPGRADE\r\nUpgrade: H2C\r\n'],
    ['another draft', 'Connection: upgrade\r\nUpgrade: h2c-14\r\n'],
  ])('[G10] an upgrade to %s is 403 upgrade_denied, and nothing is asked of the origin', async (name, fields) => {
    const { ask, attempt, origin } = bed()
    const path = `/upgrade/${name.replaceAll(' ', '-')}`
    const answer = await ask(path, { fields })
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'upgrade_denied'])
    expect(origin.askedFor(path)).toEqual([])
    const { decided, completed } = await attempt(path)
    expect(decided).toMatchObject({ decision: 'deny', enforced: true, reason: 'upgrade_denied' })
    expect(completed).toMatchObject({ outcome: 'refused', status: 403, upstream_address: null })
  })

  it.each([
    ['Upgrade that Connection does not name', 'Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n'],
    ['settings alone', 'HTTP2-Settings: AAMAAABk\r\n'],
    ['settings that Connection names', 'Connection: HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\n'],
  ])('[G10] %s asks for nothing, and goes no further', async (name, fields) => {
    const { ask, origin } = bed()
    const path = `/no-upgrade/${name.replaceAll(' ', '-')}`
    expect((await ask(path, { fields })).status).toBe(200)
    expect(origin.askedFor(path)[0]?.fields.map(([field]) => field)).toEqual(['Host'])
  })
})
