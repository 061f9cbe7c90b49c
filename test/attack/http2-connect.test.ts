// CONNECT within HTTP/2, plain or extended: a second destination inside a connection that has one. Never dialled, always recorded.

import { expect, it } from 'vitest'
import { eachCell, HOST, noRequest, refused } from './support/http2-bed.ts'
import { SETTING } from './support/http2-wire.ts'

const extended = (protocol: string, authority: string): string[] => [
  ':method',
  'CONNECT',
  ':protocol',
  protocol,
  ':scheme',
  'https',
  ':authority',
  authority,
  ':path',
  '/socket',
  'sec-websocket-version',
  '13',
]

eachCell((bed) => {
  it.each<[string, string[]]>([
    ['to another host', [':method', 'CONNECT', ':authority', 'evil.test:443']],
    ['to the host it is at', [':method', 'CONNECT', ':authority', `${HOST}:443`]],
    ['to the metadata service', [':method', 'CONNECT', ':authority', '169.254.169.254:80']],
    ['to nowhere', [':method', 'CONNECT']],
    [
      'with what it must not have',
      [':method', 'CONNECT', ':scheme', 'https', ':authority', 'a.test:443', ':path', '/'],
    ],
  ])('[C15] CONNECT %s', async (_what, fields) => {
    const { lab, canary } = bed()
    const names = lab.resolved.length
    const dialled = canary.connections()
    expect(await refused(bed(), fields)).toEqual(noRequest('H2_CONNECT'))
    // The honest request behind it may have led to a connection, and only it.
    expect(lab.resolved.slice(names).filter((name) => name !== HOST)).toEqual([])
    expect(canary.connections() - dialled).toBeLessThanOrEqual(2)
  })

  it.each(['websocket', 'connect-udp', 'connect-ip', 'webtransport', ''])(
    '[C16] an extended CONNECT for %j',
    async (protocol) => {
      expect(await refused(bed(), extended(protocol, bed().authority))).toEqual(noRequest('H2_EXTENDED_CONNECT'))
    },
  )

  it('[C16] it is not offered, nor are pushes', async () => {
    const peer = await bed().open()
    peer.begin()
    await peer.until(() => peer.of('settings').length > 0)
    const ids = peer.of('settings').flatMap(({ settings }) => settings.map(([id]) => id))
    expect(ids).not.toContain(SETTING.ENABLE_CONNECT_PROTOCOL)
    expect(peer.of('settings')[0]?.settings).toContainEqual([SETTING.MAX_CONCURRENT_STREAMS, 100])
    peer.write(peer.headers(1, bed().asked('GET', '/asked')))
    await peer.until(() => peer.ended(1))
    peer.stream.destroy()
  })
})
