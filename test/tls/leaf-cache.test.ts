import type { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, type SecureContext } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { type Authority, openAuthority } from '../../src/tls/authority.ts'
import { LeafCache } from '../../src/tls/leaf-cache.ts'
import { named, serve, temporaryDirectory } from './fixture.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS
const start = Date.now()

function fixture(capacity?: number): { cache: LeafCache; authority: Authority; clock: { now: number } } {
  const clock = { now: start }
  const authority = openAuthority(temporaryDirectory(), new Date(start))
  const options = { now: () => clock.now, ...(capacity === undefined ? {} : { capacity }) }
  return { cache: new LeafCache(authority, options), authority, clock }
}

/** The certificate that a context shows, asked for over the wire. */
async function shown(context: SecureContext): Promise<X509Certificate> {
  const socket = connect({ port: await serve(() => context), host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  const certificate = socket.getPeerX509Certificate()
  socket.destroy()
  if (certificate === undefined) throw new Error('no certificate')
  return certificate
}

describe('the leaf cache', () => {
  it('mints once for a host', () => {
    const { cache } = fixture()
    const first = cache.get(named('a.test'))
    expect(cache.get(named('a.test'))).toBe(first)
    expect(cache.get(named('b.test'))).not.toBe(first)
    expect(cache.size).toBe(2)
    expect(cache.stats).toEqual({ hits: 1, misses: 2 })
  })

  it('keeps a name from the address that is spelled alike', () => {
    const { cache } = fixture()
    expect(cache.get(named('127.0.0.1'))).not.toBe(cache.get({ kind: 'ipv4', text: '127.0.0.1' }))
  })

  it('keeps as many hosts as it may and drops the one unused for longest', () => {
    const { cache } = fixture(2)
    const a = cache.get(named('a.test'))
    cache.get(named('b.test'))
    cache.get(named('a.test'))
    cache.get(named('c.test'))
    expect(cache.size).toBe(2)
    expect(cache.get(named('a.test'))).toBe(a)
    expect(cache.stats).toEqual({ hits: 2, misses: 3 })
    cache.get(named('b.test'))
    expect(cache.stats.misses).toBe(4)
  })

  it('never lets denied names evict allowed ones, nor grow past 64', () => {
    const { cache } = fixture(1)
    const allowed = cache.get(named('allowed.test'))
    for (let index = 0; index < 100; index += 1) cache.get(named(`d${index}.test`), { denied: true })
    expect(cache.size).toBe(65)
    expect(cache.get(named('allowed.test'))).toBe(allowed)
  })

  it('[C15] mints anew when less than a quarter of the life is left, and on day 8', () => {
    const { cache, clock } = fixture()
    const first = cache.get(named('a.test'))
    clock.now = start + 5.25 * DAY_MS - 1000
    expect(cache.get(named('a.test'))).toBe(first)
    clock.now = start + 5.25 * DAY_MS
    const second = cache.get(named('a.test'))
    expect(second).not.toBe(first)
    expect(cache.size).toBe(1)
    clock.now = start + 13 * DAY_MS
    expect(cache.get(named('a.test'))).not.toBe(second)
  })

  it('[C15] shows a certificate that is valid now, after 8 days', async () => {
    const { cache, clock } = fixture()
    cache.get(named('a.test'))
    clock.now = start + 8 * DAY_MS
    const certificate = await shown(cache.get(named('a.test')))
    expect(Date.parse(certificate.validFrom)).toBeLessThanOrEqual(clock.now)
    expect(Date.parse(certificate.validTo)).toBeGreaterThan(clock.now)
  })

  it('mints anew when the clock was set back to before the leaf', () => {
    const { cache, clock } = fixture()
    clock.now = start + 2 * DAY_MS
    const early = cache.get(named('a.test'))
    clock.now = start
    expect(cache.get(named('a.test'))).not.toBe(early)
  })

  it('[C5] shows one key for all hosts, and not the CA\u2019s', async () => {
    const { cache, authority } = fixture()
    const a = await shown(cache.get(named('a.test')))
    const b = await shown(cache.get(named('b.test')))
    expect(a.publicKey.equals(b.publicKey)).toBe(true)
    expect(a.publicKey.equals(authority.certificate.publicKey)).toBe(false)
    expect(a.ca).toBe(false)
  })

  it('forgets every leaf when the CA is replaced', async () => {
    const { cache } = fixture()
    cache.get(named('a.test'))
    cache.get(named('b.test'), { denied: true })
    const next = openAuthority(temporaryDirectory(), new Date(start))
    cache.replaceAuthority(next)
    expect(cache.size).toBe(0)
    expect((await shown(cache.get(named('a.test')))).checkIssued(next.certificate)).toBe(true)
  })

  it('[C16] throws, and keeps nothing, once the CA has ended', () => {
    const { cache, authority, clock } = fixture()
    clock.now = authority.notAfter.getTime()
    expect(() => cache.get(named('a.test'))).toThrow(/the CA expired/)
    expect(cache.size).toBe(0)
  })
})
