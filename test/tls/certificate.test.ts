import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  certificateBlocks,
  certificateDer,
  certificatePem,
  distinguishedName,
  publicKeyBits,
  readIssuerFields,
  signatureScheme,
} from '../../src/tls/certificate.ts'
import { encode, encoded, explicit, sequence, smallInteger } from '../../src/tls/der.ts'
import { systemRoots } from '../../src/tls/trust.ts'
import { importedCa, openssl } from './fixture.ts'

describe('reading an issuer', () => {
  it('agrees with openssl on every root of this system, EC or RSA', () => {
    for (const pem of systemRoots()) {
      const certificate = new X509Certificate(pem)
      const { subjectDer, keyIdentifier } = readIssuerFields(certificate.raw)
      // A root is its own issuer: its subject stands there twice.
      expect(certificate.raw.indexOf(subjectDer, certificate.raw.indexOf(subjectDer) + 1)).toBeGreaterThan(0)
      // id-ce-subjectKeyIdentifier and what follows it: OCTET STRING of an OCTET STRING.
      const extension = certificate.raw.indexOf(Buffer.from('0603551d0e04', 'hex'))
      const found = extension < 0 ? null : certificate.raw.subarray(extension + 9, extension + 9 + 20)
      expect(keyIdentifier).toEqual(found)
    }
  })

  it.each(['0001', 'ff'.repeat(40)])('finds the key identifier %s as it is', (identifier) => {
    const { raw } = new X509Certificate(readFileSync(join(importedCa({ keyIdentifier: identifier }), 'ca.pem')))
    expect(readIssuerFields(raw).keyIdentifier?.toString('hex')).toBe(identifier)
  })

  it('finds none in a certificate of version 1', () => {
    const directory = importedCa()
    const key = join(directory, 'private/ca.key')
    const request = openssl(['req', '-new', '-key', key, '-subj', '/CN=v1'])
    const pem = openssl(['x509', '-req', '-signkey', key], request)
    const { subjectDer, keyIdentifier } = readIssuerFields(new X509Certificate(pem).raw)
    expect(keyIdentifier).toBeNull()
    expect(encode(encoded(subjectDer))).toEqual(subjectDer)
    expect(subjectDer.includes(Buffer.from('v1'))).toBe(true)
  })

  it.each([
    ['an empty sequence', encode(sequence())],
    ['a body of a version alone', encode(sequence(sequence(explicit(0, smallInteger(2)))))],
  ])('throws on %s', (_, der) => {
    expect(() => readIssuerFields(der)).toThrow(RangeError)
  })
})

describe('PEM', () => {
  it('round-trips a certificate, in lines of 64 characters as openssl writes them', () => {
    const pem = readFileSync(join(importedCa(), 'ca.pem'), 'utf8')
    expect(certificatePem(certificateDer(pem))).toBe(pem)
    expect(certificatePem(Buffer.alloc(48))).toBe(
      `-----BEGIN CERTIFICATE-----\n${'A'.repeat(64)}\n-----END CERTIFICATE-----\n`,
    )
  })

  it('drops what stands between certificates, and a block that does not end', () => {
    const block = certificatePem(Buffer.from('x'))
    expect(certificateBlocks(`# a comment\n${block}\nmore\n${block}-----BEGIN CERTIFICATE-----\nAA`)).toEqual([
      block,
      block,
    ])
  })
})

describe('keys', () => {
  it.each([
    ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey, 'sha256'],
    ['P-384', generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey, 'sha384'],
    ['RSA 2048', generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey, 'sha256'],
    ['RSA 1024', generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey, undefined],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey, undefined],
    ['Ed25519', generateKeyPairSync('ed25519').privateKey, undefined],
  ])('%s signs with %s', (_, key, hash) => {
    expect(signatureScheme(key)?.hash).toBe(hash)
  })

  it('have their bits taken out of the wrapping', () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const spki = createPublicKey(privateKey).export({ type: 'spki', format: 'der' })
    expect(publicKeyBits(spki)).toEqual(spki.subarray(-65))
    expect(() => publicKeyBits(encode(sequence()))).toThrow(RangeError)
  })
})

describe('names', () => {
  it.each([
    [
      'both parts, the organization first',
      { organization: 'O', commonName: 'C' },
      '3018310a3008060355040a0c014f310a300806035504030c0143',
    ],
    ['a common name alone', { commonName: 'C' }, '300c310a300806035504030c0143'],
    ['no part', {}, '3000'],
  ])('are encoded with %s', (_, parts, expected) => {
    expect(distinguishedName(parts).toString('hex')).toBe(expected)
  })
})
