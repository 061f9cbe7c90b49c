// Names in HTTP/2: those of fields that are none, and the name of the host when it is said twice, elsewhere or of another connection.

import { describe, expect, it } from 'vitest'
import { eachCell, HOST, noRequest, OTHER, refused, type Http2Bed } from './support/http2-bed.ts'
import { head, outcomeOn } from './support/http2-wire.ts'

eachCell((bed) => {
  it.each([
    ['a line break in it', 'foo: bar\r\nx', 'BAD_NAME'],
    ['a request in it', 'a: b\r\n\r\nGET /smuggled HTTP/1.1\r\nx', 'BAD_NAME'],
    ['LF', 'a\nb', 'BAD_NAME'],
    ['nothing', '', 'BAD_NAME'],
    ['a capital', 'X-a', 'H2_UPPERCASE_NAME'],
    ['capitals of a coding', 'Transfer-Encoding', 'H2_UPPERCASE_NAME'],
    ['a colon', 'a:b', 'BAD_NAME'],
    ['a colon at its end', 'transfer-encoding:', 'BAD_NAME'],
    ['a space', 'a b', 'BAD_NAME'],
    ['a space at its end', 'transfer-encoding ', 'BAD_NAME'],
    ['a space at its beginning', ' transfer-encoding', 'BAD_NAME'],
    ['a tab', 'a\t', 'BAD_NAME'],
    ['NUL', 'a\0', 'BAD_NAME'],
    ['DEL', 'a\x7f', 'BAD_NAME'],
    ['an octet over 0x7f', 'a\xff', 'BAD_NAME'],
    ['UTF-8', 'caf\xc3\xa9', 'BAD_NAME'],
    ['parentheses', 'a()', 'BAD_NAME'],
    ['an at sign', 'a@b', 'BAD_NAME'],
  ])('[C02] a field name with %s', async (_what, name, code) => {
    expect(await refused(bed(), bed().asked('GET', '/x', name, 'chunked'))).toEqual(noRequest(code))
  })

  it.each(['__proto__', 'constructor', 'hasownproperty', 'tostring'])(
    '[B43] a field named %s is a field like any other',
    async (name) => {
      const { asked, attack } = bed()
      const left = await attack(1, async (peer) => {
        peer.write(head(1, asked('GET', '/proto', name, 'x')))
        expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
      })
      expect(left.got).toMatchObject([{ target: '/proto', fields: [name, 'x'] }])
    },
  )

  describe('of the host', () => {
    const pseudo = (authority: string | null, ...more: string[]): string[] => [
      ':method',
      'GET',
      ':scheme',
      'https',
      ...(authority === null ? [] : [':authority', authority]),
      ':path',
      '/named',
      ...more,
    ]
    const port = (): number => bed().canary.port

    it.each<[string, (own: string, port: number) => string[]]>([
      ['[A16] an authority, and another in Host', (own) => pseudo(own, 'host', 'evil.test')],
      ['[A16] another authority, and its own in Host', (own, at) => pseudo(`evil.test:${at}`, 'host', own)],
      ['[A17] the name of another host that is allowed', (_own, at) => pseudo(`${OTHER}:${at}`)],
      ['[A15] another port', () => pseudo(`${HOST}:1`)],
      ['[A15] no port where it is not the default', () => pseudo(HOST)],
      ['[C09] only Host, and not its own', () => pseudo(null, 'host', 'evil.test')],
    ])('%s is 421 for that request alone', async (_what, fields) => {
      const left = await misnamed(bed(), fields(bed().authority, port()))
      expect(left).toMatchObject({ status: '421', reason: 'identity_mismatch' })
    })

    it.each<[string, (own: string) => string[]]>([
      ['userinfo', (own) => pseudo(`good@${own}`)],
      ['userinfo of the allowed name', (own) => pseudo(`${own}@evil.test`)],
      ['a path', (own) => pseudo(`${own}/evil`)],
      ['two ports', (own) => pseudo(`${own}:80`)],
      ['a list', (own) => pseudo(`${own},evil.test`)],
      ['a fragment', (own) => pseudo(`${own}#`)],
      ['two dots', () => pseudo('api..allowed.test')],
      ['a backslash', () => pseudo('evil.test\\api.allowed.test')],
    ])('[A13] an authority with %s is 400 for that request alone', async (_what, fields) => {
      const left = await misnamed(bed(), fields(bed().authority))
      expect(left).toMatchObject({ status: '400', reason: 'host_not_canonical' })
    })

    it.each<[string, (own: string) => string[]]>([
      ['[C09] only Host', (own) => pseudo(null, 'host', own)],
      ['an authority and the same in Host', (own) => pseudo(own, 'host', own)],
    ])('%s is a request like any other, under one name', async (_what, fields) => {
      const { attack, authority } = bed()
      const left = await attack(1, async (peer) => {
        peer.write(head(1, fields(authority)))
        expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
      })
      expect(left.got).toEqual([{ method: 'GET', target: '/named', authority, fields: [], body: '' }])
    })

    it.each<[string, string, string[]]>([
      ['[C09] neither', 'MISSING_HOST', []],
      ['[A12] an empty Host', 'EMPTY_HOST', ['host', '']],
    ])('%s: %s', async (_what, code, more) => {
      expect(await refused(bed(), pseudo(null, ...more))).toEqual(noRequest(code))
    })

    it('[A11] two Hosts: no request', async () => {
      const { authority } = bed()
      const fields = pseudo(null, 'host', authority, 'host', 'evil.test')
      expect(await refused(bed(), fields)).toEqual(noRequest('DUPLICATE_HOST'))
    })
  })
})

/** A request for a name that is not that of its connection, and an honest one behind it. */
async function misnamed(bed: Http2Bed, fields: string[]): Promise<{ status: string | undefined; reason: unknown }> {
  const { asked, attack, authority } = bed
  let status: string | undefined
  const left = await attack(2, async (peer) => {
    peer.write(head(1, fields))
    status = (await outcomeOn(peer, 1)).status
    peer.write(head(3, asked('GET', '/honest')))
    expect(await outcomeOn(peer, 3)).toEqual({ status: '200', reset: undefined })
  })
  expect(left.got).toEqual([{ method: 'GET', target: '/honest', authority, fields: [], body: '' }])
  expect(left.decided[0]).toMatchObject({ decision: 'deny', enforced: true })
  expect(left.completed[0]).toMatchObject({ outcome: 'refused', upstream_address: null })
  return { status, reason: left.decided[0]?.['reason'] }
}
