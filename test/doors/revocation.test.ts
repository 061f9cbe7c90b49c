// A tightened policy ends what is already open: broken off, recorded as revoked, within two seconds, and nothing else.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { assertAccounted } from '../support/accounting.ts'
import { clientHello } from '../support/client-hello.ts'
import { connectVia, exchangeOn, httpsRedirected, httpsVia, secure, tcp } from '../support/clients.ts'
import type { AuditRecord, LabOptions } from '../support/lab.ts'
import { ok } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'
import { type Bed, HOST, refusalOf, startBed, TOKEN, type Way } from './support/bed.ts'
import { pour, settled } from './support/flow.ts'
import { gate } from './support/gate.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]
/** CONTRACT: what a changed policy ends is closed this soon. */
const REVOKED_WITHIN_MS = 2_000
const LARGE = 64 * 1_024 * 1_024
const REVOKED = { outcome: 'revoked', reason: 'policy_revoked' }
const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n'
const UPLOAD = { method: 'POST', fields: 'Content-Length: 10\r\n', body: 'half' }

/** A rule for the host of the tests; `more` follows inside the match, `beside` next to it. */
const rule = (more = '', beside = ''): string =>
  `  - { id: free, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https]${more} }${beside} }\n`
const inspect = (...members: string[]): string =>
  `, body: { json: [${members.map((member) => `{ path: $.${member}, must: be-absent }`).join(', ')}] }`

let bed: Bed
afterEach(async () => {
  await assertAccounted(bed.lab)
  await bed.close()
})

function reload(rules: string, changes: Partial<LabOptions> = {}): void {
  bed.lab.reload({ ...changes, rules: rules.replaceAll('PORT', String(bed.origin.port)) })
}

/** Plays an origin that begins with `bytes` and never ends; `asked` and `gone` are when it was asked and let go of. */
function endless(path: string, bytes = ''): { asked: Promise<Wire>; gone: Promise<void> } {
  const asked = gate<Wire>()
  const gone = gate()
  bed.origin.on(path, async (wire) => {
    wire.write(bytes)
    asked.open(wire)
    await wire.closed()
    gone.open()
  })
  return { asked: asked.opened, gone: gone.opened }
}

/** A stream that has begun to arrive. */
async function streaming(path: string, fields = ''): Promise<{ wire: Wire; events: Wire; gone: Promise<void> }> {
  const { asked, gone } = endless(path, CHUNKED)
  const wire = await bed.open(HOST, fields)
  wire.write(bed.request(path, bed.way.door === 'absolute' ? { fields } : {}))
  await wire.takeUntil('one\r\n')
  return { wire, events: await asked, gone }
}

/** The outcome of a stream that is open to the end: what the origin says from now on arrives, and the end is whole. */
async function goesOn(wire: Wire, events: Wire, path: string): Promise<unknown> {
  events.write('3\r\ntwo\r\n0\r\n\r\n')
  expect(await wire.takeUntil('0\r\n\r\n')).toBe('3\r\ntwo\r\n0\r\n\r\n')
  wire.socket.destroy()
  return (await bed.attempt(path)).completed['outcome']
}

