// Connections that end by halves, in the middle, or not in order: every attempt has its end, with what had passed by then.

import { expect, it } from 'vitest'
import { reset } from '../doors/support/flow.ts'
import { gate } from '../doors/support/gate.ts'
import { ok } from '../support/scripted-origin.ts'
import type { Wire } from '../support/wire.ts'
import { EVERY_WAY, eachWay, outcomeOf, PLAIN_WAYS, TLS_WAYS } from './support/foreign.ts'

const CHUNKED = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'

const LEAVING: [string, (wire: Wire) => void][] = [
  ['closes', (wire) => void wire.socket.destroy()],
  ['resets', (wire) => reset(wire)],
]

eachWay(PLAIN_WAYS, (bed) => {
  it('[G17] a FIN behind the request: the answer is delivered whole, in its parts', async () => {
    const { origin, open, request, attempt } = bed()
    const finished = gate()
    origin.on('/fin', async (wire) => {
      await finished.opened
      wire.write(`${CHUNKED}3\r\none\r\n`)
      wire.write('3\r\ntwo\r\n0\r\n\r\n')
    })
    const wire = await open()
    wire.socket.end(request('/fin'), () => finished.open())
    expect((await wire.message()).body).toBe('onetwo')
    expect(await wire.closed()).toBe('end')
    expect((await attempt('/fin')).completed).toMatchObject({ outcome: 'completed', status: 200, bytes_received: 6 })
  })
})

eachWay(TLS_WAYS, (bed) => {
  it('[G17] close_notify behind the request: nobody waits for the answer, and the origin is told', async () => {
    const { origin, open, request, attempt } = bed()
    const asked = gate()
    const gone = gate()
    origin.on('/close-notify', async (wire) => {
      asked.open()
      await wire.closed()
      gone.open()
    })
    const wire = await open()
    wire.write(request('/close-notify'))
    await asked.opened
    wire.socket.end()
    await gone.opened
    expect((await attempt('/close-notify')).completed).toMatchObject({
      outcome: 'client_aborted',
      reason: 'client_aborted',
      status: null,
    })
    wire.socket.destroy()
  })
})

eachWay(EVERY_WAY, (bed) => {
  it.each(LEAVING)('[G17] a client that %s in the middle of its body', async (how, leave) => {
    const { origin, open, request, attempt } = bed()
    const path = `/upload/${how}`
    const begun = gate()
    const gone = gate()
    origin.on(path, async (wire) => {
      await wire.take(4)
      begun.open()
      await wire.closed()
      gone.open()
    })
    const wire = await open()
    wire.write(request(path, { method: 'PUT', fields: 'Content-Length: 10\r\n', body: 'half' }))
    await begun.opened
    leave(wire)
    await gone.opened
    expect((await attempt(path)).completed).toMatchObject({
      outcome: 'client_aborted',
      reason: 'client_aborted',
      bytes_sent: 4,
      bytes_received: 0,
    })
  })

  it.each(LEAVING)('[G17] a client that %s in the middle of the answer', async (how, leave) => {
    const { origin, open, request, attempt } = bed()
    const path = `/download/${how}`
    const gone = gate()
    origin.on(path, async (wire) => {
      wire.write(`${CHUNKED}4\r\npart\r\n`)
      await wire.closed()
      gone.open()
    })
    const wire = await open()
    wire.write(request(path))
    await wire.takeUntil('part\r\n')
    leave(wire)
    await gone.opened
    expect((await attempt(path)).completed).toMatchObject({
      outcome: 'client_aborted',
      reason: 'client_aborted',
      status: 200,
      bytes_received: 4,
    })
  })

  it('[G17] a FIN in the middle of a head is an attempt that was refused', async () => {
    const outcome = await outcomeOf(bed(), (wire) => wire.socket.end(bed().request('/half-head').slice(0, -8)))
    expect(outcome.malformed).toMatchObject([
      { code: 'TRUNCATED_HEAD', request_line: expect.stringMatching(/^GET \S*\/half-head HTTP\/1\.1$/) as unknown },
    ])
  })

  it('[G17] a FIN before anything was said is none', async () => {
    const outcome = await outcomeOf(bed(), (wire) => wire.socket.end(), 0)
    expect([outcome.said, outcome.decided]).toEqual(['', []])
  })

  it('[G17] an origin that half-closes behind its answer has answered', async () => {
    const { origin, ask, attempt } = bed()
    origin.on('/origin-fin', (wire) => void wire.socket.end(ok('whole')))
    expect((await ask('/origin-fin')).body).toBe('whole')
    expect((await attempt('/origin-fin')).completed).toMatchObject({ outcome: 'completed', bytes_received: 5 })
  })

  it('[G17] an origin that ends in the middle of its answer has not, and the client sees it', async () => {
    const { origin, open, request, attempt } = bed()
    origin.on('/origin-cut', (wire) => void wire.socket.end(`${CHUNKED}4\r\npart\r\n`))
    const wire = await open()
    wire.write(request('/origin-cut'))
    await wire.closed()
    expect(wire.text).toContain('part')
    expect(wire.text).not.toContain('0\r\n\r\n')
    wire.socket.destroy()
    expect((await attempt('/origin-cut')).completed).toMatchObject({ outcome: 'upstream_aborted', bytes_received: 4 })
  })
})
