import { generateKeyPairSync, X509Certificate } from 'node:crypto'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Host, parseHost } from '../../src/core/address.ts'
import { type Authority, openAuthority } from '../../src/tls/authority.ts'
import { mintLeaf } from '../../src/tls/leaf.ts'
import { available, file, importedCa, named, openssl, run, temporaryDirectory } from './fixture.ts'

const DAY_MS = 86_400_000
const HOUR_MS = 3_600_000
const now = new Date('2026-05-01T12:00:00Z')
const leafKey = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
const LONG_NAME = `${'a'.repeat(50)}.${'b'.repeat(44)}.test`
const HAS_CRYPTOGRAPHY = available('python3', ['-c', 'import cryptography'])

function freshAuthority(at: Date = now): { authority: Authority; ca: string } {
  const directory = temporaryDirectory()
  return { authority: openAuthority(directory, at), ca: join(directory, 'ca.pem') }
}

function text(pem: string): string {
  return openssl(['x509', '-noout', '-text'], pem)
}

function host(spelled: string): Host {
  const parsed = parseHost(spelled)
  if (parsed === null) throw new Error(`not canonical: ${spelled}`)
  return parsed
}

describe('a leaf', () => {
  it.each([
    ['a name', 'api.example.test', 'DNS:api.example.test'],
    ['[C8] an IPv4 literal', '127.0.0.1', 'IP Address:127.0.0.1'],
    ['[C9] an IPv6 literal', '[::1]', 'IP Address:0:0:0:0:0:0:0:1'],
    ['[C9] an IPv6 literal of all groups', '[2001:db8:1:2:3:4:5:6]', 'IP Address:2001:DB8:1:2:3:4:5:6'],
    ['[C10] a name with an underscore', 'my_host.example.test', 'DNS:my_host.example.test'],
    ['[C11] an internationalised name', 'xn--bcher-kva.example.test', 'DNS:xn--bcher-kva.example.test'],
    ['[C12] a name of 100 characters', LONG_NAME, `DNS:${LONG_NAME}`],
  ])('[C1] [C2] [C7] for %s passes openssl -x509_strict and names that host alone', (_, spelled, san) => {
    const { authority, ca } = freshAuthority()
    const { certificatePem } = mintLeaf(authority, leafKey, host(spelled), now)
    const at = ['-attime', String(now.getTime() / 1000), '-purpose', 'sslserver']
    expect(openssl(['verify', '-x509_strict', ...at, '-CAfile', ca, file(certificatePem)])).toContain('OK')
    expect(text(certificatePem)).toMatch(new RegExp(`Subject Alternative Name: (critical)?\\s+${san}\\n`))
  })

  it('is for the key it is minted with, its public half or the private one, whatever keys came before', () => {
    const { authority } = freshAuthority()
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const holds = (key: typeof leafKey): boolean =>
      new X509Certificate(mintLeaf(authority, key, named('a.test'), now).certificatePem).checkPrivateKey(privateKey)
    expect([leafKey, publicKey, privateKey, publicKey, leafKey].map(holds)).toEqual([false, true, true, true, false])
  })

  it('has exactly the documented extensions', () => {
    const { authority } = freshAuthority()
    const leaf = text(mintLeaf(authority, leafKey, named('api.example.test'), now).certificatePem)
    expect(leaf).toMatch(/Basic Constraints: critical\s+CA:FALSE\n/)
    expect(leaf).toMatch(/Key Usage: critical\s+Digital Signature\n/)
    expect(leaf).toMatch(/Extended Key Usage: \s+TLS Web Server Authentication\n/)
    expect(leaf.match(/X509v3 /g)).toHaveLength(6) // the heading and five extensions
  })

  it('[C1] [C3] copies the key identifier of an imported CA byte for byte, whatever its form', () => {
    const base = freshAuthority().authority
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 64 }), (bytes) => {
        const authority: Authority = { ...base, keyIdentifier: Buffer.from(bytes) }
        const { certificatePem } = mintLeaf(authority, leafKey, named('a.test'), now)
        const hex = Buffer.from(bytes).toString('hex').toUpperCase().match(/../g)?.join(':')
        return openssl(['x509', '-noout', '-ext', 'authorityKeyIdentifier'], certificatePem).includes(`    ${hex}\n`)
      }),
      { numRuns: 20 },
    )
    const identifier = '000102030405060708090a0b0c0d0e0f10111213'
    const directory = importedCa({ keyIdentifier: identifier })
    const later = new Date(Date.now() + HOUR_MS)
    const imported = openAuthority(directory, later)
    expect(imported.keyIdentifier?.toString('hex')).toBe(identifier)
    const { certificatePem } = mintLeaf(imported, leafKey, named('a.test'), later)
    const at = ['-attime', String(Math.floor(later.getTime() / 1000))]
    const verify = ['verify', '-x509_strict', ...at, '-CAfile', join(directory, 'ca.pem'), file(certificatePem)]
    expect(openssl(verify)).toContain('OK')
  })

  it('[C4] never begins before its CA, minted in the first second of the CA', () => {
    const authority = { ...freshAuthority().authority, notBefore: now }
    expect(mintLeaf(authority, leafKey, named('a.test'), now).notBefore).toEqual(now)
    expect(mintLeaf(authority, leafKey, named('a.test'), new Date(now.getTime() + 2 * HOUR_MS)).notBefore).toEqual(
      new Date(now.getTime() + HOUR_MS),
    )
    const own = freshAuthority().authority
    expect(mintLeaf(own, leafKey, named('a.test'), now).notBefore >= own.notBefore).toBe(true)
  })

  it('[C5] has another key than its CA', () => {
    const { authority } = freshAuthority()
    const leaf = new X509Certificate(mintLeaf(authority, leafKey, named('a.test'), now).certificatePem)
    expect(leaf.publicKey.equals(authority.certificate.publicKey)).toBe(false)
    expect(leaf.checkPrivateKey(leafKey)).toBe(true)
  })

  it('[C6] has a positive, unique serial of 16 bytes, in 10,000 of 10,000', { timeout: 60_000 }, () => {
    const { authority } = freshAuthority()
    const serials = new Set<string>()
    for (let count = 0; count < 10_000; count += 1) {
      const { certificatePem } = mintLeaf(authority, leafKey, named('a.test'), now)
      const der = Buffer.from(certificatePem.replaceAll(/-----.*?-----|\s/g, ''), 'base64')
      // SEQUENCE, SEQUENCE, [0] version; both lengths take two bytes in a certificate of this size.
      const start = der.indexOf(Buffer.from('a003020102', 'hex')) + 5
      expect(der.subarray(start, start + 2).toString('hex')).toBe('0210')
      expect((der[start + 2] ?? 0xff) & 0xc0).toBe(0x40)
      serials.add(der.subarray(start + 2, start + 18).toString('hex'))
    }
    expect(serials.size).toBe(10_000)
  })

  it('[C12] leaves the subject empty and the SAN critical only where the name is too long for a CN', () => {
    const { authority } = freshAuthority()
    const name63 = `${'a'.repeat(58)}.test`
    const fits = text(mintLeaf(authority, leafKey, named(name63), now).certificatePem)
    expect(fits).toContain(`Subject: CN = ${name63}\n`)
    expect(fits).toContain('Subject Alternative Name: \n')
    const tooLong = text(mintLeaf(authority, leafKey, named(`a${name63}`), now).certificatePem)
    expect(tooLong).toMatch(/Subject: *\n/)
    expect(tooLong).toContain('Subject Alternative Name: critical\n')
  })

  it('[C13] [C14] lives a week and never past its CA', () => {
    const { authority } = freshAuthority()
    const { notBefore, notAfter } = mintLeaf(authority, leafKey, named('a.test'), now)
    expect(notAfter.getTime() - notBefore.getTime()).toBe(7 * DAY_MS + HOUR_MS)
    const late = new Date(authority.notAfter.getTime() - HOUR_MS)
    expect(mintLeaf(authority, leafKey, named('a.test'), late).notAfter).toEqual(authority.notAfter)
  })

  it('[C16] is not minted by a CA that has ended', () => {
    const { authority } = freshAuthority()
    expect(() => mintLeaf(authority, leafKey, named('a.test'), authority.notAfter)).toThrow(/the CA expired on .*Fix: /)
  })

  it.each(['bücher.example', 'examp\u0131e.test', 'a.test\0.evil.test', 'a b', ''])(
    '[C11] is refused for %j, which is no canonical name',
    (name) => {
      expect(() => mintLeaf(freshAuthority().authority, leafKey, named(name), now)).toThrow(TypeError)
    },
  )

  it('is refused for an address that is none', () => {
    const { authority } = freshAuthority()
    expect(() => mintLeaf(authority, leafKey, { kind: 'ipv6', text: 'fe80::1%eth0' }, now)).toThrow(TypeError)
  })

  it.skipIf(!HAS_CRYPTOGRAPHY)('[C18] is parsed by Python cryptography with warnings as errors', async () => {
    const { authority, ca } = freshAuthority()
    const leaf = file(mintLeaf(authority, leafKey, named('api.example.test'), now).certificatePem)
    const script = `
import sys
from cryptography import x509
for path in sys.argv[1:]:
    c = x509.load_pem_x509_certificate(open(path, 'rb').read())
    print(c.subject.rfc4514_string(), c.serial_number > 0, len(list(c.extensions)))`
    const { stdout } = await run('python3', ['-W', 'error', '-c', script, ca, leaf])
    expect(stdout).toContain('CN=api.example.test True 5')
  })
})