describe.each(WAYS)('$door', (way) => {
  describe('requests under way', () => {
    beforeEach(async () => {
      bed = await startBed(way, { rules: rule() })
    })

    it('are broken off wherever they are, and nothing of them is left upstream', async () => {
      const { open, request, origin, attempt } = bed
      const paths = ['/thinking', '/streaming', '/uploading', '/continued', '/stalled']
      const [thinking, stream, uploading, continued, stalled] = [
        await open(),
        await open(),
        await open(),
        await open(),
        await open(),
      ]
      const ends = [endless('/thinking'), endless('/streaming', CHUNKED), endless('/uploading'), endless('/continued')]
      let written = 0
      const drop = gate()
      origin.on('/stalled', async (wire) => {
        wire.write(`HTTP/1.1 200 OK\r\nContent-Length: ${LARGE}\r\n\r\n`)
        await pour(wire, LARGE, (bytes) => (written = bytes))
        drop.open()
      })
      thinking.write(request('/thinking'))
      stream.write(request('/streaming'))
      uploading.write(request('/uploading', UPLOAD))
      continued.write(
        request('/continued', { ...UPLOAD, fields: `${UPLOAD.fields}Expect: 100-continue\r\n`, body: '' }),
      )
      stalled.write(request('/stalled'))
      await stalled.head()
      stalled.socket.pause()
      await Promise.all([...ends.map(({ asked }) => asked), stream.takeUntil('one\r\n'), settled(() => written)])
      expect(await continued.head()).toBe('HTTP/1.1 100 Continue\r\n\r\n')

      const since = performance.now()
      reload('')
      stalled.count()
      stalled.socket.resume()
      const closed = await Promise.all([thinking, stream, uploading, continued].map((wire) => wire.closed()))
      expect(closed).toEqual(['broken', 'broken', 'broken', 'broken'])
      // What the kernel still holds for a reader is read before the reset, which libuv then takes for an end: the length tells.
      await stalled.closed()
      await Promise.all([...ends.map(({ gone }) => gone), drop.opened])
      expect(performance.now() - since).toBeLessThan(REVOKED_WITHIN_MS)
      expect([thinking.text, stream.text, uploading.text, continued.text]).toEqual(['', '', '', ''])
      expect(stalled.bytes).toBeLessThan(LARGE)
      for (const path of paths) {
        const { decided, completed } = await attempt(path)
        expect(decided).toMatchObject({ decision: 'allow', rule: 'free' })
        expect(completed).toMatchObject({ ...REVOKED, upstream_address: `127.0.0.1:${origin.port}` })
      }
      expect((await attempt('/uploading')).completed).toMatchObject({ bytes_sent: 4, status: null })
      expect((await attempt('/streaming')).completed).toMatchObject({ bytes_received: 3, status: 200 })
    })

    it('stay where the new policy permits them, also beside one that it does not', async () => {
      const [kept, lost] = [await streaming('/keep'), await streaming('/drop')]
      reload(rule(', paths: [/keep]'))
      expect(await lost.wire.closed()).toBe('broken')
      await lost.gone
      expect(await goesOn(kept.wire, kept.events, '/keep')).toBe('completed')
      expect((await bed.attempt('/drop')).completed).toMatchObject(REVOKED)
    })

    it('stay in observe mode', async () => {
      const { wire, events } = await streaming('/observed')
      reload('', { mode: 'observe' })
      expect(await goesOn(wire, events, '/observed')).toBe('completed')
    })

    it('end when their address is forbidden', async () => {
      const { wire, gone } = await streaming('/address')
      reload(rule(), { upstreamAllow: [] })
      expect(await wire.closed()).toBe('broken')
      await gone
      expect((await bed.attempt('/address')).completed).toMatchObject(REVOKED)
    })

    it('end by the first of two reloads, whatever the second says', async () => {
      const { wire } = await streaming('/twice')
      reload('')
      reload(rule())
      expect(await wire.closed()).toBe('broken')
      expect((await bed.attempt('/twice')).completed).toMatchObject(REVOKED)
      expect((await bed.ask('/twice/after')).status).toBe(200)
    })

    it('end while a shutdown waits for them, before its grace is over', async () => {
      const { wire } = await streaming('/draining')
      const since = performance.now()
      const stopped = bed.lab.proxy.stop()
      reload('')
      expect(await wire.closed()).toBe('broken')
      await stopped
      expect(performance.now() - since).toBeLessThan(REVOKED_WITHIN_MS)
      expect((await bed.attempt('/draining')).completed).toMatchObject(REVOKED)
      const last = bed.lab.records().slice(-2)
      expect(last.map(({ event }) => event)).toEqual(['proxy.stopped', 'checkpoint'])
    })

    it('whose decision has just been written do not leave', async () => {
      const { lab, open, request, origin, attempt } = bed
      const wire = await open()
      const connections = origin.connections()
      lab.decisions.push = () => {
        reload('')
        return 0
      }
      wire.write(request('/just-decided'))
      expect(await wire.closed()).toBe('broken')
      expect((await attempt('/just-decided')).completed).toMatchObject({ ...REVOKED, upstream_address: null })
      expect([origin.connections(), lab.resolved]).toEqual([connections, []])
    })

    it('that have ended leave nothing to be judged: the connection waits on a name that is partly allowed', async () => {
      const { open, request } = bed
      const wire = await open()
      wire.write(request('/one'))
      expect((await wire.message()).status).toBe(200)
      reload(rule(', paths: [/two]'))
      wire.write(request('/two'))
      expect((await wire.message()).status).toBe(200)
      wire.write(request('/one'))
      expect(refusalOf(await wire.message()).reason).toBe('no_matching_rule')
      wire.socket.destroy()
    })
  })

  describe('connections without a request', () => {
    beforeEach(async () => {
      bed = await startBed(way, { rules: rule() })
    })

    it('are closed on both sides where nothing could be allowed, and leave no record', async () => {
      const { open, request, origin, lab } = bed
      const upstream = gate()
      origin.on('/last', (wire) => {
        wire.socket.once('close', () => upstream.open())
        wire.write(ok('ok'))
      })
      const idle = await open()
      idle.write(request('/last'))
      await idle.message()
      await lab.waitFor('request.completed', 1)
      const since = performance.now()
      reload('')
      await Promise.all([idle.closed(), upstream.opened])
      expect(performance.now() - since).toBeLessThan(REVOKED_WITHIN_MS)
      expect(lab.recordsOf('request.decided')).toHaveLength(1)
      expect(lab.recordsOf('tls.rejected')).toEqual([])
    })

    it('that have sent half a head are answered by the new policy', async () => {
      const { open, request, ask } = bed
      const wire = await open()
      wire.write(request('/before'))
      await wire.message()
      const half = request('/half')
      wire.write(half.slice(0, -2))
      // One round through the proxy after the half head was written: it has arrived by then.
      await ask('/round')
      reload('')
      wire.write(half.slice(-2))
      const answer = await wire.message()
      expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'no_matching_rule'])
      wire.socket.destroy()
    })

    it('stay in observe mode', async () => {
      const { open, request } = bed
      const wire = await open()
      wire.write(request('/one'))
      await wire.message()
      reload('', { mode: 'observe' })
      wire.write(request('/two'))
      expect((await wire.message()).status).toBe(200)
      wire.socket.destroy()
    })
  })

  describe('conditions on the body', () => {
    const JSON_BODY = '{"To":"x"}'
    const FIELDS = `Content-Type: application/json\r\nContent-Length: ${JSON_BODY.length}\r\n`
    beforeEach(async () => {
      bed = await startBed(way, { rules: rule('', inspect('Bcc', 'Cc')) })
    })

    /** A request whose body was inspected and found right, and whose answer streams. */
    const inspected = async (path: string): Promise<{ wire: Wire; events: Wire }> => {
      const { asked } = endless(path, CHUNKED)
      const wire = await bed.open()
      wire.write(bed.request(path, { method: 'POST', fields: FIELDS, body: JSON_BODY }))
      await wire.takeUntil('one\r\n')
      return { wire, events: await asked }
    }

    it.each([
      ['the same', inspect('Bcc', 'Cc')],
      ['fewer', inspect('Cc')],
      ['none', ''],
    ])('%s: the request stays', async (_name, conditions) => {
      const { wire, events } = await inspected('/same')
      reload(rule('', conditions))
      expect(await goesOn(wire, events, '/same')).toBe('completed')
    })

    it('more: it ends, as its body is gone', async () => {
      const { wire } = await inspected('/more')
      reload(rule('', inspect('Bcc', 'Cc', 'To')))
      expect(await wire.closed()).toBe('broken')
      expect((await bed.attempt('/more')).completed).toMatchObject(REVOKED)
    })

    /** A request of whose body only a half has arrived, as the proxy's own 100 shows. */
    const halfway = async (path: string): Promise<Wire> => {
      const wire = await bed.open()
      wire.write(bed.request(path, { method: 'POST', fields: `${FIELDS}Expect: 100-continue\r\n` }))
      await wire.takeUntil('100 Continue\r\n\r\n')
      wire.write(JSON_BODY.slice(0, 5))
      return wire
    }

    it('while the body is awaited, a policy that denies answers at once', async () => {
      const wire = await halfway('/awaited')
      reload('')
      const answer = await wire.message()
      expect([answer.status, refusalOf(answer).reason]).toEqual([403, 'no_matching_rule'])
      const { decided, completed } = await bed.attempt('/awaited')
      expect(decided).toMatchObject({ decision: 'deny', policy: bed.lab.recordsOf('config.loaded').at(-1)?.['policy'] })
      expect(completed).toMatchObject({ outcome: 'refused', status: 403 })
      expect(bed.origin.askedFor('/awaited')).toEqual([])
      wire.socket.destroy()
    })

    it.each([
      ['that looks at the body too', inspect('Bcc'), 200],
      ['that does not look at it', '', 200],
      ['that does not permit this body', inspect('To'), 403],
    ])('while the body is awaited, a policy %s decides on all of it', async (_name, conditions, status) => {
      const bodies: string[] = []
      bed.origin.on('/whole', async (wire, asked) => {
        bodies.push((await asked.body()).body)
        wire.write(ok('ok'))
      })
      const wire = await halfway('/whole')
      reload(rule('', conditions))
      reload(rule(', paths: [/whole]', conditions))
      wire.write(JSON_BODY.slice(5))
      expect((await wire.message()).status).toBe(status)
      expect(bodies).toEqual(status === 200 ? [JSON_BODY] : [])
      const { decided } = await bed.attempt('/whole')
      expect(decided).toMatchObject({ policy: bed.lab.recordsOf('config.loaded').at(-1)?.['policy'] })
      wire.socket.destroy()
    })
  })
})

