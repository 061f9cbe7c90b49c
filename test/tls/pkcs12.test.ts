import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { certificateBlocks } from '../../src/tls/certificate.ts'
import { TRUSTSTORE_PASSWORD, truststore } from '../../src/tls/pkcs12.ts'
import { systemRoots } from '../../src/tls/trust.ts'
import { available, file, importedCa, openssl, RSA_2048, run } from './fixture.ts'

const HAS_KEYTOOL = available('keytool', ['-help'])

function ca(key?: readonly string[]): X509Certificate {
  return new X509Certificate(readFileSync(join(importedCa(key === undefined ? {} : { key }), 'ca.pem')))
}

async function keytool(store: Buffer, password: string = TRUSTSTORE_PASSWORD): Promise<string> {
  const path = file(store, 'truststore.p12')
  const args = ['-list', '-v', '-storetype', 'PKCS12', '-keystore', path, '-storepass', password]
  return (await run('keytool', args, { maxBuffer: 64 * 1024 * 1024 })).stdout
}

describe('the Java trust store', () => {
  it('[T20] holds our CA and every root of the system, EC ones included', () => {
    const own = ca()
    const store = file(truststore([own]), 'truststore.p12')
    const listed = openssl(['pkcs12', '-in', store, '-nokeys', '-passin', `pass:${TRUSTSTORE_PASSWORD}`])
    expect(certificateBlocks(listed)).toEqual([own.toString(), ...systemRoots()])
  })

  it('is checked by its password', () => {
    const store = file(truststore([ca()], []), 'truststore.p12')
    expect(() => openssl(['pkcs12', '-in', store, '-nokeys', '-passin', 'pass:other'])).toThrow(/Mac verify error/)
  })

  it('is the same for the same certificates and another for others', () => {
    const own = ca()
    expect(truststore([own], [])).toEqual(truststore([own], []))
    expect(truststore([own], [])).not.toEqual(truststore([own], [ca().toString()]))
  })

  it.skipIf(!HAS_KEYTOOL)('[T20] is read by keytool as trusted entries, each under an alias of its own', async () => {
    const own = ca()
    const listed = await keytool(truststore([own]))
    const roots = systemRoots().length
    expect(listed).toContain(`Your keystore contains ${roots + 1} entries`)
    expect(listed.match(/Entry type: trustedCertEntry/g)).toHaveLength(roots + 1)
    expect(listed).toMatch(/Alias name: mcp-egress\n/)
    expect(listed).toContain(`SHA256: ${own.fingerprint256}`)
  })

  it.skipIf(!HAS_KEYTOOL)('keeps an RSA CA and the issuers of an intermediate', async () => {
    const listed = await keytool(truststore([ca(RSA_2048), ca()], []))
    expect(listed).toMatch(/Alias name: mcp-egress\n[\s\S]*Alias name: mcp-egress-issuer-1\n/)
  })

  it.skipIf(!HAS_KEYTOOL)('is refused by keytool under another password', async () => {
    await expect(keytool(truststore([ca()], []), 'another')).rejects.toThrow(/keytool -list/)
  })
})
