import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { connect, createSecureContext, rootCertificates } from 'node:tls'
import { describe, expect, it, onTestFinished } from 'vitest'
import { openAuthority } from '../../src/tls/authority.ts'
import { LeafCache } from '../../src/tls/leaf-cache.ts'
import { systemRoots, TrustError, upstreamContext, upstreamTrust } from '../../src/tls/trust.ts'
import {
  bareEnvironment,
  compiledRoom,
  file,
  importedCa,
  named,
  openssl,
  run,
  serve,
  temporaryDirectory,
} from './fixture.ts'

const now = new Date(Date.now() + 5000)
const pem = (directory: string): string => readFileSync(join(directory, 'ca.pem'), 'utf8')

/** The verdict of the upstream context on a server: `ok`, or the code of the error. */
async function verdict(port: number, sources: readonly string[], own: string): Promise<string> {
  const secureContext = upstreamContext(upstreamTrust(sources, own))
  const socket = connect({ port, host: '127.0.0.1', servername: 'api.example.test', secureContext })
  onTestFinished(() => {
    socket.destroy()
  })
  try {
    await once(socket, 'secureConnect')
    return 'ok'
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    // Node.js has no name of its own for some of OpenSSL's verdicts.
    return code === undefined || code === 'UNSPECIFIED' ? message : code
  }
}

async function serverBelow(directory: string): Promise<number> {
  const cache = new LeafCache(openAuthority(directory, now), { now: Date.now })
  return await serve(() => cache.get(named('api.example.test')))
}

describe('upstream trust', () => {
  it('is what the sources hold', () => {
    const own = pem(importedCa())
    const [a, b] = [importedCa(), importedCa()]
    expect(upstreamTrust([join(a, 'ca.pem'), join(b, 'ca.pem')], own).ca).toEqual([pem(a), pem(b)])
    expect(upstreamTrust([file(pem(a) + pem(b)), join(a, 'ca.pem')], own).ca).toEqual([pem(a), pem(b)])
  })

  it('believes a server below a configured CA and no other', async () => {
    const own = pem(importedCa())
    const corporate = importedCa()
    const port = await serverBelow(corporate)
    expect(await verdict(port, [join(corporate, 'ca.pem')], own)).toBe('ok')
    expect(await verdict(port, ['system'], own)).toMatch(/UNABLE_TO_(VERIFY_LEAF_SIGNATURE|GET_ISSUER_CERT_LOCALLY)/)
  })

  it('[H04] never believes our own CA, though a source names it', async () => {
    const directory = temporaryDirectory()
    const port = await serverBelow(directory)
    const own = pem(directory)
    expect(upstreamTrust([file(own)], own).ca).toEqual([])
    expect(await verdict(port, [join(directory, 'ca.pem'), 'system'], own)).toMatch(/UNABLE_TO/)
    expect(await verdict(port, [join(directory, 'bundle.pem')], own)).toMatch(/UNABLE_TO/)
  })

  it('[H04] nor another certificate of its key', () => {
    const directory = importedCa()
    const key = join(directory, 'private/ca.key')
    const second = openssl(['req', '-x509', '-new', '-key', key, '-subj', '/CN=Second'])
    expect(upstreamTrust([file(second)], pem(directory)).ca).toEqual([])
  })

  it('[H03] nor what the environment adds', async () => {
    const directory = temporaryDirectory()
    const port = await serverBelow(directory)
    const room = compiledRoom()
    onTestFinished(() => rmSync(room, { recursive: true, force: true }))
    const script = `
      import { readFileSync } from 'node:fs'
      import { connect } from 'node:tls'
      import { upstreamContext, upstreamTrust } from ${JSON.stringify(join(room, 'tls/trust.js'))}
      const [port, ca] = process.argv.slice(1)
      const options = { port: Number(port), host: '127.0.0.1', servername: 'api.example.test' }
      const ask = (extra) => new Promise((resolve) => {
        const socket = connect({ ...options, ...extra }, () => { resolve('ok'); socket.destroy() })
        socket.on('error', (error) => resolve(error.code))
      })
      console.log(await ask({}), await ask({ secureContext: upstreamContext(upstreamTrust(['system'], readFileSync(ca, 'utf8'))) }))`
    const ca = join(directory, 'ca.pem')
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script, '--', String(port), ca], {
      env: bareEnvironment({ NODE_EXTRA_CA_CERTS: ca, SSL_CERT_FILE: ca }),
    })
    expect(stdout).toMatch(/^ok UNABLE_TO_\w+\n$/)
  })

  it.each([
    ['is missing', () => join(temporaryDirectory(), 'gone.pem'), /gone\.pem: no such file\. Fix: /],
    ['lies below a file', () => join(file('x'), 'gone.pem'), /gone\.pem: no such file\. Fix: /],
    ['is a folder', () => temporaryDirectory(), /can not be read \(EISDIR\)\. Fix: /],
    ['holds no certificate', () => file('# nothing'), /file\.pem: no PEM certificate in it\. Fix: /],
    ['ends in the middle of one', () => file(pem(importedCa()).slice(0, -30)), /no PEM certificate in it\. Fix: /],
    [
      'holds a broken certificate',
      () => file(`${pem(importedCa())}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`),
      /file\.pem: certificate 2 in it can not be parsed\. Fix: /,
    ],
  ])('refuses a source that %s, with its path and the fix', (_, source, message) => {
    const path = source()
    const attempt = (): unknown => upstreamTrust(['system', path], pem(importedCa()))
    expect(attempt).toThrow(TrustError)
    expect(attempt).toThrow(message)
    expect(attempt).toThrow(path)
  })

  it.each([
    ['accepts', 'RSA 2048 and SHA-256', 'rsa:2048', 'sha256', 'ok'],
    ['refuses', 'RSA 1024', 'rsa:1024', 'sha256', 'EE certificate key too weak'],
    ['refuses', 'a SHA-1 signature', 'rsa:2048', 'sha1', 'CA signature digest algorithm too weak'],
  ])('[H02] %s a server with %s', async (_, __, key, digest, expected) => {
    const corporate = importedCa()
    const port = await serverWith(corporate, key, digest)
    const code = await verdict(port, [join(corporate, 'ca.pem')], pem(importedCa()))
    expect(code).toBe(expected)
  })
})

