// Pseudo-fields that are missing, twice, unknown, out of place or no part of a request line: no request, and nothing of them goes on.

import { expect, it } from 'vitest'
import { eachCell, noRequest, refused, HOST } from './support/http2-bed.ts'
import { head, outcomeOn } from './support/http2-wire.ts'

const INJECTED = ' HTTP/1.1\r\nHost: evil\r\n\r\nGET /b'

eachCell((bed) => {
  const replaced = (name: string, value: string): string[] => {
    const fields = bed().asked('GET', '/x')
    fields[fields.indexOf(name) + 1] = value
    return fields
  }
  const without = (name: string): string[] => {
    const fields = bed().asked('GET', '/x')
    fields.splice(fields.indexOf(name), 2)
    return fields
  }

  it.each([
    ['[C03] a request line in it', `/a${INJECTED}`],
    ['[C03] a space in it', '/a b'],
    ['[C03] a tab in it', '/a\tb'],
    ['[C03] CR', '/a\rb'],
    ['[C03] LF', '/a\nb'],
    ['[C03] a version behind it', '/a HTTP/1.1'],
    ['[C04] no slash', 'evil'],
    ['[C04] a URL', 'http://evil.test/'],
    ['[C04] a URL of its own authority', `https://${HOST}/`],
    ['[C04] nothing in it', ''],
    ['[C04] an asterisk and GET', '*'],
    ['[C04] an authority', 'evil.test:443'],
    ['[C04] a query alone', '?x'],
    ['[C04] NUL', '/a\0b'],
    ['[C05] 0xFF', '/\xff'],
    ['[C05] UTF-8', '/\xc3\xa9'],
    ['[C05] DEL', '/\x7f'],
  ])('%s: :path', async (_what, path) => {
    expect(await refused(bed(), replaced(':path', path))).toEqual(noRequest('BAD_TARGET'))
  })

  it.each([
    ['a request line', 'GET /evil HTTP/1.1'],
    ['a request line and CRLF', 'GET /evil HTTP/1.1\r\nX: y\r\n\r\nGET'],
    ['a space', 'GET '],
    ['nothing', ''],
    ['a NUL', 'GE\0T'],
    ['a colon', 'GET:'],
    ['quotes', '"GET"'],
    ['300 letters', 'G'.repeat(300)],
    ['an octet over 0x7f', 'GET\xa0'],
  ])('[C06] %s: :method', async (_what, method) => {
    expect(await refused(bed(), replaced(':method', method))).toEqual(noRequest('BAD_METHOD'))
  })

  it.each(['http', 'HTTPS', 'ftp', '', 'https ', 'https://evil.test/', 'https\r\nX: y'])(
    '[C08] the scheme %j',
    async (scheme) => {
      expect(await refused(bed(), replaced(':scheme', scheme))).toEqual(noRequest('H2_SCHEME'))
    },
  )

  it.each([
    ['', 'EMPTY_HOST'],
    ['a b', 'BAD_VALUE'],
    ['a\r\nX: y', 'BAD_VALUE'],
    ['a\0', 'BAD_VALUE'],
    ['a\x7f', 'BAD_VALUE'],
    ['api.allowed.test\t', 'BAD_VALUE'],
  ])('[A13] the authority %j: %s', async (authority, code) => {
    expect(await refused(bed(), replaced(':authority', authority))).toEqual(noRequest(code))
  })

  it.each([':method', ':scheme', ':path'])('[C08] without %s', async (name) => {
    expect(await refused(bed(), without(name))).toEqual(noRequest('H2_PSEUDO_MISSING'))
  })

  it.each([':method', ':scheme', ':path', ':authority'])('[C08] %s twice', async (name) => {
    const fields = bed().asked('GET', '/x')
    fields.push(name, fields[fields.indexOf(name) + 1] ?? '')
    expect(await refused(bed(), fields)).toEqual(noRequest('H2_PSEUDO_DUPLICATE'))
  })

  it.each([
    ['an unknown one', ':evil', 'x', 'H2_PSEUDO_UNKNOWN'],
    ['that of answers', ':status', '200', 'H2_PSEUDO_UNKNOWN'],
    ['one without a name', ':', 'x', 'H2_PSEUDO_UNKNOWN'],
    ['one with a capital', ':Path', '/y', 'H2_PSEUDO_UNKNOWN'],
    ['one that is a field', ':host', 'evil.test', 'H2_PSEUDO_UNKNOWN'],
    ['that of an extended CONNECT', ':protocol', 'websocket', 'H2_PSEUDO_UNKNOWN'],
  ])('[C08] %s', async (_what, name, value, code) => {
    expect(await refused(bed(), bed().asked('GET', '/x', name, value))).toEqual(noRequest(code))
  })

  it.each([':path', ':authority', ':scheme', ':method', ':evil'])('[C08] %s behind a field', async (name) => {
    expect(await refused(bed(), bed().asked('GET', '/x', 'x-a', 'b', name, '/evil'))).toEqual(
      noRequest('H2_PSEUDO_MISPLACED'),
    )
  })

  it('[C03] what follows a line break in :path is not recorded as lines of a head', async () => {
    const { attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(head(1, replaced(':path', '/a HTTP/1.1\r\nX-Forged: yes\r\n\r\n')))
      await outcomeOn(peer, 1)
    })
    expect(left.malformed).toMatchObject([{ request_line: null, headers: [] }])
    expect(JSON.stringify(left)).not.toContain('X-Forged')
  })

  it('[C06] nor what follows one in :method', async () => {
    const { attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(head(1, replaced(':method', 'GET /evil HTTP/1.1\r\nX-Forged: yes\r\n\r\nGET')))
      await outcomeOn(peer, 1)
    })
    expect(left.malformed).toMatchObject([{ request_line: null, headers: [] }])
    expect(JSON.stringify(left)).not.toContain('X-Forged')
  })

  it('[C08] no fields at all', async () => {
    expect(await refused(bed(), [])).toEqual(noRequest('H2_PSEUDO_MISSING'))
  })

  it('[C04] an asterisk and OPTIONS is a request for no path', async () => {
    const { asked, attack } = bed()
    const left = await attack(1, async (peer) => {
      peer.write(head(1, asked('OPTIONS', '*')))
      await outcomeOn(peer, 1)
    })
    expect(left.malformed).toEqual([])
    expect(left.decided).toMatchObject([{ method: 'OPTIONS' }])
  })
})
