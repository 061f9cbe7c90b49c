import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createPublicKey, generateKeyPairSync, verify } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { checkpointStatement, openSigningKey, publicKeysOf, readPublicKeys } from '../../src/audit/signing.ts'
import { compileTrail } from './support/compile.ts'
import { INSTANCE, temporaryFolder } from './support/sealed.ts'

let folder: string
beforeEach(() => {
  folder = temporaryFolder()
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const mode = (path: string): string => (statSync(join(folder, path)).mode & 0o777).toString(8)
const keyFile = (): string => join(folder, 'private/audit.key')

describe('openSigningKey', () => {
  it('makes a key that only its owner can read, and a public one that everybody can', () => {
    const before = process.umask(0o077)
    try {
      openSigningKey(folder)
    } finally {
      process.umask(before)
    }
    expect([mode('private'), mode('private/audit.key'), mode('audit.pub')]).toEqual(['700', '600', '644'])
    expect(readdirSync(join(folder, 'private'))).toEqual(['audit.key'])
    expect(readFileSync(keyFile(), 'utf8')).toContain('-----BEGIN PRIVATE KEY-----')
  })

  it('signs so that the public key on disk verifies, with the same key at every call', () => {
    const statement = checkpointStatement(INSTANCE, 7, 'b'.repeat(64))
    expect(statement).toBe(`mcp-egress.audit/1 checkpoint\n${INSTANCE}\n7\n${'b'.repeat(64)}\n`)
    const signature = Buffer.from(openSigningKey(folder).sign(statement), 'base64')
    const publicKey = createPublicKey(readFileSync(join(folder, 'audit.pub')))
    expect(verify(null, Buffer.from(statement), publicKey, signature)).toBe(true)
    expect(verify(null, Buffer.from(`${statement} `), publicKey, signature)).toBe(false)
    expect(openSigningKey(folder).keyId).toBe(openSigningKey(folder).keyId)
    expect([...readPublicKeys([join(folder, 'audit.pub')]).keys()]).toEqual([openSigningKey(folder).keyId])
  })

  it.each([
    [
      'that others can read',
      () => chmodSync(keyFile(), 0o640),
      /audit\.key can be read or written by others: chmod 600/,
    ],
    ['that is none', () => writeFileSync(keyFile(), 'no key'), /audit\.key is no Ed25519 key in PKCS#8 PEM/],
    [
      'of another type',
      () => {
        const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
        writeFileSync(keyFile(), privateKey.export({ type: 'pkcs8', format: 'pem' }))
      },
      /is no Ed25519 key/,
    ],
    [
      'behind a link',
      () => {
        rmSync(keyFile())
        symlinkSync('/etc/passwd', keyFile())
      },
      /audit\.key is a symbolic link/,
    ],
  ])('refuses a key %s', (_what, spoil, message) => {
    openSigningKey(folder)
    spoil()
    expect(() => openSigningKey(folder)).toThrow(message)
  })

  it('keeps the public key of a key before, for the checkpoints that it signed', () => {
    const before = openSigningKey(folder)
    rmSync(keyFile())
    const after = openSigningKey(folder)
    expect(after.keyId).not.toBe(before.keyId)
    expect(readFileSync(join(folder, `audit.${before.keyId}.pub`), 'utf8').trim()).toBe(before.publicKeyPem.trim())
    expect([...readPublicKeys(publicKeysOf(folder)).keys()].sort()).toEqual([after.keyId, before.keyId].sort())
  })

  it('has one answer for processes that start at once', async () => {
    const compiled = compileTrail()
    try {
      const script = `import { openSigningKey } from ${JSON.stringify(join(compiled, 'audit/signing.js'))}
        process.stdin.once('data', () => { process.stdout.write(openSigningKey(process.argv[1]).keyId); process.exit(0) })
        process.stdout.write('+')`
      const starts = Array.from({ length: 6 }, async () => {
        const child = spawn(process.execPath, ['--input-type=module', '-e', script, folder], {
          stdio: ['pipe', 'pipe', 'inherit'],
        })
        let text = ''
        child.stdout.on('data', (chunk) => (text += String(chunk)))
        await once(child.stdout, 'data')
        return { go: () => child.stdin.write('go'), ended: once(child, 'close').then(() => text) }
      })
      const ready = await Promise.all(starts)
      for (const { go } of ready) go()
      const said = await Promise.all(ready.map(({ ended }) => ended))
      expect(new Set(said)).toEqual(new Set([`+${openSigningKey(folder).keyId}`]))
      expect(readdirSync(join(folder, 'private'))).toEqual(['audit.key'])
    } finally {
      rmSync(compiled, { recursive: true, force: true })
    }
  })
})

describe('readPublicKeys', () => {
  it.each([
    ['no key', 'hello', /holds no public key in PEM/],
    [
      'another type',
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({ type: 'spki', format: 'pem' }),
      /type ec/,
    ],
    ['rubbish in PEM', '-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n', /can not be read/],
  ])('refuses %s', (_what, text, message) => {
    const file = join(folder, 'x.pub')
    writeFileSync(file, text)
    expect(() => readPublicKeys([file])).toThrow(message)
    expect(existsSync(file)).toBe(true)
  })
})
