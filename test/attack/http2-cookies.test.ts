// Cookies in crumbs (RFC 9113 §8.2.3): one field for the trail and for every origin, and nothing to hide a field in.

import { expect, it } from 'vitest'
import { eachCell } from './support/http2-bed.ts'
import { head, outcomeOn } from './support/http2-wire.ts'

const cookies = (fields: readonly string[]): string[] =>
  fields.flatMap((name, at) => (at % 2 === 0 && name === 'cookie' ? [fields[at + 1] ?? ''] : []))

eachCell((bed, { origin }) => {
  it.each<[string, string[], string]>([
    ['two crumbs', ['a=1', 'b=2'], 'a=1; b=2'],
    ['crumbs between other fields', ['a=1', 'b=2', 'c=3'], 'a=1; b=2; c=3'],
    ['a crumb of two', ['a=1; b=2', 'c=3'], 'a=1; b=2; c=3'],
    ['an empty crumb', ['a=1', '', 'b=2'], 'a=1; b=2'],
  ])('[C14] %s', async (_what, crumbs, joined) => {
    const { asked, attack } = bed()
    const fields = crumbs.flatMap((crumb, at) => ['cookie', crumb, 'x-between', String(at)])
    const left = await attack(1, async (peer) => {
      peer.write(head(1, asked('GET', '/crumbs', ...fields)))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
    })
    const found = cookies(left.got[0]?.fields ?? [])
    expect(found.join('; ')).toBe(joined)
    // Of HTTP/1.1 they have to be one field (RFC 6265 §5.4); of HTTP/2 they may be.
    expect(found.length).toBeLessThanOrEqual(origin === 'http/1.1' ? 1 : crumbs.length)
    const between = (left.got[0]?.fields ?? []).filter((_field, at, all) => at % 2 === 1 && all[at - 1] === 'x-between')
    expect(between).toEqual(crumbs.map((_crumb, at) => String(at)))
  })

  it('[C14] 198 crumbs are within the bound on fields', async () => {
    const { asked, attack } = bed()
    const crumbs = Array.from({ length: 190 }, (_, at) => ['cookie', `c${at}=${at}`]).flat()
    const left = await attack(1, async (peer) => {
      peer.write(head(1, asked('GET', '/crumbs', ...crumbs)))
      expect(await outcomeOn(peer, 1)).toEqual({ status: '200', reset: undefined })
    })
    expect(
      cookies(left.got[0]?.fields ?? [])
        .join('; ')
        .split('; '),
    ).toHaveLength(190)
  })
})
