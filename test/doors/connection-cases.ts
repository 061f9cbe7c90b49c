// Several requests on one connection, on the client's side and on the origin's.

import { expect, it } from 'vitest'
import { ok } from '../support/scripted-origin.ts'
import { type Bed, DENIED, refusalOf, type Way } from './support/bed.ts'
import { gate } from './support/gate.ts'

const PIPELINED = 1_000

export function connectionCases(way: Way, bed: () => Bed): void {
  it('a kept-alive connection serves request after request, each recorded as its own', async () => {
    const { open, request, attempt, lab } = bed()
    const wire = await open()
    for (const path of ['/kept/1', '/kept/2', '/kept/3']) {
      wire.write(request(path))
      expect((await wire.message()).body).toBe('ok')
    }
    wire.socket.destroy()
    const ends = await Promise.all(['/kept/1', '/kept/2', '/kept/3'].map((path) => attempt(path)))
    expect(new Set(ends.map(({ decided }) => decided['connection_id'])).size).toBe(1)
    expect(new Set(ends.map(({ decided }) => decided.request_id)).size).toBe(3)
    expect(lab.recordsOf('request.decided').filter(({ path }) => path === '/kept/2')).toHaveLength(1)
  })

  it('a request that asks for it gets the end of the connection', async () => {
    const { open, request } = bed()
    const wire = await open()
    wire.write(request('/close', { fields: 'Connection: close\r\n' }))
    expect((await wire.message()).fields).toContainEqual(['Connection', 'close'])
    expect(await wire.closed()).toBe('end')
  })

  it('a denial leaves the connection usable', async () => {
    const { open, request } = bed()
    const wire = await open()
    wire.write(request('/a/../b'))
    expect(refusalOf(await wire.message()).reason).toBe('path_not_canonical')
    wire.write(request('/after-denial'))
    expect((await wire.message()).body).toBe('ok')
    wire.socket.destroy()
  })

  it('two pipelined requests are answered in order, although the second could be first', async () => {
    const { origin, open, request, attempt, decided } = bed()
    const slow = gate()
    origin.on('/pipelined/slow', async (wire) => {
      await slow.opened
      wire.write(ok('slow'))
    })
    const wire = await open()
    wire.write(request('/pipelined/slow') + request('/pipelined/fast'))
    await decided('/pipelined/slow')
    slow.open()
    expect([(await wire.message()).body, (await wire.message()).body]).toEqual(['slow', 'ok'])
    wire.socket.destroy()
    for (const path of ['/pipelined/slow', '/pipelined/fast']) {
      expect((await attempt(path)).completed).toMatchObject({ outcome: 'completed', status: 200 })
    }
  })

  it('pipelined requests with bodies keep their borders', async () => {
    const { origin, open, request } = bed()
    origin.on('/bodies', async (wire, asked) => {
      wire.write(ok((await asked.body()).body))
    })
    const known = request('/bodies', { method: 'POST', fields: 'Content-Length: 5\r\n', body: 'known' })
    const chunked = request('/bodies', {
      method: 'POST',
      fields: 'Transfer-Encoding: chunked\r\n',
      body: '3\r\nchu\r\n4\r\nnked\r\n0\r\n\r\n',
    })
    const wire = await open()
    wire.write(known + chunked + known)
    const bodies = [(await wire.message()).body, (await wire.message()).body, (await wire.message()).body]
    expect(bodies).toEqual(['known', 'chunked', 'known'])
    wire.socket.destroy()
  })

  it(`${PIPELINED} pipelined requests are all answered and all recorded`, async () => {
    const { open, request, lab } = bed()
    const before = lab.recordsOf('request.completed').length
    const wire = await open()
    wire.write(Array.from({ length: PIPELINED }, (_, index) => request(`/many/${index}`)).join(''))
    for (let index = 0; index < PIPELINED; index++) expect((await wire.message()).body).toBe('ok')
    wire.socket.destroy()
    const ends = await lab.waitFor('request.completed', before + PIPELINED)
    expect(ends.slice(before).every(({ outcome }) => outcome === 'completed')).toBe(true)
    const paths = lab
      .recordsOf('request.decided')
      .flatMap(({ path }) => (String(path).startsWith('/many/') ? [path] : []))
    expect(paths).toEqual(Array.from({ length: PIPELINED }, (_, index) => `/many/${index}`))
  })

  it('a request and then garbage: the request is answered, the garbage is 400 and the end', async () => {
    const { open, request, lab } = bed()
    const malformed = lab.recordsOf('request.malformed').length
    const wire = await open()
    wire.write(`${request('/before-garbage')}\u0000\u0001garbage\r\n\r\n`)
    expect((await wire.message()).body).toBe('ok')
    const refused = await wire.message()
    expect([refused.status, refusalOf(refused).reason]).toEqual([400, 'malformed'])
    expect(await wire.closed()).toBe('end')
    await lab.waitFor('request.malformed', malformed + 1)
  })

  it('after a broken chunk of a request nothing more is read from its connection', async () => {
    const { origin, open, request, decided } = bed()
    origin.on('/broken-upload', async (wire) => void (await wire.closed()))
    const wire = await open()
    const fields = 'Transfer-Encoding: chunked\r\n'
    wire.write(request('/broken-upload', { method: 'POST', fields, body: '4\r\npart\r\n' }))
    await decided('/broken-upload')
    wire.write(`zz\r\n${request('/smuggled')}`)
    const answer = await wire.message()
    expect([answer.status, refusalOf(answer).reason]).toEqual([400, 'malformed'])
    expect(answer.fields).toContainEqual(['Connection', 'close'])
    wire.write(request('/smuggled'))
    expect(await wire.closed()).toBe('end')
    expect(origin.askedFor('/smuggled')).toEqual([])
  })

  it('a connection to the origin is used again, by another client too', async () => {
    const { origin, ask } = bed()
    await ask('/pooled/1')
    await ask('/pooled/2')
    const [first, second] = ['/pooled/1', '/pooled/2'].map((path) => origin.askedFor(path)[0]?.connection)
    expect(second).toBe(first)
  })

  it('a name that is served on a pooled connection is still judged for every request', async () => {
    const { ask, open, request } = bed()
    await ask('/judged')
    const wire = await open()
    wire.write(request('/judged', { host: DENIED }))
    const answer = await wire.message()
    wire.socket.destroy()
    const expected = way.door === 'absolute' || (way.door === 'transparent' && !way.tls) ? 403 : 421
    expect(answer.status).toBe(expected)
  })

  it.each<[string, string, string]>([
    ['an NTLM credential', 'Authorization: NTLM TlRMTVNTUAAB\r\n', ''],
    ['a Negotiate credential', 'Authorization: Negotiate YII\r\n', ''],
    ['an NTLM challenge', '', 'WWW-Authenticate: NTLM\r\n'],
  ])('%s makes the connection its own: nobody else rides on it', async (name, fields, challenge) => {
    const { origin, ask } = bed()
    const path = `/ntlm/${name.replaceAll(' ', '-')}`
    origin.on(path, (wire) => wire.write(ok('', challenge)))
    await ask(path, { fields })
    await ask(`${path}/next`)
    expect(origin.askedFor(`${path}/next`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
  })

  it.each([
    ['at once', (wire: { write(text: string): unknown }) => wire.write(ok('mine') + ok('poison'))],
    ['with a body longer than it said', (wire: { write(text: string): unknown }) => wire.write(`${ok('mine')}poison`)],
  ])('two answers to one request, %s: the client gets the first, nobody gets the second', async (name, answer) => {
    const { origin, ask } = bed()
    const path = `/two-answers/${name.replaceAll(' ', '-')}`
    origin.on(path, answer)
    expect((await ask(path)).body).toBe('mine')
    expect((await ask(`${path}/next`)).body).toBe('ok')
    expect(origin.askedFor(`${path}/next`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
  })

  it('an answer that was not asked for poisons nobody', async () => {
    const { origin, ask } = bed()
    const answered = gate()
    const closed = gate()
    origin.on('/late-poison', async (wire) => {
      wire.write(ok('mine'))
      await answered.opened
      // The connection rests in the pool by now.
      wire.write(ok('poison'))
      await wire.closed()
      closed.open()
    })
    expect((await ask('/late-poison')).body).toBe('mine')
    answered.open()
    await closed.opened
    expect((await ask('/late-poison/next')).body).toBe('ok')
  })

  it('[P46] a pooled connection that the origin has closed: a GET is sent again on a new one', async () => {
    const { origin, ask, attempt } = bed()
    await ask('/race/get/warm-up')
    let dropped = 0
    origin.on('/race/get', (wire) => {
      dropped += 1
      if (dropped === 1) wire.socket.destroy()
      else wire.write(ok('again'))
    })
    expect((await ask('/race/get')).body).toBe('again')
    expect(origin.askedFor('/race/get')).toHaveLength(2)
    expect((await attempt('/race/get')).completed).toMatchObject({ outcome: 'completed', status: 200 })
  })

  it.each(['POST', 'PATCH'])('[P46] ... and a %s is 502 and not sent twice', async (method) => {
    const { origin, ask } = bed()
    await ask('/race/post/warm-up')
    origin.on(`/race/${method}`, (wire) => void wire.socket.destroy())
    const answer = await ask(`/race/${method}`, { method, fields: 'Content-Length: 2\r\n', body: 'hi' })
    expect([answer.status, refusalOf(answer).reason]).toEqual([502, 'upstream_unreachable'])
    expect(origin.askedFor(`/race/${method}`)).toHaveLength(1)
  })

  it('[P46] an idle connection that the origin closes is gone from the pool', async () => {
    const { origin, ask } = bed()
    await ask('/hung-up/before')
    await origin.hangUp()
    const answer = await ask('/hung-up/after', { method: 'POST', fields: 'Content-Length: 2\r\n', body: 'hi' })
    expect(answer.status).toBe(200)
  })

  it('[P46] a GET that fails on a new connection is not sent again', async () => {
    const { origin, ask } = bed()
    await origin.hangUp()
    origin.on('/race/fresh', (wire) => void wire.socket.destroy())
    expect((await ask('/race/fresh')).status).toBe(502)
    expect(origin.askedFor('/race/fresh')).toHaveLength(1)
  })
}
