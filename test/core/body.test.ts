// Which bodies can be inspected: whole, in a coding and a charset that are understood, of a kind that is read strictly.

import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { BODY_INSPECTION_LIMIT, type InspectedBody, readBody } from '../../src/core/body.ts'

const PART = '--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--x--\r\n'

describe('bodies that can be inspected', () => {
  const body = (changes: Partial<InspectedBody>): InspectedBody => ({
    bytes: Buffer.from('{}'),
    complete: true,
    contentType: 'application/json',
    undecodable: null,
    ...changes,
  })

  it.each([
    ['application/json', {}],
    ['a +json type', { contentType: 'application/vnd.api+json' }],
    ['a +json type of another tree', { contentType: 'model/gltf+json' }],
    ['upper case and UTF-8', { contentType: 'Application/JSON; Charset="UTF-8"' }],
    ['another parameter', { contentType: 'application/ld+json;profile="http://x.test/y"; v=1' }],
    ['a form', { contentType: 'application/x-www-form-urlencoded', bytes: Buffer.from('a=1') }],
    [
      'a form that says UTF-8',
      { contentType: 'application/x-www-form-urlencoded; charset=utf-8', bytes: Buffer.from('a=1') },
    ],
    ['form data', { contentType: 'multipart/form-data; boundary=x', bytes: Buffer.from(PART) }],
    ['exactly the limit', { bytes: Buffer.from(`"${'a'.repeat(BODY_INSPECTION_LIMIT - 2)}"`) }],
  ])('%s', (_, changes) => {
    expect(readBody(body(changes)).kind).toBe('ok')
  })

  it.each([
    ['no type', { contentType: null }, /Content-Type/],
    ['text/plain', { contentType: 'text/plain' }, /Content-Type/],
    ['a type that only ends alike', { contentType: 'application/xjson' }, /Content-Type/],
    ['two types', { contentType: 'application/json, text/plain' }, /Content-Type/],
    ['UTF-16', { contentType: 'application/json; charset=utf-16' }, /Content-Type/],
    ['UTF-7', { contentType: 'application/json; charset=utf-8; charset=utf-7' }, /Content-Type/],
    ['a parameter that cannot be read', { contentType: 'application/json; charset' }, /Content-Type/],
    ['a coding that could not be undone', { undecodable: 'the coding is odd' }, /^the coding is odd$/],
    [
      'a form in Latin-1',
      { contentType: 'application/x-www-form-urlencoded; charset=latin1', bytes: Buffer.from('a=1') },
      /Content-Type/,
    ],
    [
      'a form that is none',
      { contentType: 'application/x-www-form-urlencoded', bytes: Buffer.from('a=%') },
      /no strict form: an escape/,
    ],
    [
      'form data without a boundary',
      { contentType: 'multipart/form-data', bytes: Buffer.from(PART) },
      /no strict form data: its boundary/,
    ],
    ['other parts', { contentType: 'multipart/mixed; boundary=x', bytes: Buffer.from(PART) }, /Content-Type/],
    ['more to come', { complete: false }, /inspection limit/],
    ['one byte over the limit', { bytes: Buffer.alloc(BODY_INSPECTION_LIMIT + 1, 0x20) }, /inspection limit/],
    ['nothing', { bytes: Buffer.alloc(0) }, /strict JSON: expected a value at offset 0/],
    ['a member twice', { bytes: Buffer.from('{"a":1,"a":2}') }, /twice/],
  ])('not %s', (_, changes, why) => {
    const result = readBody(body(changes))
    expect(result.kind === 'bad' && result.why).toMatch(why)
  })
})
