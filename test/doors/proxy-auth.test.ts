// Clients that say who they are: by proxy credentials, on a CONNECT or on each request, and what 407 tells the others.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { valuesOf, Wire } from '../support/wire.ts'
import { type Bed, DENIED, HOST, refusalOf, startBed, TOKEN, TOKENED } from './support/bed.ts'

const basic = (user: string, password: string): string =>
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
const proxyAuthorization = (value: string): string => `Proxy-Authorization: ${value}\r\n`

const RIGHT: [string, string][] = [
  ['Basic', basic('robot', TOKEN)],
  ['Basic in any case', basic('robot', TOKEN).replace('Basic', 'bAsIc')],
  ['Bearer', `Bearer ${TOKEN}`],
]
const WRONG: [string, string][] = [
  ['a wrong password', basic('robot', 'wrong')],
  ['a wrong name', basic('nobody', TOKEN)],
  ['a wrong token', 'Bearer wrong'],
  ['an unknown scheme', `Digest ${TOKEN}`],
  ['no base64', 'Basic ***'],
  ['nothing after the scheme', 'Basic'],
  ['an empty value', ''],
]

const tls = { door: 'connect', tls: true } as const
const absolute = { door: 'absolute', tls: false } as const

describe('on a CONNECT', () => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(tls)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it.each(RIGHT)(
    '[P42] %s names the client for everything inside the tunnel, and stays here',
    async (name, credentials) => {
      const { open, request, origin, attempt } = bed
      const path = `/connect/${name.replaceAll(' ', '-')}`
      const wire = await open(TOKENED, proxyAuthorization(credentials))
      wire.write(request(path, { host: TOKENED }))
      expect((await wire.message()).status).toBe(200)
      wire.socket.destroy()
      expect(origin.askedFor(path)[0]?.fields.map(([field]) => field)).toEqual(['Host'])
      const { decided } = await attempt(path)
      expect(decided).toMatchObject({ client: { name: 'robot' }, rule: 'tokened' })
      expect(JSON.stringify(decided)).not.toContain(TOKEN)
    },
  )

  it.each(WRONG)('%s is 407, even for a host that everybody may reach', async (_name, credentials) => {
    const answer = await bed.refusal(HOST, proxyAuthorization(credentials))
    expect([answer.status, refusalOf(answer).reason]).toEqual([407, 'proxy_auth'])
    expect(answer.headers.get('proxy-authenticate')).toBe('Basic realm="mcp-egress"')
    const decided = bed.lab.recordsOf('request.decided').at(-1)
    expect(decided).toMatchObject({ method: 'CONNECT', decision: 'deny', reason: 'proxy_auth', path: null })
    expect(JSON.stringify(decided)).not.toContain(TOKEN)
  })

  it('none are 407 where a client with a token could go on', async () => {
    const answer = await bed.refusal(TOKENED)
    expect([answer.status, refusalOf(answer).reason]).toEqual([407, 'proxy_auth'])
  })

  it('none are a plain denial where nobody could', async () => {
    const { open, request } = bed
    const wire = await open(DENIED)
    wire.write(request('/', { host: DENIED }))
    expect(refusalOf(await wire.message()).reason).toBe('no_matching_rule')
    wire.socket.destroy()
  })

  it('those of a client that has no rule for the host are a denial, not 407', async () => {
    const { open, request } = bed
    const wire = await open(DENIED, proxyAuthorization(`Bearer ${TOKEN}`))
    wire.write(request('/robot-denied', { host: DENIED }))
    const answer = await wire.message()
    wire.socket.destroy()
    expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'no_matching_rule'])
    expect((await bed.attempt('/robot-denied')).decided).toMatchObject({ client: { name: 'robot' } })
  })

  it('inside the tunnel they are nobody any more, and stay here', async () => {
    const { open, request, origin, attempt } = bed
    const wire = await open()
    wire.write(request('/inside', { fields: proxyAuthorization(`Bearer ${TOKEN}`) }))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
    expect(origin.askedFor('/inside')[0]?.fields.map(([field]) => field)).toEqual(['Host'])
    expect((await attempt('/inside')).decided).toMatchObject({ client: { name: 'anonymous' } })
  })

  it('a client asked for credentials can give them on a new connection', async () => {
    expect((await bed.refusal(TOKENED)).status).toBe(407)
    const wire = await bed.open(TOKENED, proxyAuthorization(`Bearer ${TOKEN}`))
    wire.write(bed.request('/second-try', { host: TOKENED }))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
  })
})

describe('on an absolute-form request', () => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(absolute)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it.each(RIGHT)('[P42] %s names the client for that request, and stays here', async (name, credentials) => {
    const { ask, origin, attempt } = bed
    const path = `/absolute/${name.replaceAll(' ', '-')}`
    expect((await ask(path, { host: TOKENED, fields: proxyAuthorization(credentials) })).status).toBe(200)
    expect(origin.askedFor(path)[0]?.fields.map(([field]) => field)).toEqual(['Host'])
    expect((await attempt(path)).decided).toMatchObject({ client: { name: 'robot' }, rule: 'tokened' })
  })

  it.each(WRONG)('%s is 407, even for a host that everybody may reach', async (_name, credentials) => {
    const answer = await bed.ask('/wrong', { fields: proxyAuthorization(credentials) })
    expect([answer.status, refusalOf(answer).reason]).toEqual([407, 'proxy_auth'])
    expect(valuesOf(answer, 'proxy-authenticate')).toEqual(['Basic realm="mcp-egress"'])
    expect(bed.origin.askedFor('/wrong')).toEqual([])
  })

  it('none are 407 where a client with a token could go on, and the next request may bring them', async () => {
    const wire = new Wire((await bed.open()).socket)
    wire.write(bed.request('/challenge', { host: TOKENED }))
    const challenge = await wire.message()
    expect([challenge.status, refusalOf(challenge).reason]).toEqual([407, 'proxy_auth'])
    wire.write(bed.request('/challenge', { host: TOKENED, fields: proxyAuthorization(`Bearer ${TOKEN}`) }))
    expect((await wire.message()).status).toBe(200)
    wire.socket.destroy()
  })

  it('two values are not guessed between', async () => {
    const right = proxyAuthorization(`Bearer ${TOKEN}`)
    const wrong = proxyAuthorization('Bearer wrong')
    for (const fields of [right + wrong, wrong + right, right + right]) {
      expect((await bed.ask('/two-values', { host: TOKENED, fields })).status).toBe(407)
    }
  })

  it('credentials of one request are not those of the next on its connection', async () => {
    const wire = await bed.open()
    wire.write(bed.request('/first', { host: TOKENED, fields: proxyAuthorization(`Bearer ${TOKEN}`) }))
    expect((await wire.message()).status).toBe(200)
    wire.write(bed.request('/next', { host: TOKENED }))
    expect((await wire.message()).status).toBe(407)
    wire.socket.destroy()
  })
})
