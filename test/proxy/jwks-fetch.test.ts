// Keys of an issuer by their URL: fetched over verified TLS, from allowed addresses, in bounds, and no more often than has to be.

import { createServer, type Server } from 'node:https'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createSecureContext } from 'node:tls'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { parseCidr } from '../../src/core/address-class.ts'
import { KeyServer } from '../../src/proxy/jwks-fetch.ts'
import { jwkOf, rsaPair } from '../support/jwt.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'

const rsa = rsaPair()
const jwks = (...kids: string[]): string => JSON.stringify({ keys: kids.map((kid) => jwkOf(rsa, kid)) })

let root: TestRoot
let issuer: Server
let answer: (response: ServerResponse) => unknown
let asked: string[]
let failures: string[]
/** How often the name of the issuer was looked up, which each fetch begins with. */
let lookups: number
let now: number
let addresses: readonly string[]
let allowed: readonly string[]
let server: KeyServer
const urlOf = (path = '/keys?v=1', host = 'id.test'): URL =>
  new URL(`https://${host}:${(issuer.address() as AddressInfo).port}${path}`)

beforeAll(async () => {
  root = createTestRoot()
  issuer = createServer(root.issue('id.test'), (request, response) => {
    asked.push(request.url ?? '')
    answer(response)
  })
  await new Promise<void>((done) => issuer.listen(0, '127.0.0.1', done))
})
afterAll(() => {
  issuer.close()
  root.close()
})
beforeEach(() => {
  answer = (response) => response.end(jwks('a'))
  asked = []
  failures = []
  lookups = 0
  now = 1_000_000_000
  addresses = ['127.0.0.1']
  allowed = ['127.0.0.0/8']
  const context = createSecureContext({ ca: root.pem })
  server = new KeyServer({
    resolver: {
      resolve: () => {
        lookups += 1
        return Promise.resolve({ kind: 'addresses', addresses })
      },
    },
    addresses: () => ({
      deny: new Set(['metadata', 'loopback', 'link-local', 'private']),
      allow: allowed.map((text) => parseCidr(text)).filter((cidr) => cidr !== null),
    }),
    secureContext: () => context,
    now: () => now,
    onFailure: (why) => failures.push(why),
  })
})
afterEach(() => {
  server.close()
  issuer.closeAllConnections()
})

const ids = (): (string | null)[] => server.keys().map(({ id }) => id)
/** What is under way has ended. */
const settled = (): Promise<void> => server.follow(urlOf())

describe('keys by their URL', () => {
  it('are fetched, and known as missing until then', async () => {
    expect(server.isWithoutKeys).toBe(false)
    const fetching = server.follow(urlOf())
    expect(server.isWithoutKeys).toBe(true)
    await fetching
    expect([asked, ids(), server.isWithoutKeys, failures]).toEqual([['/keys?v=1'], ['a'], false, []])
  })

  it('are fetched once for all who want them at a time', async () => {
    await Promise.all([server.follow(urlOf()), server.follow(urlOf())])
    expect(asked).toHaveLength(1)
  })

  it('are those of the URL that is followed last', async () => {
    answer = (response) => response.end(jwks(asked.at(-1) ?? ''))
    await Promise.all([server.follow(urlOf('/old')), server.follow(urlOf('/new'))])
    expect([asked, ids()]).toEqual([['/old', '/new'], ['/new']])
  })

  it('are gone with the URL', async () => {
    await settled()
    await server.follow(null)
    expect([ids(), server.isWithoutKeys]).toEqual([[], false])
    server.missing()
    expect(asked).toHaveLength(1)
  })

  it('are asked for again at a new name, at most once a minute', async () => {
    await settled()
    answer = (response) => response.end(jwks('a', 'b'))
    for (let second = 0; second < 60; second += 1) {
      now += 999
      server.missing()
    }
    expect([lookups, ids()]).toEqual([1, ['a']])
    now += 60
    server.missing()
    server.missing()
    await settled()
    expect([asked.length, ids()]).toEqual([2, ['a', 'b']])
  })

  it('stay for an hour where they can not be had again, and no longer', async () => {
    await settled()
    answer = (response) => response.writeHead(500).end(jwks('b'))
    await settled()
    expect([ids(), failures]).toEqual([['a'], [expect.stringContaining('it answers 500')]])
    now += 3_600_000
    expect(ids()).toEqual(['a'])
    now += 1
    expect([ids(), server.isWithoutKeys]).toEqual([[], true])
  })

  it('are withdrawn when a new set is there', async () => {
    await settled()
    answer = (response) => response.end(jwks('b'))
    await settled()
    expect(ids()).toEqual(['b'])
  })
})

describe('nothing is taken', () => {
  it.each<[string, (response: ServerResponse) => unknown, RegExp]>([
    ['from another place', (response) => response.writeHead(302, { location: '/other' }).end(), /answers 302/],
    ['that is no set of keys', (response) => response.end('<html>'), /not a JSON object/],
    ['that is empty', (response) => response.end(jwks()), /no RSA key/],
    ['that is too large', (response) => response.end(jwks('a') + ' '.repeat(2 ** 18)), /keys .* can not be had/],
    [
      'that breaks off',
      (response) => response.writeHead(200, { 'content-length': 9_999 }).write(jwks('a'), () => response.destroy()),
      /can not be had/,
    ],
  ])('%s', async (_, given, why) => {
    answer = given
    await settled()
    expect([ids(), asked.length, failures]).toEqual([[], 1, [expect.stringMatching(why)]])
  })

  it.each<[string, () => void, URL | null, RegExp]>([
    ['from an address that is denied', () => (allowed = []), null, /127\.0\.0\.1 is a loopback address/],
    ['where one of two is', () => (addresses = ['127.0.0.1', '10.0.0.1']), null, /10\.0\.0\.1 is a private address/],
    ['from the metadata service', () => (addresses = ['169.254.169.254']), null, /metadata/],
    ['from a literal that is denied', () => (allowed = []), new URL('https://127.0.0.1:1/keys'), /loopback/],
    ['under another name', () => undefined, new URL('https://other.test:1/keys'), /can not be had/],
    ['from nowhere', () => (addresses = []), null, /no address/],
  ])('%s', async (_, given, url, why) => {
    given()
    const port = (issuer.address() as AddressInfo).port
    await server.follow(url === null ? urlOf() : new URL(url.href.replace(':1/', `:${port}/`)))
    expect([ids(), asked, failures]).toEqual([[], [], [expect.stringMatching(why)]])
  })
})