describe.each<Way>([WAYS[0] as Way, WAYS[2] as Way])('a client by its token, $door', (way) => {
  const CREDENTIALS = `Proxy-Authorization: Bearer ${TOKEN}\r\n`
  beforeEach(async () => {
    const env = { ROBOT_TOKEN: TOKEN, NEXT_TOKEN: 'another-horse-battery' }
    bed = await startBed(way, { rules: rule('', ', clients: [robot]'), env })
  })
  /** The same client, with another token. */
  const rotate = (rules = rule('', ', clients: [robot]')): void =>
    reload(rules, { clients: `  - { name: robot, token: "\${NEXT_TOKEN}" }` })

  it('stays while its token does', async () => {
    const { wire, events } = await streaming('/token', CREDENTIALS)
    reload(rule(', paths: [/token]', ', clients: [robot]'))
    expect(await goesOn(wire, events, '/token')).toBe('completed')
  })

  it('whose token has changed loses what is under way, and what waits', async () => {
    const { wire, gone } = await streaming('/rotated', CREDENTIALS)
    const idle = await bed.open(HOST, CREDENTIALS)
    idle.write(bed.request('/idle', way.door === 'absolute' ? { fields: CREDENTIALS } : {}))
    await idle.message()
    await bed.attempt('/idle')
    rotate()
    expect(await wire.closed()).toBe('broken')
    await Promise.all([gone, idle.closed()])
    expect((await bed.attempt('/rotated')).completed).toMatchObject(REVOKED)
  })

  it.skipIf(way.door === 'absolute')(
    'whose token has changed in the middle of its hello is nobody for the rest',
    async () => {
      const { lab, authority, request, open } = bed
      const { socket } = await connectVia(lab, authority(), CREDENTIALS)
      const hello = clientHello({ name: HOST })
      const wire = new Wire(socket)
      wire.write(hello.subarray(0, 50))
      // One round through the proxy after the half hello was written: it has arrived by then.
      const round = await open(HOST, CREDENTIALS)
      round.write(request('/round'))
      await round.message()
      rotate(rule())
      wire.write(hello.subarray(50))
      await lab.waitFor('request.completed', 2)
      const refused = lab.recordsOf('request.decided').find((record) => record['path'] === null)
      expect(refused).toMatchObject({ decision: 'deny', reason: 'proxy_auth', sni: HOST })
      socket.destroy()
      round.socket.destroy()
    },
  )

  it.skipIf(way.door === 'absolute')('whose token has changed is nobody for the next request inside', async () => {
    const { open, request, ask } = bed
    const wire = await open(HOST, CREDENTIALS)
    wire.write(request('/before'))
    await wire.message()
    const half = request('/half')
    wire.write(half.slice(0, -2))
    await expect(ask('/round')).rejects.toThrow('CONNECT was refused: 407')
    rotate(rule())
    wire.write(half.slice(-2))
    expect(refusalOf(await wire.message()).reason).toBe('proxy_auth')
    wire.socket.destroy()
  })
})

