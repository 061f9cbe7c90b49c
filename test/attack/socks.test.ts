// SOCKS at a door: closed without a word that a SOCKS client could take for consent, and recorded by its name.

import { expect, it } from 'vitest'
import { EVERY_WAY, eachWay, recordedWith, outcomeOf } from './support/foreign.ts'

const ROWS: [string, string, string][] = [
  ['SOCKS5 without authentication', '050100', 'SOCKS5_GREETING'],
  ['SOCKS5 with a password', '05020002', 'SOCKS5_GREETING'],
  ['SOCKS4 to an address', '040101bb5db8d822726f6f7400', 'SOCKS4_REQUEST'],
  ['SOCKS4a to a name', '040101bb00000001006170692e616c6c6f7765642e7465737400', 'SOCKS4A_REQUEST'],
]

eachWay(EVERY_WAY, (bed) => {
  it.each(ROWS)('[G14] %s', async (_name, greeting, code) => {
    const outcome = await outcomeOf(bed(), (wire) => wire.write(Buffer.from(greeting, 'hex')))
    expect([outcome.said, outcome.ending]).toEqual(['', 'end'])
    expect(outcome).toMatchObject(recordedWith(code))
    expect(outcome.completed).toMatchObject([{ status: null }])
  })

  it('[G14] a client that sends its CONNECT without waiting for consent', async () => {
    const connect = '05010003106170692e616c6c6f7765642e7465737401bb'
    const outcome = await outcomeOf(bed(), (wire) => wire.write(Buffer.from(`050100${connect}`, 'hex')))
    expect([outcome.said, outcome.ending]).toEqual(['', 'end'])
    expect(outcome).toMatchObject(recordedWith('SOCKS5_GREETING'))
  })
})
