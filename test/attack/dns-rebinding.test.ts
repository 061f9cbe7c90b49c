// A name that changes its address between the check and the connection, or later: what is dialled is what was checked.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { reasonOf } from '../support/clients.ts'
import { type Origin, startOrigin } from '../support/origins.ts'
import { ALLOWED, ask, DOORS, type Standard, startStandard } from '../support/standard.ts'
import { witness } from '../support/witness.ts'

const REBOUND = 'rebound.test'

let standard: Standard
let canary: Origin
beforeEach(async () => {
  standard = await startStandard({
    more: `  - { id: rebound, allow: { hosts: [${REBOUND}], ports: [PORT] } }`,
    names: { [REBOUND]: ['127.0.0.1'] },
  })
  canary = await startOrigin(standard.root, REBOUND)
})
afterEach(async () => {
  await standard.close()
  await canary.close()
})

it.each(DOORS)('[E08] public first, metadata second: the second request is refused, %s', async (door) => {
  const { lab, origin } = standard
  const authority = `${REBOUND}:${origin.port}`
  const left = await witness(
    standard,
    async () => {
      // The origin's certificate is for another name: what counts is where the connection went.
      expect(reasonOf(await ask(lab, door, authority))).toBe('upstream_tls')
      lab.resolveTo(REBOUND, ['169.254.169.254'])
      const answer = await ask(lab, door, authority)
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
    },
    { decided: 2 },
  )
  expect(left.completed[1]).toMatchObject({ outcome: 'refused', reason: 'address_denied', upstream_address: null })
})

it('[E08] one resolution for one dial: there is no second answer to use', async () => {
  const { lab, origin } = standard
  lab.resolved.length = 0
  await ask(lab, 'connect', `${REBOUND}:${origin.port}`)
  expect(lab.resolved).toEqual([REBOUND])
})

it('[E08] a forbidden address hidden behind good ones is not reached when they fail', async () => {
  const { lab, origin } = standard
  lab.resolveTo(REBOUND, ['127.0.0.2', '127.0.0.3', '169.254.169.254'])
  const answer = await ask(lab, 'connect', `${REBOUND}:${origin.port}`)
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
})

describe('[E12] an answer of', () => {
  it('1,000 addresses is checked to the last', async () => {
    const { lab, origin } = standard
    const addresses = Array.from({ length: 999 }, (_value, index) => `127.0.${index >> 8}.${index & 255}`)
    lab.resolveTo(REBOUND, [...addresses, '10.0.0.1'])
    const answer = await ask(lab, 'connect', `${REBOUND}:${origin.port}`)
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
  })

  it('dead addresses is given up after eight', async () => {
    const { lab, authority, origin } = standard
    // Loopback refuses at once where nobody listens, and the ninth address would answer.
    lab.resolveTo(ALLOWED, [...Array.from({ length: 8 }, (_value, index) => `127.0.1.${index + 1}`), '127.0.0.1'])
    const answer = await ask(lab, 'connect', authority)
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'upstream_unreachable'])
    expect(origin.connections()).toBe(0)
  })

  it.each(['', 'not an address', '127.0.0.1\r\nX: y', '127.1', '0x7f000001', '::ffff:169.254.169.254', 'fe80::1%lo'])(
    '%j is refused',
    async (address) => {
      const { lab, origin } = standard
      lab.resolveTo(REBOUND, [address])
      const answer = await ask(lab, 'connect', `${REBOUND}:${origin.port}`)
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
    },
  )
})

describe('[E10] a connection that is kept', () => {
  it('is used again while nothing has changed', async () => {
    const { lab, authority, origin } = standard
    for (let count = 0; count < 3; count++) expect((await ask(lab, 'connect', authority)).status).toBe(200)
    expect(origin.connections()).toBe(1)
  })

  it('is not used for an address that a reload has forbidden', async () => {
    const { lab, authority, origin } = standard
    expect((await ask(lab, 'connect', authority)).status).toBe(200)
    lab.reload({ rules: rules(), upstreamAllow: [] })
    const answer = await ask(lab, 'connect', authority)
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
    expect(origin.seen).toHaveLength(1)
    lab.reload({ rules: rules() })
    expect((await ask(lab, 'connect', authority)).status).toBe(200)
    expect(origin.connections()).toBe(2)
  })

  it('is not used for a name that a reload has forbidden', async () => {
    const { lab, authority, origin } = standard
    expect((await ask(lab, 'connect', authority)).status).toBe(200)
    lab.reload({ rules: '' })
    const answer = await ask(lab, 'connect', authority)
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
    expect(origin.seen).toHaveLength(1)
  })

  it('is not shared between names of one address', async () => {
    const { lab, authority, origin } = standard
    expect((await ask(lab, 'connect', authority)).status).toBe(200)
    expect(reasonOf(await ask(lab, 'connect', `${REBOUND}:${origin.port}`))).toBe('upstream_tls')
    expect(origin.seen).toHaveLength(1)
  })

  const rules = (): string => `  - { id: standard, allow: { hosts: [${ALLOWED}], ports: [${standard.origin.port}] } }`
})
