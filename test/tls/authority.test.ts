import { X509Certificate } from 'node:crypto'
import { chmodSync, copyFileSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { AuthorityError, expiresWithin, openAuthority } from '../../src/tls/authority.ts'
import { mintLeaf } from '../../src/tls/leaf.ts'
import { EC_P256, EC_P384, file, importedCa, named, openssl, RSA_2048, temporaryDirectory } from './fixture.ts'

const DAY_MS = 86_400_000
// Ahead of the CAs that openssl makes while the tests run: they begin at their own second.
const now = new Date(Date.now() + 600_000)

function refusal(directory: string, at: Date = now): string {
  try {
    openAuthority(directory, at)
  } catch (error) {
    if (error instanceof AuthorityError) return error.message
    throw error
  }
  throw new Error('the CA was accepted')
}

describe('opening a CA of our own', () => {
  it('reads back the very CA it made', () => {
    const directory = temporaryDirectory()
    const created = openAuthority(directory, now)
    const reopened = openAuthority(directory, now)
    expect(reopened.fingerprint256).toBe(created.fingerprint256)
    expect(reopened.key.equals(created.key)).toBe(true)
    expect(reopened.chainPem).toBe('')
    expect(reopened.warnings).toEqual([])
  })

  it('has its dates and subject from the certificate', () => {
    const authority = openAuthority(temporaryDirectory(), now)
    expect(authority.notBefore).toEqual(new Date(authority.certificate.validFrom))
    expect(authority.notAfter).toEqual(new Date(authority.certificate.validTo))
    expect(authority.certificate.raw.includes(authority.subjectDer)).toBe(true)
    expect(authority.keyIdentifier).toHaveLength(20)
  })

  it('rewrites a stale bundle and leaves a current one alone', () => {
    const directory = temporaryDirectory()
    openAuthority(directory, now)
    const bundle = join(directory, 'bundle.pem')
    const { ino } = statSync(bundle)
    openAuthority(directory, now)
    expect(statSync(bundle).ino).toBe(ino)
    const fresh = readFileSync(bundle, 'utf8')
    writeFileSync(bundle, 'stale')
    openAuthority(directory, now)
    expect(readFileSync(bundle, 'utf8')).toBe(fresh)
  })

  it('works on with a warning where the bundle can not be written', () => {
    const directory = temporaryDirectory()
    openAuthority(directory, now)
    const blocked = join(directory, 'bundle.pem')
    rmSync(blocked)
    // A folder in its place can be replaced by no file, not even by root.
    mkdirSync(blocked)
    expect(openAuthority(directory, now).warnings).toEqual([expect.stringContaining(blocked)])
  })

  it('[C16] tells when the CA is about to end', () => {
    const authority = openAuthority(temporaryDirectory(), now)
    const end = authority.notAfter.getTime()
    expect(expiresWithin(authority, 30 * DAY_MS, now)).toBe(false)
    expect(expiresWithin(authority, 30 * DAY_MS, new Date(end - 30 * DAY_MS))).toBe(false)
    expect(expiresWithin(authority, 30 * DAY_MS, new Date(end - 30 * DAY_MS + 1))).toBe(true)
  })
})

describe('an imported CA is accepted', () => {
  it.each([
    ['RSA 2048', RSA_2048],
    ['EC P-256', EC_P256],
    ['EC P-384', EC_P384],
  ])('%s, its leaves verified strictly by openssl', (_, key) => {
    const directory = importedCa({ key })
    const authority = openAuthority(directory, now)
    const leaf = mintLeaf(authority, openAuthority(temporaryDirectory(), now).key, named('api.example.test'), now)
    const verified = openssl([
      'verify',
      '-x509_strict',
      '-CAfile',
      join(directory, 'ca.pem'),
      file(leaf.certificatePem),
    ])
    expect(verified).toContain('OK')
    expect(new X509Certificate(leaf.certificatePem).verify(authority.certificate.publicKey)).toBe(true)
  })

  it.each([
    ['PKCS #1', RSA_2048, ['rsa', '-traditional']],
    ['SEC 1', EC_P256, ['ec']],
    ['PKCS #8', EC_P256, ['pkey']],
  ])('with its key as %s', (_, key, convert) => {
    const directory = importedCa({ key })
    const path = join(directory, 'private/ca.key')
    writeFileSync(path, openssl([...convert, '-in', path]))
    expect(openAuthority(directory, now).signature.hash).toBe('sha256')
  })

  it('through symbolic links, as a mounted secret is', () => {
    const real = importedCa()
    const directory = temporaryDirectory()
    symlinkSync(join(real, 'ca.pem'), join(directory, 'ca.pem'))
    symlinkSync(join(real, 'private'), join(directory, 'private'))
    expect(openAuthority(directory, now).fingerprint256).toBe(openAuthority(real, now).fingerprint256)
  })

  it('without a key identifier, and then its leaves name none', () => {
    const authority = openAuthority(importedCa({ keyIdentifier: 'none' }), now)
    expect(authority.keyIdentifier).toBeNull()
    const leaf = mintLeaf(authority, authority.key, named('api.example.test'), now)
    expect(openssl(['x509', '-noout', '-text'], leaf.certificatePem)).not.toContain('Authority Key Identifier')
  })

  it('as an intermediate, with its chain up to the root and without it', () => {
    const { directory, chain } = intermediateCa()
    const authority = openAuthority(directory, now)
    expect(authority.chainPem).toBe(chain[0])
    const leaf = mintLeaf(authority, authority.key, named('api.example.test'), now)
    const verify = ['verify', '-x509_strict', '-CAfile', file(chain[1]), '-untrusted', file(authority.chainPem)]
    expect(openssl([...verify, file(leaf.certificatePem)])).toContain('OK')
  })
})

describe('a CA is refused, with the path and the fix', () => {
  it.each(['640', '604', '644', '660', '602'])('when its key has mode %s', (octal) => {
    const directory = importedCa()
    const key = join(directory, 'private/ca.key')
    chmodSync(key, Number.parseInt(octal, 8))
    expect(refusal(directory)).toBe(`${key}: open to group or others (mode 0${octal}). Fix: chmod 600 ${key}`)
    chmodSync(key, 0o600)
    expect(openAuthority(directory, now).keyIdentifier).toHaveLength(20)
  })

  it.each([
    [
      'its key is missing',
      (d: string) => rmSync(join(d, 'private/ca.key')),
      /ca\.pem: there is a certificate but no .*ca\.key/,
    ],
    [
      'its certificate is missing',
      (d: string) => rmSync(join(d, 'ca.pem')),
      /ca\.key: there is a key but no .*ca\.pem/,
    ],
    ['its key is of another CA', (d: string) => copyKey(importedCa(), d), /ca\.key: not the key of .*ca\.pem/],
    [
      'its key is no key',
      (d: string) => writeFileSync(join(d, 'private/ca.key'), 'x'),
      /ca\.key: not an unencrypted PEM/,
    ],
    ['its key is encrypted', encryptKey, /ca\.key: not an unencrypted PEM/],
    ['its certificate is no PEM', (d: string) => writeFileSync(join(d, 'ca.pem'), 'x'), /ca\.pem: no PEM certificate/],
    ['its certificate is broken', breakCertificate, /ca\.pem: a certificate in it can not be parsed/],
  ])('when %s', (_, damage, message) => {
    const directory = importedCa()
    damage(directory)
    const refused = refusal(directory)
    expect(refused).toMatch(message)
    expect(refused).toContain('Fix: ')
  })

  it('when its chain is out of order', () => {
    const { directory, chain } = intermediateCa()
    const stranger = readFileSync(join(importedCa(), 'ca.pem'), 'utf8')
    writeFileSync(join(directory, 'ca.pem'), chain[0] + stranger)
    expect(refusal(directory)).toMatch(/ca\.pem: certificate 2 in it did not issue certificate 1.*Fix: /)
  })

  it('when it is no CA', () => {
    expect(refusal(importedCa({ basicConstraints: 'critical,CA:FALSE' }))).toContain('ca.pem: not a CA certificate')
  })

  it.each([
    ['RSA 1024', ['-newkey', 'rsa:1024']],
    ['EC P-521', ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-521']],
    ['Ed25519', ['-newkey', 'ed25519']],
  ])('when its key is %s', (_, key) => {
    expect(refusal(importedCa({ key }))).toContain('keys of this kind are not supported')
  })

  it('when it has expired, and not a second before', () => {
    const directory = importedCa({ days: 1 })
    const end = Date.parse(new X509Certificate(readFileSync(join(directory, 'ca.pem'))).validTo)
    expect(refusal(directory, new Date(end))).toContain('ca.pem: expired on')
    expect(openAuthority(directory, new Date(end - 1)).notAfter.getTime()).toBe(end)
  })

  it('when it is not valid yet', () => {
    expect(refusal(importedCa(), new Date(now.getTime() - DAY_MS))).toContain('Fix: set the clock')
  })
})

function copyKey(from: string, to: string): void {
  copyFileSync(join(from, 'private/ca.key'), join(to, 'private/ca.key'))
}

function encryptKey(directory: string): void {
  const path = join(directory, 'private/ca.key')
  writeFileSync(path, openssl(['pkey', '-aes128', '-passout', 'pass:secret', '-in', path]))
}

function breakCertificate(directory: string): void {
  const path = join(directory, 'ca.pem')
  writeFileSync(path, readFileSync(path, 'utf8').replace(/\nMII\w/, '\nAAAA'))
}

/** `ca.pem` holds the intermediate and its root, in `chain` one by one. */
function intermediateCa(): { directory: string; chain: [string, string] } {
  const root = importedCa()
  const directory = importedCa()
  const request = file(
    openssl(['req', '-new', '-subj', '/CN=Intermediate', '-key', join(directory, 'private/ca.key')]),
    'request.pem',
  )
  const extensions = file(
    'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n',
    'extensions.cnf',
  )
  const intermediate = openssl([
    'x509',
    '-req',
    '-in',
    request,
    '-days',
    '30',
    '-extfile',
    extensions,
    '-CA',
    join(root, 'ca.pem'),
    '-CAkey',
    join(root, 'private/ca.key'),
  ])
  const chain: [string, string] = [intermediate, readFileSync(join(root, 'ca.pem'), 'utf8')]
  writeFileSync(join(directory, 'ca.pem'), chain.join(''))
  return { directory, chain }
}
