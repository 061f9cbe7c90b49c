// Field names, methods and paths that are members of every JavaScript object: ordinary names, on both ways and in the records.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ok } from '../support/scripted-origin.ts'
import { assertAccounted } from '../support/accounting.ts'
import { type Bed, startBed } from '../doors/support/bed.ts'
import { called, WAYS } from './support/smuggling.ts'

const NAMES = [
  '__proto__',
  'constructor',
  'prototype',
  'hasOwnProperty',
  'toString',
  'valueOf',
  '__defineGetter__',
  '__lookupSetter__',
  'then',
  'length',
]
const FIELDS = NAMES.map((name) => `${name}: ${name}\r\n`).join('')
const PAIRS = NAMES.map((name) => [name, name])

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let bed: Bed
  beforeAll(async () => {
    // Bodies are recorded, and so are the fields.
    bed = await startBed(way, {
      rules: `  - { id: whole, audit: body, allow: { hosts: [api.allowed.test], ports: [PORT], schemes: [http, https] } }`,
    })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  it('[B43] as fields of a request and of its answer', async () => {
    const { ask, origin, attempt } = bed
    origin.on('/fields', (wire) => wire.write(ok('ok', FIELDS)))
    const answer = await ask('/fields', { fields: FIELDS })
    expect(answer.fields.slice(0, NAMES.length)).toEqual(PAIRS)
    expect(origin.askedFor('/fields')[0]?.fields.slice(1)).toEqual(PAIRS)
    const { decided, completed } = await attempt('/fields')
    expect(decided['request_headers']).toEqual(expect.arrayContaining(PAIRS))
    expect(completed['response_headers']).toEqual(expect.arrayContaining(PAIRS))
  })

  it('[B43] as fields that Connection names: they stay here', async () => {
    const { ask, origin } = bed
    const fields = `Connection: ${NAMES.join(', ')}\r\n${FIELDS}`
    expect((await ask('/nominated', { fields })).status).toBe(200)
    expect(origin.askedFor('/nominated')[0]?.fields.map(([name]) => name)).toEqual(['Host'])
  })

  it('[B43] as trailing fields of a request: dropped, and named in the record', async () => {
    const { ask, attempt } = bed
    const fields = 'Transfer-Encoding: chunked\r\n'
    const answer = await ask('/trailers', { method: 'POST', fields, body: `0\r\n${FIELDS}\r\n` })
    expect(answer.status).toBe(200)
    const { completed } = await attempt('/trailers')
    expect(completed['security_flags']).toEqual(NAMES.map((name) => `trailer_dropped:${name}`))
  })

  it.each(NAMES)('[B43] %s as a path and as a member of the query', async (name) => {
    const { ask, attempt } = bed
    expect((await ask(`/${name}?${name}=${name}`)).status).toBe(200)
    const { decided } = await attempt(`/${name}`)
    expect(decided['query']).toBe(`${name}=${name}`)
  })

  it.each(NAMES)('[B43] %s as a method', async (name) => {
    const { ask, origin } = bed
    expect((await ask(`/method/${name}`, { method: name })).status).toBe(200)
    expect(origin.askedFor(`/method/${name}`)[0]?.startLine).toBe(`${name} /method/${name} HTTP/1.1`)
  })

  it('[B43] __proto__ as a member of a JSON body', async () => {
    const { ask, attempt } = bed
    const body = '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}}}'
    const fields = `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    expect((await ask('/json', { method: 'POST', fields, body })).status).toBe(200)
    await attempt('/json')
    expect(Reflect.get({}, 'polluted')).toBeUndefined()
  })
})
