// What HTTP/2 lets a field contain and HTTP/1.1 reads as framing: none of it goes on, to an origin of either version, and the trail does not say that it did.

import { expect, it } from 'vitest'
import { eachCell, noRequest, refused } from './support/http2-bed.ts'
import { data, head } from './support/http2-wire.ts'

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n'

eachCell((bed) => {
  it.each<[string, string, string]>([
    ['CRLF and a coding', 'a\r\nTransfer-Encoding: chunked', 'BAD_VALUE'],
    ['CRLF and a length', 'a\r\nContent-Length: 0', 'BAD_VALUE'],
    ['CRLF and a request', `a\r\n\r\n${SMUGGLED}`, 'BAD_VALUE'],
    ['LF alone', 'a\nTransfer-Encoding: chunked', 'BAD_VALUE'],
    ['CR alone', 'a\rTransfer-Encoding: chunked', 'BAD_VALUE'],
    ['CRLF at its end', 'a\r\n', 'BAD_VALUE'],
    ['CRLF at its beginning', '\r\na', 'BAD_VALUE'],
    ['a folded line', 'a\r\n b', 'BAD_VALUE'],
    ['NUL', 'a\0b', 'BAD_VALUE'],
    ['an escape', 'a\x1b[2Jb', 'BAD_VALUE'],
    ['DEL', 'a\x7fb', 'BAD_VALUE'],
    ['a space at its beginning', ' a', 'H2_VALUE_WHITESPACE'],
    ['a tab at its end', 'a\t', 'H2_VALUE_WHITESPACE'],
  ])('[C01] a value with %s', async (_what, value, code) => {
    expect(await refused(bed(), bed().asked('GET', '/x', 'x-a', value))).toEqual(noRequest(code))
  })

  it.each(['cookie', 'host', 'te', 'content-length', 'expect', 'authorization'])(
    '[C01] CRLF in the value of %s',
    async (name) => {
      expect(await refused(bed(), bed().asked('GET', '/x', name, 'a\r\nX: y'))).toEqual(noRequest('BAD_VALUE'))
    },
  )

  it.each([
    ['transfer-encoding: chunked', 'transfer-encoding', 'chunked', 'H2_CONNECTION_FIELD'],
    ['transfer-encoding: identity', 'transfer-encoding', 'identity', 'H2_CONNECTION_FIELD'],
    ['an empty transfer-encoding', 'transfer-encoding', '', 'H2_CONNECTION_FIELD'],
    ['transfer_encoding', 'transfer_encoding', 'chunked', 'UNDERSCORE_FRAMING'],
    ['content_length', 'content_length', '5', 'UNDERSCORE_FRAMING'],
    ['connection: close', 'connection', 'close', 'H2_CONNECTION_FIELD'],
    ['connection: transfer-encoding', 'connection', 'transfer-encoding', 'H2_CONNECTION_FIELD'],
    ['keep-alive', 'keep-alive', 'timeout=5', 'H2_CONNECTION_FIELD'],
    ['proxy-connection', 'proxy-connection', 'keep-alive', 'H2_CONNECTION_FIELD'],
    ['upgrade: h2c', 'upgrade', 'h2c', 'H2_CONNECTION_FIELD'],
    ['upgrade: websocket', 'upgrade', 'websocket', 'H2_CONNECTION_FIELD'],
    ['te: gzip', 'te', 'gzip', 'H2_TE'],
    ['te: trailers, chunked', 'te', 'trailers, chunked', 'H2_TE'],
  ])('[C12] %s', async (_what, name, value, code) => {
    const body = data(1, `0\r\n\r\n${SMUGGLED}`, true)
    expect(await refused(bed(), bed().asked('POST', '/x', name, value), body)).toEqual(noRequest(code))
  })

  it.each(['GET', 'DELETE', 'OPTIONS', 'POST'])(
    '[B25] a %s whose body is a request goes on as one request with a body',
    async (method) => {
      const { asked, attack, authority } = bed()
      const left = await attack(1, async (peer) => {
        peer.write(peer.headers(1, asked(method, '/one'), false), data(1, SMUGGLED, true))
        await peer.until(() => peer.ended(1))
        expect(peer.status(1)).toBe('200')
      })
      expect(left.got).toMatchObject([{ method, target: '/one', authority, body: SMUGGLED }])
      expect(left.completed).toMatchObject([{ outcome: 'completed', status: 200, bytes_sent: SMUGGLED.length }])
    },
  )

  it.each(['HEAD', 'TRACE'])('[B25] a %s with a body is none', async (method) => {
    const body = data(1, SMUGGLED, true)
    expect(await refused(bed(), bed().asked(method, '/x'), body)).toEqual(noRequest('BODY_NOT_ALLOWED'))
  })

  it.each([
    ['content-length', '5'],
    ['host', 'evil.test'],
    ['transfer-encoding', 'chunked'],
    ['x-a', 'a\r\nGET /smuggled HTTP/1.1'],
    [':path', '/smuggled'],
    ['X-Upper', 'a'],
  ])('[B34] a trailing field that frames or is none: %s', async (name, value) => {
    const { asked, attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(peer.headers(1, asked('POST', '/trailed'), false), data(1, 'body'), head(1, [name, value]))
      await peer.until(() => peer.resetOf(1) !== undefined)
      expect([peer.status(1), peer.resetOf(1)]).toEqual(['400', 'PROTOCOL_ERROR'])
    })
    expect(left.got).toEqual([])
    expect(left.bytes).not.toMatch(/smuggled|evil|\r\n0\r\n/i)
    expect(left.decided).toMatchObject([{ decision: 'allow', path: '/trailed' }])
    expect(left.completed).toMatchObject([{ outcome: 'refused', reason: 'malformed', status: 400 }])
  })

  it('[B34] the names of trailing fields that are dropped are recorded, and nothing else of them', async () => {
    const { asked, attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(peer.headers(1, asked('POST', '/trailed'), false), data(1, 'body'))
      peer.write(peer.headers(1, ['x-checksum', 'secret']))
      await peer.until(() => peer.ended(1))
      expect(peer.status(1)).toBe('200')
    })
    expect(left.got).toMatchObject([{ body: 'body' }])
    expect(left.completed[0]?.['security_flags']).toEqual(['trailer_dropped:x-checksum'])
    expect(JSON.stringify(left)).not.toContain('secret')
  })
})