/** A server whose certificate `corporate` signed with this digest for a key of this kind. */
async function serverWith(corporate: string, key: string, digest: string): Promise<number> {
  const directory = temporaryDirectory()
  const [keyPath, request] = [join(directory, 'key.pem'), join(directory, 'request.pem')]
  openssl(['req', '-new', '-nodes', '-newkey', key, '-keyout', keyPath, '-subj', '/CN=x', '-out', request])
  const cert = openssl([
    'x509',
    '-req',
    `-${digest}`,
    '-in',
    request,
    '-extfile',
    file('subjectAltName=DNS:api.example.test'),
    '-CA',
    join(corporate, 'ca.pem'),
    '-CAkey',
    join(corporate, 'private/ca.key'),
  ])
  const context = createSecureContext({ key: readFileSync(keyPath), cert, ciphers: 'DEFAULT@SECLEVEL=0' })
  return await serve(() => context)
}

describe('the roots of this system', () => {
  it('come from the first bundle that has any', () => {
    const [a, b] = [importedCa(), importedCa()]
    const bundles = [join(temporaryDirectory(), 'gone.pem'), file(''), join(a, 'ca.pem'), join(b, 'ca.pem')]
    expect(systemRoots(bundles)).toEqual([pem(a)])
  })

  it('are those of Node.js where there is no bundle', () => {
    expect(systemRoots([])).toHaveLength(rootCertificates.length)
    expect(systemRoots([])[0]).toMatch(/^-----BEGIN CERTIFICATE-----\n[\s\S]+\n-----END CERTIFICATE-----\n$/)
  })

  it('each are one PEM block with a newline at its end', () => {
    for (const root of systemRoots()) {
      expect(root.endsWith('-----END CERTIFICATE-----\n')).toBe(true)
      expect(root.split('-----BEGIN').length).toBe(2)
    }
  })
})
