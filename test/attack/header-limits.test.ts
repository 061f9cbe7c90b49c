// Heads without end: refused at a bound in bytes and in fields, before they are whole, and none of their fields is hidden before that.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  accountedRefusal,
  called,
  forwarded,
  refused,
  follow,
  refusedOn,
  type SmugglingBed,
  startSmugglingBed,
  tooLarge,
  WAYS,
} from './support/smuggling.ts'

const KIB = 1_024
const MIB = 1_024 * KIB

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())
  const get = (path: string, fields = ''): string =>
    `GET ${bed.spelling.target(path)} HTTP/1.1\r\n${bed.spelling.host}${fields}\r\n`

  it.each<[string, () => string, string]>([
    ['[B44] a request line of 64 KiB', () => get(`/${'a'.repeat(64 * KIB)}`), 'HEAD_TOO_LARGE'],
    ['[B44] a request line of 1 MiB', () => get(`/${'a'.repeat(MIB)}`), 'HEAD_TOO_LARGE'],
    ['[B44] a query of 64 KiB', () => get(`/?${'a'.repeat(64 * KIB)}`), 'HEAD_TOO_LARGE'],
    ['[I05] one field of 1 MiB', () => get('/', `X-A: ${'a'.repeat(MIB)}\r\n`), 'HEAD_TOO_LARGE'],
    ['[I05] a field name of 1 MiB', () => get('/', `${'a'.repeat(MIB)}: 1\r\n`), 'HEAD_TOO_LARGE'],
    ['[I05] white space of 1 MiB around a value', () => get('/', `X-A: ${' '.repeat(MIB)}1\r\n`), 'HEAD_TOO_LARGE'],
    ['[I05] 70 fields of 1 KiB', () => get('/', `X-A: ${'a'.repeat(KIB)}\r\n`.repeat(70)), 'HEAD_TOO_LARGE'],
    ['[I05] 201 fields', () => get('/', 'X: 1\r\n'.repeat(200)), 'TOO_MANY_HEADERS'],
    ['[I05] 10,000 fields', () => get('/', 'X: 1\r\n'.repeat(10_000)), 'TOO_MANY_HEADERS'],
    [
      '[I05] a coding behind the 200th field',
      () => get('/', `${'X: 1\r\n'.repeat(199)}Transfer-Encoding: chunked\r\n`),
      'TOO_MANY_HEADERS',
    ],
  ])('%s: 431, nothing leaves', async (_name, bytes, code) => {
    expect(await refused(bed, bytes() + bed.spelling.smuggled)).toEqual(tooLarge(code))
  })

  it('[I05] a head that never ends is refused at the bound, while its client still sends', async () => {
    const { canary, lab, open } = bed
    canary.take()
    const left = await follow(lab)
    const wire = await open()
    wire.write(get('/').slice(0, -2))
    for (let sent = 0; sent < 8 && wire.bytes === 0; sent++) wire.write(`X-A: ${'a'.repeat(16 * KIB)}\r\n`)
    expect(await refusedOn(wire)).toEqual(tooLarge('HEAD_TOO_LARGE'))
    accountedRefusal(await left(1), tooLarge('HEAD_TOO_LARGE'))
    expect(canary.take()).toEqual([])
  })

  it('[B44] but a target of 16 KiB is one', async () => {
    const path = `/${'a'.repeat(16 * KIB)}`
    const { sent } = await forwarded(bed, get(path), ['GET'])
    expect(sent).toEqual([{ method: 'GET', target: path, body: '' }])
  })

  it('[I05] and 200 fields are, the last of which frames the body', async () => {
    const { target, host } = bed.spelling
    const fields = `${'X: 1\r\n'.repeat(198)}Transfer-Encoding: chunked\r\n`
    const bytes = `POST ${target('/many')} HTTP/1.1\r\n${host}${fields}\r\n2\r\nhi\r\n0\r\n\r\n`
    const { sent } = await forwarded(bed, bytes, ['POST'])
    expect(sent).toEqual([{ method: 'POST', target: '/many', body: 'hi' }])
  })
})
