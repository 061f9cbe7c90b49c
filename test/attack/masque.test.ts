// MASQUE (RFC 9298, RFC 9484): UDP and IP packets in HTTP are a way past every rule, so no rule can open it.

import { expect, it } from 'vitest'
import { HOST, refusalOf } from '../doors/support/bed.ts'
import { EVERY_WAY, eachWay } from './support/foreign.ts'

const UDP = '/.well-known/masque/udp/192.0.2.6/443/'
const IP = '/.well-known/masque/ip/*/*/'
const NAMED = `  - { id: free, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https], upgrade: [connect-udp, connect-ip, websocket] } }\n`

const ROWS: [string, string, string][] = [
  ['connect-udp', UDP, 'Connection: Upgrade\r\nUpgrade: connect-udp\r\nCapsule-Protocol: ?1\r\n'],
  ['connect-ip', IP, 'Connection: Upgrade\r\nUpgrade: connect-ip\r\nCapsule-Protocol: ?1\r\n'],
  ['connect-udp behind websocket', UDP, 'Connection: Upgrade\r\nUpgrade: websocket, connect-udp\r\n'],
]

eachWay(EVERY_WAY, (bed) => {
  it.each(ROWS)('[G15] %s is 403 upgrade_denied', async (_name, path, fields) => {
    const { ask, origin, lab } = bed()
    const before = lab.recordsOf('request.decided').length
    const answer = await ask(path, { fields })
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'upgrade_denied'])
    const decided = (await lab.waitFor('request.decided', before + 1)).slice(before)
    expect(decided).toMatchObject([{ decision: 'deny', reason: 'upgrade_denied', path }])
    expect(origin.connections()).toBe(0)
  })
})

eachWay(
  EVERY_WAY,
  (bed) => {
    it.each(ROWS)(
      '[G15] %s is refused where a rule names it, too: nothing here carries it',
      async (_name, path, fields) => {
        const { ask, origin } = bed()
        const answer = await ask(path, { fields })
        expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'upgrade_denied'])
        expect(origin.connections()).toBe(0)
      },
    )
  },
  { rules: NAMED },
)
