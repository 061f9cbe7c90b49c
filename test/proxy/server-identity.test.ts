import { X509Certificate } from 'node:crypto'
import { checkServerIdentity } from 'node:tls'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkIdentity } from '../../src/proxy/server-identity.ts'
import { extension } from '../../src/tls/certificate.ts'
import { implicit, type Node, sequence } from '../../src/tls/der.ts'
import { addressName, type CertificateSpec, issue } from '../support/certificates.ts'

const certificate = (spec: CertificateSpec): X509Certificate => new X509Certificate(issue(spec).pem)
const accepts = (host: string, spec: CertificateSpec): boolean =>
  checkIdentity(host, certificate(spec).toLegacyObject().subjectaltname) === undefined
const alternative = (tag: number, text: string): Node =>
  extension('2.5.29.17', false, sequence(implicit(tag, Buffer.from(text, 'latin1'))))

describe('a certificate is for the host', () => {
  it.each<[string, string, CertificateSpec]>([
    ['whose name it has', 'a.test', { names: ['b.test', 'a.test'] }],
    ['whatever the case', 'a.test', { names: ['A.Test'] }],
    ['whose name its wildcard covers', 'a.b.test', { names: ['*.b.test'] }],
    ['whose address it has', '127.0.0.1', { more: [addressName(127, 0, 0, 1)] }],
  ])('%s', (_, host, spec) => {
    expect(accepts(host, spec)).toBe(true)
  })
})

describe('a certificate is not for the host', () => {
  it.each<[string, string, CertificateSpec]>([
    ['of another name', 'a.test', { names: ['b.test'] }],
    ['that only the common name has', 'a.test', { commonName: 'a.test' }],
    ['that only the common name has, beside another name', 'a.test', { commonName: 'a.test', names: ['b.test'] }],
    [
      'that only the common name has, beside an address',
      'a.test',
      { commonName: 'a.test', more: [addressName(1, 2, 3, 4)] },
    ],
    [
      'that only the common name has, beside a URI',
      'a.test',
      { commonName: 'a.test', more: [alternative(6, 'https://b.test')] },
    ],
    [
      'that only the common name has, beside a mailbox',
      'a.test',
      { commonName: 'a.test', more: [alternative(1, 'x@b.test')] },
    ],
    ['two labels below its wildcard', 'x.a.b.test', { names: ['*.b.test'] }],
    ['at the apex of its wildcard', 'b.test', { names: ['*.b.test'] }],
    ['whose address stands as a name', '127.0.0.1', { names: ['127.0.0.1'] }],
    ['whose address stands as the common name', '127.0.0.1', { commonName: '127.0.0.1' }],
    ['whose name is quoted in another one', 'a.test', { names: ['b.test, DNS:a.test'] }],
    ['whose name stands before a NUL', 'a.test', { names: ['a.test\0.b.test'] }],
    ['whose name stands in a URI', 'a.test', { more: [alternative(6, 'x, DNS:a.test')] }],
  ])('%s', (_, host, spec) => {
    expect(accepts(host, spec)).toBe(false)
  })

  it('when there is none', () => {
    expect(checkIdentity('a.test', undefined)).toMatchObject({ reason: 'it has no subjectAltName' })
  })
})

it('is what Node.js finds in the whole certificate, wherever that names a host', () => {
  const label = fc.constantFrom('a', 'b', '*', '', 'test', 'a*', 'x"y', 'DNS:a.test', ', DNS:', '\\', '\0')
  const name = fc.array(label, { minLength: 1, maxLength: 3 }).map((labels) => labels.join('.'))
  const host = fc.constantFrom('a.test', 'b.a.test', 'test', 'a')
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 3 }), host, (names, asked) => {
      const shown = certificate({ commonName: asked, names }).toLegacyObject()
      const whole = checkServerIdentity(asked, shown)
      expect(checkIdentity(asked, shown.subjectaltname) === undefined).toBe(whole === undefined)
    }),
    { numRuns: 200 },
  )
})
