// A content-length that the frames contradict: whoever believes the one and whoever believes the other read two different messages.

import { describe, expect, it } from 'vitest'
import { CELLS, eachCell, noRequest, refused } from './support/http2-bed.ts'
import { data } from './support/http2-wire.ts'

eachCell((bed) => {
  describe('before a byte of the body', () => {
    it.each<[string, string[], string]>([
      ['[C11] a length and no body', ['content-length', '5'], 'H2_LENGTH_WITHOUT_BODY'],
      ['[C11] two lengths', ['content-length', '0', 'content-length', '5'], 'DUPLICATE_CONTENT_LENGTH'],
      ['[C11] the same length twice', ['content-length', '0', 'content-length', '0'], 'DUPLICATE_CONTENT_LENGTH'],
    ])('%s', async (_what, fields, code) => {
      expect(await refused(bed(), bed().asked('POST', '/x', ...fields))).toEqual(noRequest(code))
    })

    it.each(['+5', '-5', '0x5', '5 ', ' 5', '5,5', '5, 5', '1e1', '', 'five', '18446744073709551616', '\xb25'])(
      '[B18] the length %j',
      async (length) => {
        const fields = bed().asked('POST', '/x', 'content-length', length)
        const code = length.trim() === length ? 'BAD_CONTENT_LENGTH' : 'H2_VALUE_WHITESPACE'
        expect(await refused(bed(), fields, data(1, 'hello', true))).toEqual(noRequest(code))
      },
    )
  })

  describe('in the body', () => {
    it.each<[string, string, string[]]>([
      ['less than was said', '5', ['abc']],
      ['less than was said, in many frames', '5', ['a', 'b', 'c']],
      ['nothing of what was said', '5', ['']],
      ['more than was said', '1', ['abc']],
      ['more than was said, in many frames', '2', ['a', 'b', 'c']],
      ['a body where none was said', '0', ['abc']],
      ['a request behind what was said', '2', ['ab', 'GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n']],
    ])('[C11] %s', async (_what, length, pieces) => {
      const { asked, attack } = bed()
      const left = await attack(1, async (peer) => {
        peer.write(peer.headers(1, asked('POST', '/held', 'content-length', length), false))
        peer.write(...pieces.map((piece, at) => data(1, piece, at === pieces.length - 1)))
        await peer.until(() => peer.resetOf(1) !== undefined)
        expect(peer.resetOf(1)).toBe('PROTOCOL_ERROR')
        expect(peer.status(1)).toBe('400')
        await peer.alive()
      })
      expect(left.got).toEqual([])
      expect(left.bytes).not.toMatch(/smuggled|evil/)
      expect(left.decided).toMatchObject([{ decision: 'allow', path: '/held' }])
      expect(left.completed).toMatchObject([{ outcome: 'refused', reason: 'malformed', status: 400 }])
    })

    it('[C11] a length that the frames keep is told as it is', async () => {
      const { asked, attack } = bed()
      const left = await attack(1, async (peer) => {
        peer.write(peer.headers(1, asked('POST', '/kept', 'content-length', '5'), false))
        peer.write(data(1, 'he'), data(1, ''), data(1, 'llo', true))
        await peer.until(() => peer.ended(1))
        expect(peer.status(1)).toBe('200')
      })
      expect(left.got).toMatchObject([{ fields: ['content-length', '5'], body: 'hello' }])
      expect(left.completed).toMatchObject([{ outcome: 'completed', bytes_sent: 5 }])
    })
  })
})

// An origin of HTTP/2 knows a body whole by its last frame alone.
eachCell(
  (bed) => {
    it('[C11] a request behind what was said, when the origin has answered that', async () => {
      const { asked, attack } = bed()
      const left = await attack(1, async (peer) => {
        peer.write(peer.headers(1, asked('POST', '/first', 'content-length', '2'), false), data(1, 'ab'))
        await peer.until(() => peer.ended(1))
        expect(peer.status(1)).toBe('200')
        peer.write(data(1, 'GET /smuggled HTTP/1.1\r\nHost: evil.test\r\n\r\n', true))
        await peer.alive()
      })
      expect(left.got).toMatchObject([{ target: '/first', body: 'ab' }])
      expect(left.bytes).not.toMatch(/smuggled|evil/)
      expect(left.completed).toMatchObject([{ status: 200, bytes_sent: 2 }])
    })
  },
  {},
  CELLS.filter(({ origin }) => origin === 'http/1.1'),
)