describe('an accepted CONNECT', () => {
  beforeEach(async () => {
    bed = await startBed({ door: 'connect', tls: true }, { rules: rule() })
  })

  it('on which nothing was said is closed where nothing could be allowed, without a record', async () => {
    const { socket } = await connectVia(bed.lab, bed.authority())
    const wire = new Wire(socket)
    reload('')
    await wire.closed()
    expect(bed.lab.recordsOf('request.decided')).toEqual([])
  })

  it('stays where something could', async () => {
    const { socket } = await connectVia(bed.lab, bed.authority())
    reload(rule(', paths: [/only]'))
    const answer = await exchangeOn(await secure(bed.lab, socket, { servername: HOST }), bed.request('/only'))
    expect(answer.status).toBe(200)
    socket.destroy()
  })
})

describe('a connection to the origin that is being made', () => {
  it('is not used for a request that was taken back, nor waited for', async () => {
    // It accepts, and then never says a word of TLS.
    const silent = createServer((socket) => void socket.on('error', () => undefined))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as AddressInfo
    bed = await startBed({ door: 'connect', tls: true }, { rules: rule().replace('PORT', String(port)) })
    const accepted = once(silent, 'connection') as Promise<[Socket]>
    const wire = new Wire(await httpsVia(bed.lab, `${HOST}:${port}`))
    wire.write(`GET /dialling HTTP/1.1\r\nHost: ${HOST}:${port}\r\n\r\n`)
    const [dialled] = await accepted
    reload('')
    expect(await wire.closed()).toBe('broken')
    expect((await bed.attempt('/dialling')).completed).toMatchObject({ ...REVOKED, upstream_address: null })
    dialled.destroy()
    silent.close()
  })
})

