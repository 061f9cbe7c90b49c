// Fields behind a chunked body: those that would change what was judged break the request, the others are dropped and named.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { called, broken, forwarded, type SmugglingBed, startSmugglingBed, WAYS } from './support/smuggling.ts'

const FORBIDDEN = [
  'Host: evil.test',
  'Content-Length: 9',
  'Transfer-Encoding: chunked',
  'transfer-encoding: identity',
  'Connection: close',
  'Keep-Alive: 5',
  'Proxy-Authorization: Basic eA==',
  'TE: trailers',
  'Trailer: X-A',
  'Upgrade: websocket',
  'Expect: 100-continue',
]

const BROKEN: readonly [name: string, trailers: string, code: string][] = [
  ...FORBIDDEN.map((line): [string, string, string] => [line, `${line}\r\n`, 'FORBIDDEN_TRAILER']),
  ['Host behind others', 'X-A: 1\r\nX-B: 2\r\nhOST: evil.test\r\n', 'FORBIDDEN_TRAILER'],
  ['a folded one', 'X-A: 1\r\n Host: evil.test\r\n', 'OBS_FOLD'],
  ['a space before the colon', 'Content-Length : 9\r\n', 'SPACE_BEFORE_COLON'],
  ['Content_Length', 'Content_Length: 9\r\n', 'UNDERSCORE_FRAMING'],
  ['a bare LF', 'X-A: 1\nHost: evil.test\r\n', 'BARE_LF'],
  ['a bare CR', 'X-A: 1\rHost: evil.test\r\n', 'BARE_CR'],
  ['NUL', 'X-A: 1\0\r\n', 'BAD_VALUE'],
  ['no name', ': 1\r\n', 'BAD_NAME'],
  ['too many', 'X-A: 1\r\n'.repeat(101), 'TOO_MANY_TRAILERS'],
  ['too large', `X-A: ${'a'.repeat(16 * 1_024)}\r\n`, 'TRAILERS_TOO_LARGE'],
  ['too large and without an end', `X-A: ${'a'.repeat(32 * 1_024)}`, 'TRAILERS_TOO_LARGE'],
]

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: SmugglingBed
  beforeAll(async () => {
    bed = await startSmugglingBed(way)
  })
  afterAll(() => bed.close())
  const head = (): string =>
    `POST ${bed.spelling.target('/trailers')} HTTP/1.1\r\n${bed.spelling.host}Transfer-Encoding: chunked\r\n\r\n`

  it.each(BROKEN)('[B34] %s breaks the request', async (_name, trailers, code) => {
    expect(await broken(bed, [`${head()}2\r\nhi\r\n0\r\n${trailers}\r\n${bed.spelling.smuggled}`])).toBe(code)
  })

  it.each(BROKEN)('[B34] %s breaks the request, behind a body that has left', async (_name, trailers, code) => {
    expect(await broken(bed, [`${head()}2\r\nhi\r\n`, `0\r\n${trailers}\r\n${bed.spelling.smuggled}`])).toBe(code)
  })

  it('[B34] others are dropped, their names recorded, their values not', async () => {
    const trailers = 'Authorization: Bearer s3cr3t-value\r\nX-Checksum: s3cr3t-value\r\n'
    const before = bed.lab.recordsOf('request.completed').length
    const { requests } = await forwarded(bed, `${head()}2\r\nhi\r\n0\r\n${trailers}\r\n`, ['POST'])
    expect(requests).toMatchObject([{ method: 'POST', target: '/trailers', body: 'hi', trailers: [] }])
    const end = bed.lab.recordsOf('request.completed')[before]
    expect(end).toMatchObject({ security_flags: ['trailer_dropped:Authorization', 'trailer_dropped:X-Checksum'] })
    expect(JSON.stringify(bed.lab.records())).not.toContain('s3cr3t-value')
  })
})
