// An origin that answers before it was asked, or before it has all of what it was asked: neither connection is used for another request.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, refusalOf, startBed } from '../doors/support/bed.ts'
import { gate } from '../doors/support/gate.ts'
import { assertAccounted } from '../support/accounting.ts'
import { ok } from '../support/scripted-origin.ts'
import { called, SMUGGLED, WAYS } from './support/smuggling.ts'

const MIB = 1_024 * 1_024
const HALF = 64 * 1_024

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way)
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it.each([
    ['200', ok('early')],
    ['413', 'HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nearly'],
    ['413 with close', 'HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nearly'],
    ['401 in chunks', 'HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n0\r\n\r\n'],
  ])('[B38] %s in the middle of an upload: the client reads it, and both connections end', async (name, answer) => {
    const { origin, open, request, attempt, ask } = bed
    const path = `/early/${name.replaceAll(' ', '-')}`
    const over = gate()
    origin.on(path, async (wire) => {
      await wire.take(HALF)
      wire.write(answer)
      await wire.closed()
      over.open()
    })
    const wire = await open()
    wire.write(request(path, { method: 'PUT', fields: `Content-Length: ${2 * MIB}\r\n` }))
    wire.write('x'.repeat(HALF))
    const read = await wire.message()
    expect([read.startLine.split(' ')[1], read.body]).toEqual([name.split(' ')[0], 'early'])
    expect(read.fields).toContainEqual(['Connection', 'close'])
    // The rest of the upload, which this client makes look like a request.
    wire.write(request(SMUGGLED))
    expect(await wire.closed()).toBe('end')
    expect(wire.text).toBe('')
    await over.opened
    expect((await attempt(path)).completed).toMatchObject({ outcome: 'completed', status: read.status })
    expect((await ask(`${path}/next`)).body).toBe('ok')
    expect(origin.askedFor(`${path}/next`)[0]?.connection).not.toBe(origin.askedFor(path)[0]?.connection)
    expect(origin.askedFor(SMUGGLED)).toEqual([])
  })

  it('[B38] an answer to the head alone, with the connection closed: the client reads it', async () => {
    const { origin, open, request, attempt } = bed
    origin.on('/hung-up', (wire) => void wire.socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno'))
    const wire = await open()
    wire.write(request('/hung-up', { method: 'POST', fields: 'Transfer-Encoding: chunked\r\n', body: '4\r\npart\r\n' }))
    const read = await wire.message()
    expect([read.status, read.body]).toEqual([403, 'no'])
    expect(await wire.closed()).toBe('end')
    expect((await attempt('/hung-up')).completed).toMatchObject({ outcome: 'completed', status: 403 })
  })

  it('[B38] the connection reset in the middle of an upload, without an answer: 502, and it is not sent again', async () => {
    const { origin, open, request, attempt } = bed
    origin.on('/dropped', async (wire) => {
      await wire.take(4)
      wire.socket.destroy()
    })
    const wire = await open()
    wire.write(request('/dropped', { method: 'PUT', fields: 'Content-Length: 8\r\n', body: 'part' }))
    const read = await wire.message()
    wire.socket.destroy()
    expect([read.status, refusalOf(read).reason]).toEqual([502, 'upstream_unreachable'])
    expect(origin.askedFor('/dropped')).toHaveLength(1)
    expect((await attempt('/dropped')).completed).toMatchObject({ outcome: 'failed', reason: 'upstream_unreachable' })
  })

  it('[B38] half an upload and no more of it: the client leaves, and the origin never gets a whole request', async () => {
    const { origin, open, request, attempt } = bed
    const begun = gate()
    const broken = gate<string>()
    origin.on('/half', async (wire) => {
      const part = await wire.takeUntil('part\r\n')
      begun.open()
      await wire.closed()
      broken.open(part + wire.text)
    })
    const wire = await open()
    wire.write(request('/half', { method: 'POST', fields: 'Transfer-Encoding: chunked\r\n', body: '4\r\npart\r\n' }))
    await begun.opened
    wire.socket.destroy()
    expect(await broken.opened).toBe('4\r\npart\r\n')
    expect((await attempt('/half')).completed).toMatchObject({ outcome: 'client_aborted' })
  })
})
