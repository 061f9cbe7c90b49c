import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAuthority } from '../../src/tls/authority.ts'
import { CA_LIFETIME_DAYS } from '../../src/tls/new-authority.ts'
import { compiledRoom, openssl, temporaryDirectory } from './fixture.ts'

const now = new Date('2026-05-01T12:00:00Z')
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8)

function describeCa(directory: string): string {
  return openssl(['x509', '-in', join(directory, 'ca.pem'), '-noout', '-text'])
}

describe('the certificate of a new CA', () => {
  it('[C2] has the critical extensions a strict verifier asks for', () => {
    const directory = temporaryDirectory()
    openAuthority(directory, now)
    const text = describeCa(directory)
    expect(text).toMatch(/X509v3 Basic Constraints: critical\s+CA:TRUE, pathlen:0\n/)
    expect(text).toMatch(/X509v3 Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
    expect(text).toMatch(/X509v3 Subject Key Identifier:\s+([0-9A-F]{2}:){19}[0-9A-F]{2}\n/)
    expect(text).not.toContain('Extended Key Usage')
    expect(text).toContain('ASN1 OID: prime256v1')
    expect(text).toContain('Signature Algorithm: ecdsa-with-SHA256')
  })

  it('begins an hour ago and holds 825 days', () => {
    const { notBefore, notAfter } = openAuthority(temporaryDirectory(), now)
    expect(notBefore).toEqual(new Date('2026-05-01T11:00:00Z'))
    expect(notAfter.getTime() - now.getTime()).toBe(CA_LIFETIME_DAYS * 86_400_000)
  })

  it('[C18] has a subject of its own for each installation, and no country', () => {
    const subjects = [1, 2].map(() => openAuthority(temporaryDirectory(), now).certificate.subject)
    expect(subjects[0]).toMatch(/^O=mcp-egress\nCN=mcp-egress CA [0-9a-f]{8}$/)
    expect(subjects[0]).not.toBe(subjects[1])
  })

  it('ends after 2049 as a valid GeneralizedTime', () => {
    const directory = temporaryDirectory()
    const { notAfter } = openAuthority(directory, new Date('2049-06-01T00:00:00Z'))
    expect(notAfter.toISOString()).toBe('2051-09-04T00:00:00.000Z')
  })
})

describe('the files of a new CA', () => {
  it.each([0o000, 0o022, 0o077])('have their modes whatever the umask (%i)', (umask) => {
    const directory = join(temporaryDirectory(), 'deep', 'certs')
    const before = process.umask(umask)
    try {
      openAuthority(directory, now)
    } finally {
      process.umask(before)
    }
    expect(mode(join(directory, 'ca.pem'))).toBe('644')
    expect(mode(join(directory, 'bundle.pem'))).toBe('644')
    expect(mode(join(directory, 'private'))).toBe('700')
    expect(mode(join(directory, 'private/ca.key'))).toBe('600')
    expect(readdirSync(directory).sort()).toEqual(['bundle.pem', 'ca.pem', 'private'])
  })

  it('can not be made below a file: refused with the folder and the fix', () => {
    const directory = join(temporaryDirectory(), 'certs')
    mkdirSync(directory)
    // A file where the folder `private` has to be.
    openssl(['rand', '-out', join(directory, 'private'), '1'])
    expect(() => openAuthority(directory, now)).toThrow(/certs.*Fix: /)
    expect(existsSync(join(directory, 'ca.pem'))).toBe(false)
  })
})

describe('many processes that start at once', () => {
  let room = ''
  beforeAll(() => {
    room = compiledRoom()
  })
  afterAll(() => rmSync(room, { recursive: true, force: true }))

  it('end with one consistent CA that all of them hold', async () => {
    const directory = temporaryDirectory()
    const script = `
      import { openAuthority } from ${JSON.stringify(join(room, 'tls/authority.js'))}
      process.stdout.write('ready\\n')
      process.stdin.once('data', () => {
        process.stdout.write(openAuthority(${JSON.stringify(directory)}, new Date()).fingerprint256)
        process.exit()
      })`
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] }),
    )
    await Promise.all(children.map((child) => once(child.stdout, 'data')))
    const answers = children.map(async (child) => {
      const chunks: Buffer[] = []
      child.stdout.on('data', (chunk: Buffer) => chunks.push(chunk))
      await once(child, 'close')
      return Buffer.concat(chunks).toString()
    })
    for (const child of children) child.stdin.write('go')
    const seen = new Set(await Promise.all(answers))
    expect([...seen]).toEqual([openAuthority(directory, new Date()).fingerprint256])
    expect(readdirSync(directory).sort()).toEqual(['bundle.pem', 'ca.pem', 'private'])
  })

  it('find the certificate only once the key is complete', () => {
    const directory = temporaryDirectory()
    openAuthority(directory, now)
    const written = (path: string): number => statSync(join(directory, path)).mtimeMs
    expect(written('private/ca.key')).toBeLessThanOrEqual(written('ca.pem'))
    chmodSync(join(directory, 'private/ca.key'), 0o600)
    expect(readFileSync(join(directory, 'private/ca.key'), 'utf8')).toMatch(/^-----BEGIN PRIVATE KEY-----/)
  })
})