describe.each(['connect', 'transparent'] as const)('a tunnel, %s', (door) => {
  const passing = `  - { id: pinned, passthrough: { hosts: [${HOST}], ports: [PORT] } }\n`
  beforeEach(async () => {
    bed = await startBed({ door, tls: true }, { rules: passing })
  })

  const tunnel = (): Promise<Socket> =>
    door === 'connect'
      ? httpsVia(bed.lab, bed.authority(), { ca: bed.root.pem })
      : httpsRedirected(bed.lab, HOST, { ca: bed.root.pem })

  it.each([
    ['no rule passes it through', '', {}],
    ['a rule allows it, which would have to see it', rule(), {}],
    ['its address is forbidden', passing, { upstreamAllow: [] }],
  ])('is cut on both sides when %s', async (_name, rules, changes) => {
    const { asked, gone } = endless('/in-a-tunnel', CHUNKED)
    const wire = new Wire(await tunnel())
    wire.write(bed.request('/in-a-tunnel'))
    await Promise.all([asked, wire.takeUntil('one\r\n')])
    const since = performance.now()
    reload(rules, changes)
    expect(await wire.closed()).toBe('broken')
    await gone
    expect(performance.now() - since).toBeLessThan(REVOKED_WITHIN_MS)
    const [completed] = await bed.lab.waitFor('request.completed', 1)
    expect(completed).toMatchObject({ ...REVOKED, upstream_address: `127.0.0.1:${bed.origin.port}` })
    const [closed] = bed.lab.recordsOf('tunnel.closed')
    expect(closed?.seq).toBeLessThan((completed as AuditRecord).seq)
    expect(closed?.['bytes_received']).toBeGreaterThan(0)
  })

  it.each([
    ['a rule still passes it through', passing, {}],
    ['nothing is enforced', '', { mode: 'observe' } as const],
  ])('stays while %s', async (_name, rules, changes) => {
    const { asked } = endless('/in-a-tunnel', CHUNKED)
    const wire = new Wire(await tunnel())
    wire.write(bed.request('/in-a-tunnel'))
    await wire.takeUntil('one\r\n')
    reload(rules, changes)
    ;(await asked).write('0\r\n\r\n')
    expect(await wire.takeUntil('0\r\n\r\n')).toBe('0\r\n\r\n')
    wire.socket.destroy()
  })

  it('whose decision has just been written does not leave', async () => {
    const connections = bed.origin.connections()
    bed.lab.decisions.push = () => {
      reload('')
      return 0
    }
    await expect(tunnel()).rejects.toThrow(/ECONNRESET|disconnected/)
    const [completed] = await bed.lab.waitFor('request.completed', 1)
    expect(completed).toMatchObject({ ...REVOKED, upstream_address: null })
    expect(bed.origin.connections()).toBe(connections)
    expect(bed.lab.resolved).toEqual([])
  })
})

it('a connection of which nothing is known waits on', async () => {
  bed = await startBed({ door: 'absolute', tls: false }, { rules: rule() })
  const wire = new Wire(await tcp(bed.lab.proxyPort))
  reload('')
  wire.write(bed.request('/later'))
  expect(refusalOf(await wire.message()).reason).toBe('no_matching_rule')
  wire.socket.destroy()
})
