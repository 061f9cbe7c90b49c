import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import { describe, expect, it, onTestFinished } from 'vitest'
import { formatHost, type Host, parseHost } from '../../src/core/address.ts'
import { openAuthority } from '../../src/tls/authority.ts'
import { LeafCache } from '../../src/tls/leaf-cache.ts'
import { available, bareEnvironment, EC_P384, importedCa, RSA_2048, run, serve, temporaryDirectory } from './fixture.ts'

const HAS_PYTHON = available('python3', ['--version'])
const HAS_CURL = available('curl', ['--version'])
const LONG_NAME = `${'a'.repeat(50)}.${'b'.repeat(44)}.test`

const HOSTS = [
  ['a name', 'api.example.test'],
  ['[C8] an IPv4 literal', '127.0.0.1'],
  ['[C9] an IPv6 literal', '[::1]'],
  ['[C10] an underscore', 'my_host.example.test'],
  ['[C11] an A-label', 'xn--bcher-kva.example.test'],
  ['[C12] 100 characters', LONG_NAME],
] as const

// Python 3.13 sets VERIFY_X509_STRICT by itself; older ones are told to.
const PYTHON_CLIENT = `
import socket, ssl, sys
cafile, address, port, host = sys.argv[1:]
context = ssl.create_default_context(cafile=cafile)
context.verify_flags |= ssl.VERIFY_X509_STRICT
with socket.create_connection((address, int(port))) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
    tls.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n')
    print(tls.version(), tls.recv(100).decode()[:15])`

function parsed(spelled: string): Host {
  const host = parseHost(spelled)
  if (host === null) throw new Error(`not canonical: ${spelled}`)
  return host
}

function addressOf(host: Host): string {
  return host.kind === 'ipv6' ? '::1' : '127.0.0.1'
}

/** A server that shows the leaf of `host`, minted by the CA in `directory`. */
async function serveHost(host: Host, directory: string): Promise<{ port: number; ca: string; cache: LeafCache }> {
  const ahead = Date.now() + 5000
  const cache = new LeafCache(openAuthority(directory, new Date(ahead)), { now: Date.now })
  return { port: await serve(() => cache.get(host), addressOf(host)), ca: join(directory, 'ca.pem'), cache }
}

async function secured(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect(options)
  onTestFinished(() => {
    socket.destroy()
  })
  await once(socket, 'secureConnect')
  return socket
}

describe('[H15] strict clients accept the leaf', () => {
  it.skipIf(!HAS_CURL).each(HOSTS)('curl, for %s', async (_, spelled) => {
    const host = parsed(spelled)
    const { port, ca } = await serveHost(host, temporaryDirectory())
    const url = `https://${formatHost(host)}:${port}/`
    const resolve = host.kind === 'name' ? ['--resolve', `${host.text}:${port}:127.0.0.1`] : []
    const { stdout } = await run('curl', ['-sS', '--noproxy', '*', '--cacert', ca, ...resolve, url], {
      env: bareEnvironment(),
    })
    expect(stdout).toBe('ok')
  })

  it.skipIf(!HAS_PYTHON).each(HOSTS)('[C1] [C2] strict Python, for %s', async (_, spelled) => {
    const host = parsed(spelled)
    const { port, ca } = await serveHost(host, temporaryDirectory())
    const args = ['-c', PYTHON_CLIENT, ca, addressOf(host), String(port), host.text]
    const { stdout } = await run('python3', args, { env: bareEnvironment() })
    expect(stdout).toBe('TLSv1.3 HTTP/1.1 200 OK\n')
  })

  it.skipIf(!HAS_PYTHON).each([
    ['RSA', { key: RSA_2048 }],
    ['EC P-384', { key: EC_P384 }],
    ['[C3] EC with a key identifier of its own', { keyIdentifier: '000102030405060708090a0b0c0d0e0f10111213' }],
  ])('strict Python, below an imported CA: %s', async (_, spec) => {
    const host = parsed('api.example.test')
    const { port, ca } = await serveHost(host, importedCa(spec))
    const { stdout } = await run('python3', ['-c', PYTHON_CLIENT, ca, '127.0.0.1', String(port), host.text], {
      env: bareEnvironment(),
    })
    expect(stdout).toContain('200 OK')
  })

  it.skipIf(!HAS_CURL)('and refuse it for another host', async () => {
    const { port, ca } = await serveHost(parsed('api.example.test'), temporaryDirectory())
    const other = run(
      'curl',
      ['-sS', '--cacert', ca, '--resolve', `other.test:${port}:127.0.0.1`, `https://other.test:${port}/`],
      {
        env: bareEnvironment(),
      },
    )
    await expect(other).rejects.toThrow(/no alternative certificate subject name matches/)
  })
})

describe('what the server shows', () => {
  it('[C17] is the leaf alone: never the CA, which is no end entity', async () => {
    const host = parsed('api.example.test')
    const { port, ca } = await serveHost(host, temporaryDirectory())
    const args = ['s_client', '-connect', `127.0.0.1:${port}`, '-servername', host.text, '-showcerts', '-CAfile', ca]
    const child = run('openssl', args)
    ;(child as unknown as { child: { stdin: NodeJS.WritableStream } }).child.stdin.end('Q\n')
    const { stdout } = await child
    expect(stdout.match(/BEGIN CERTIFICATE/g)).toHaveLength(1)
    expect(stdout).toContain('Verify return code: 0 (ok)')
    expect(stdout).toContain('s:CN = api.example.test')
  })

  it.each([
    ['TLS 1.1', { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }],
    ['TLS 1.2 without forward secrecy', { maxVersion: 'TLSv1.2', ciphers: 'AES128-GCM-SHA256' }],
    ['TLS 1.2 with CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA' }],
  ] as const)('is nothing to a client of %s', async (_, options) => {
    const host = parsed('api.example.test')
    const { port, ca } = await serveHost(host, temporaryDirectory())
    const attempt = secured({ port, host: '127.0.0.1', servername: host.text, ca: readFileSync(ca), ...options })
    await expect(attempt).rejects.toThrow(/alert/)
  })

  it('refuses to renegotiate', async () => {
    const host = parsed('api.example.test')
    const { port, ca } = await serveHost(host, temporaryDirectory())
    const options = {
      port,
      host: '127.0.0.1',
      servername: host.text,
      ca: readFileSync(ca),
      maxVersion: 'TLSv1.2',
    } as const
    const socket = await secured(options)
    const failed = once(socket, 'error')
    socket.renegotiate({}, () => undefined)
    expect(String((await failed)[0])).toMatch(/no renegotiation/i)
  })

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('keeps the tickets of one host from another under %s', async (version) => {
    const a = parsed('a.example.test')
    const b = parsed('b.example.test')
    const directory = temporaryDirectory()
    const cache = new LeafCache(openAuthority(directory, new Date()), { now: Date.now })
    let shown = a
    const port = await serve(() => cache.get(shown))
    const options = {
      port,
      host: '127.0.0.1',
      ca: readFileSync(join(directory, 'ca.pem')),
      minVersion: version,
      maxVersion: version,
    }
    const first = connect({ ...options, servername: a.text })
    const [session] = (await once(first, 'session')) as [Buffer]
    first.destroy()
    const again = await secured({ ...options, servername: a.text, session })
    expect(again.isSessionReused()).toBe(true)
    shown = b
    const other = await secured({ ...options, servername: b.text, session })
    expect(other.isSessionReused()).toBe(false)
  })
})
