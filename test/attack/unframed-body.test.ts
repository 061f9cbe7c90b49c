// Bodies where many clients and origins expect none: framed on both sides, or refused, so that no body is ever read as a request.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { valuesOf } from '../support/wire.ts'
import {
  accountedRefusal,
  ambiguous,
  called,
  follow,
  forwarded,
  refused,
  type SmugglingBed,
  type Sent,
  startSmugglingBed,
  WAYS,
} from './support/smuggling.ts'

const BODYLESS_BY_HABIT = ['GET', 'DELETE', 'OPTIONS'] as const

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())

  const chunked = (data: string): string => `${data.length.toString(16)}\r\n${data}\r\n0\r\n\r\n`
  /** A message whose body is a whole request. */
  const carrying = (method: string, framing: 'length' | 'chunked', version = '1.1'): string => {
    const { target, host, smuggled } = bed.spelling
    const head = `${method} ${target('/carrier')} HTTP/${version}\r\n${host}`
    if (framing === 'chunked') return `${head}Transfer-Encoding: chunked\r\n\r\n${chunked(smuggled)}`
    return `${head}Content-Length: ${smuggled.length}\r\n\r\n${smuggled}`
  }
  const carrier = (method: string): Sent => ({ method, target: '/carrier', body: bed.spelling.smuggled })

  it.each(BODYLESS_BY_HABIT)('[B25] a request within the body of a %s, by length: one request', async (method) => {
    const { sent } = await forwarded(bed, carrying(method, 'length'), [method])
    expect(sent).toEqual([carrier(method)])
  })

  it.each(BODYLESS_BY_HABIT)('[B25] a request within the body of a %s, in chunks: one request', async (method) => {
    const { sent } = await forwarded(bed, carrying(method, 'chunked'), [method])
    expect(sent).toEqual([carrier(method)])
  })

  it.each(['length', 'chunked'] as const)('[B25] TRACE with a body, by %s: 400, nothing leaves', async (framing) => {
    expect(await refused(bed, carrying('TRACE', framing))).toEqual(ambiguous('BODY_NOT_ALLOWED'))
  })

  it.each(['length', 'chunked'] as const)('[B25] HEAD with a body, by %s: 400, nothing leaves', async (framing) => {
    const { canary, open, lab } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    wire.write(carrying('HEAD', framing))
    const answer = await wire.message(true)
    expect([answer.status, ...valuesOf(answer, 'connection')]).toEqual([400, 'close'])
    expect(await wire.closed()).toBe('end')
    // The answer to a HEAD has no body to read the reason from.
    expect(wire.text).toBe('')
    accountedRefusal(await left(1), ambiguous('BODY_NOT_ALLOWED'))
    expect(canary.take()).toEqual([])
  })

  it.each(['HEAD', 'TRACE'])('but %s with a body of no bytes is one request', async (method) => {
    const { target, host } = bed.spelling
    const bytes = `${method} ${target('/empty')} HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`
    const { sent } = await forwarded(bed, bytes, [method])
    expect(sent).toEqual([{ method, target: '/empty', body: '' }])
  })

  it.each(['POST', 'GET', 'DELETE', 'PUT'])(
    '[B27] %s of no bytes and a request behind it: two requests',
    async (method) => {
      const { target, host } = bed.spelling
      const first = `${method} ${target('/first')} HTTP/1.1\r\n${host}Content-Length: 0\r\n\r\n`
      const second = `GET ${target('/second')} HTTP/1.1\r\n${host}\r\n`
      const { sent } = await forwarded(bed, first + second, [method, 'GET'])
      expect(sent).toEqual([
        { method, target: '/first', body: '' },
        { method: 'GET', target: '/second', body: '' },
      ])
    },
  )

  it.each(['POST', 'PUT', 'DELETE'])(
    '[B27] %s that declares no body and a request behind it: two requests',
    async (method) => {
      const { target, host } = bed.spelling
      const first = `${method} ${target('/first')} HTTP/1.1\r\n${host}\r\n`
      const second = `GET ${target('/second')} HTTP/1.1\r\n${host}\r\n`
      const { sent } = await forwarded(bed, first + second, [method, 'GET'])
      expect(sent).toEqual([
        { method, target: '/first', body: '' },
        { method: 'GET', target: '/second', body: '' },
      ])
    },
  )

  it('[B27] Connection can not name away the length that frames the body', async () => {
    const { target, host, smuggled } = bed.spelling
    const fields = `Connection: content-length, Content-Length, keep-alive\r\nContent-Length: ${smuggled.length}\r\n`
    const bytes = `POST ${target('/named')} HTTP/1.1\r\n${host}${fields}\r\n${smuggled}`
    const { sent } = await forwarded(bed, bytes, ['POST'])
    expect(sent).toEqual([{ method: 'POST', target: '/named', body: smuggled }])
  })

  it('[B27] nor the coding', async () => {
    const { target, host, smuggled } = bed.spelling
    const fields = 'Connection: transfer-encoding, keep-alive\r\nTransfer-Encoding: chunked\r\n'
    const bytes = `POST ${target('/named')} HTTP/1.1\r\n${host}${fields}\r\n${chunked(smuggled)}`
    const { sent } = await forwarded(bed, bytes, ['POST'])
    expect(sent).toEqual([{ method: 'POST', target: '/named', body: smuggled }])
  })
})
