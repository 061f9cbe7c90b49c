// The address a client dialled before REDIRECT, as the kernel remembers it, and every way of not knowing it.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'

import { afterAll, beforeAll, describe, expect, it } from 'vitest'

import { originalDestination, type SocketOptions, tproxyDestination } from '../../src/proxy/original-destination.ts'
import { createNetwork, GATEWAY, type Network, networkTestsPossible } from '../support/netns.ts'

/** A kernel that answers with `bytes`, or fails with `errno`; keeps what it was asked. */
function kernel(bytes: readonly number[], errno = 0): SocketOptions & { asked: number[][] } {
  const asked: number[][] = []
  return {
    asked,
    getsockopt(fd, level, option, value, length) {
      asked.push([fd, level, option, length[0] ?? -1])
      value.set(bytes)
      return errno === 0 ? 0 : -1
    },
    errno: () => errno,
  }
}

function socket(localAddress: string | undefined, localPort: number | undefined, fd: unknown = 7): net.Socket {
  return { localAddress, localPort, _handle: fd === null ? null : { fd } } as unknown as net.Socket
}

const V4 = [2, 0, 0x01, 0xbb, 203, 0, 113, 9]
const V6 = [10, 0, 0x20, 0xfb, 0, 0, 0, 0, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]
const OWN_V6 = [10, 0, 0x3a, 0x99, 0, 0, 0, 0, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]

describe('what the kernel says', () => {
  it.each<[string, net.Socket, number[], number[], unknown]>([
    ['IPv4', socket('127.0.0.1', 15001), V4, [7, 0, 80, 16], { kind: 'redirected', address: '203.0.113.9', port: 443 }],
    [
      'IPv4 on a :: listener',
      socket('::ffff:127.0.0.1', 15001),
      V4,
      [7, 0, 80, 16],
      { kind: 'redirected', address: '203.0.113.9', port: 443 },
    ],
    ['IPv6', socket('::1', 15001), V6, [7, 41, 80, 28], { kind: 'redirected', address: '2001:db8::9', port: 8443 }],
    ['the listener itself', socket('203.0.113.9', 443), V4, [7, 0, 80, 16], { kind: 'direct' }],
    ['the listener itself, mapped', socket('::ffff:203.0.113.9', 443), V4, [7, 0, 80, 16], { kind: 'direct' }],
    ['the listener itself, with a zone', socket('fe80::1%eth0', 15001), OWN_V6, [7, 41, 80, 28], { kind: 'direct' }],
    [
      'the same address, another port',
      socket('203.0.113.9', 15001),
      V4,
      [7, 0, 80, 16],
      { kind: 'redirected', address: '203.0.113.9', port: 443 },
    ],
    [
      'the same port, another address',
      socket('127.0.0.1', 443),
      V4,
      [7, 0, 80, 16],
      { kind: 'redirected', address: '203.0.113.9', port: 443 },
    ],
  ])('%s', (_sentence, from, bytes, question, answer) => {
    const options = kernel(bytes)
    expect(originalDestination(from, options)).toEqual(answer)
    expect(options.asked).toEqual([question])
  })

  it('a connection that netfilter does not track was not redirected', () => {
    expect(originalDestination(socket('127.0.0.1', 15001), kernel([], 2))).toEqual({ kind: 'direct' })
  })

  it('any other error is not knowing', () => {
    expect(originalDestination(socket('::1', 15001), kernel([], 92))).toEqual({
      kind: 'unknown',
      why: 'getsockopt SO_ORIGINAL_DST failed with errno 92',
    })
  })

  it.each<[string, net.Socket]>([
    ['no local address', socket(undefined, undefined)],
    ['a closed socket', socket('127.0.0.1', 15001, -1)],
    ['no handle', socket('127.0.0.1', 15001, null)],
    ['a handle without a descriptor', socket('127.0.0.1', 15001, 'seven')],
  ])('%s: the kernel is not asked', (_sentence, from) => {
    const options = kernel(V4)
    expect(originalDestination(from, options)).toMatchObject({ kind: 'unknown' })
    expect(options.asked).toEqual([])
  })

  it('one answer does not show through in the next', () => {
    originalDestination(socket('::1', 15001), kernel(V6))
    expect(originalDestination(socket('127.0.0.1', 15001), kernel(V4))).toEqual({
      kind: 'redirected',
      address: '203.0.113.9',
      port: 443,
    })
  })

  it('a real connection to the listener itself is direct', async () => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await new Promise((up) => server.once('listening', up))
    const { port } = server.address() as net.AddressInfo
    const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve))
    const client = net.connect(port, '127.0.0.1')
    const from = await accepted
    expect(originalDestination(from)).toEqual({ kind: 'direct' })
    client.destroy()
    from.destroy()
    await new Promise((closed) => from.once('close', closed))
    expect(originalDestination(from)).toMatchObject({ kind: 'unknown' })
    server.close()
  })
})

describe('behind TPROXY', () => {
  const OWN = new Set(['127.0.0.1 15002', '::1 15002', 'fe80::1 3128', '192.0.2.1 9901'])
  const isSelf = (address: string, port: number): boolean => OWN.has(`${address} ${port}`)

  it.each<[string, net.Socket, unknown]>([
    ['an IPv4 destination', socket('203.0.113.9', 443), { kind: 'redirected', address: '203.0.113.9', port: 443 }],
    ['IPv6', socket('2001:db8::9', 8443), { kind: 'redirected', address: '2001:db8::9', port: 8443 }],
    [
      'IPv4 on a :: listener',
      socket('::ffff:203.0.113.9', 443),
      { kind: 'redirected', address: '203.0.113.9', port: 443 },
    ],
    [
      'the port of the listener on an address of others',
      socket('203.0.113.9', 15002),
      { kind: 'redirected', address: '203.0.113.9', port: 15002 },
    ],
    ['the listener itself', socket('127.0.0.1', 15002), { kind: 'direct' }],
    ['the listener itself, IPv6', socket('::1', 15002), { kind: 'direct' }],
    ['another listener of ours, mapped', socket('::ffff:192.0.2.1', 9901), { kind: 'direct' }],
    ['another listener of ours, with a zone', socket('fe80::1%eth0', 3128), { kind: 'direct' }],
    ['a closed socket', socket(undefined, undefined), { kind: 'unknown', why: 'not a connected TCP socket' }],
  ])('%s', (_sentence, from, answer) => {
    expect(tproxyDestination(from, isSelf)).toEqual(answer)
  })
})

/** Drops root before the first connection, then tells every client where it was going. */
const SERVER = `
import { createRequire } from 'node:module'
import net from 'node:net'
createRequire(import.meta.url)('koffi') // while root: nobody may not be allowed to read the checkout
const { originalDestination } = await import('./original-destination.js')
process.setgroups([]); process.setgid(65534); process.setuid(65534)
const answer = (socket) => {
  const seen = JSON.stringify({ uid: process.getuid(), local: socket.localAddress, ...originalDestination(socket) })
  socket.on('error', () => {}).end(seen)
}
for (const listen of [{ host: '127.0.0.1', port: 15001 }, { host: '::1', port: 15001 }, { host: '::', port: 15002 }]) {
  await new Promise((up) => net.createServer(answer).listen(listen, up))
}
console.log('ready')
`

const CONNECT = `
import net from 'node:net'
const [uid, host, port] = JSON.parse(process.argv[2])
process.setgroups([]); process.setgid(uid); process.setuid(uid)
net.connect(port, host).on('error', ({ code }) => console.log(JSON.stringify({ code }))).pipe(process.stdout)
`

const LISTENERS_OF_OWN = 64_012
const DUAL_STACK = 64_013

describe.runIf(networkTestsPossible)('behind REDIRECT, as nobody', () => {
  const root = join(import.meta.dirname, '../..')
  let folder: string
  let network: Network

  beforeAll(async () => {
    // Inside node_modules, so that the compiled file finds koffi as the package does.
    folder = mkdtempSync(join(root, 'node_modules/.original-destination-'))
    const compiler = [
      'node_modules/typescript/bin/tsc',
      '--ignoreConfig',
      'src/proxy/original-destination.ts',
      '--outDir',
      folder,
    ]
    const flags = ['--module', 'nodenext', '--target', 'es2023', '--skipLibCheck', '--types', 'node']
    const compiled = spawnSync(process.execPath, [...compiler, ...flags], { cwd: root, encoding: 'utf8' })
    if (compiled.status !== 0) throw new Error(compiled.stdout)
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}')
    writeFileSync(join(folder, 'server.js'), SERVER)
    writeFileSync(join(folder, 'connect.js'), CONNECT)

    network = await createNetwork('original-dst', { addresses: ['198.51.100.7/32', '2001:db8::7/128'], client: true })
    for (const tool of ['iptables', 'ip6tables']) {
      const nat = (...rule: string[]) => network.exec(tool, ['-t', 'nat', ...rule])
      const from = (uid: number): string[] => ['-A', 'OUTPUT', '-p', 'tcp', '-m', 'owner', '--uid-owner', `${uid}`]
      await nat(...from(LISTENERS_OF_OWN), '!', '--dport', '15001', '-j', 'REDIRECT', '--to-ports', '15001')
      await nat(...from(DUAL_STACK), '-j', 'REDIRECT', '--to-ports', '15002')
      await nat('-A', 'PREROUTING', '-i', GATEWAY.interface, '-p', 'tcp', '-j', 'REDIRECT', '--to-ports', '15002')
    }
    const server = network.spawn(process.execPath, [join(folder, 'server.js')])
    let errors = ''
    server.stderr?.on('data', (text: Buffer) => (errors += String(text)))
    await new Promise<void>((resolve, reject) => {
      server.stdout?.once('data', () => resolve())
      server.once('close', () => reject(new Error(errors)))
    })
  })

  afterAll(async () => {
    await network?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  it.each<[string, 'here' | 'client', number, string, number, object]>([
    [
      'IPv4',
      'here',
      LISTENERS_OF_OWN,
      '198.51.100.7',
      443,
      { local: '127.0.0.1', kind: 'redirected', address: '198.51.100.7', port: 443 },
    ],
    [
      'IPv6',
      'here',
      LISTENERS_OF_OWN,
      '2001:db8::7',
      8443,
      { local: '::1', kind: 'redirected', address: '2001:db8::7', port: 8443 },
    ],
    [
      'IPv4 into a :: listener',
      'here',
      DUAL_STACK,
      '198.51.100.7',
      80,
      { local: '::ffff:127.0.0.1', kind: 'redirected', address: '198.51.100.7', port: 80 },
    ],
    [
      'IPv6 into a :: listener',
      'here',
      DUAL_STACK,
      '2001:db8::7',
      80,
      { local: '::1', kind: 'redirected', address: '2001:db8::7', port: 80 },
    ],
    [
      'IPv4 through a gateway',
      'client',
      65_534,
      '203.0.113.9',
      443,
      { local: `::ffff:${GATEWAY.v4}`, kind: 'redirected', address: '203.0.113.9', port: 443 },
    ],
    [
      'IPv6 through a gateway',
      'client',
      65_534,
      '2001:db8:9::9',
      443,
      { local: GATEWAY.v6, kind: 'redirected', address: '2001:db8:9::9', port: 443 },
    ],
    ['a direct hit over IPv4', 'here', 0, '127.0.0.1', 15001, { kind: 'direct' }],
    ['a direct hit over IPv6', 'here', 0, '::1', 15001, { kind: 'direct' }],
    ['a direct hit over IPv4 on a :: listener', 'here', 0, '127.0.0.1', 15002, { kind: 'direct' }],
  ])('%s', async (_sentence, where, uid, host, port, seen) => {
    const from = where === 'here' ? network : network.client
    const { stdout, stderr } = (await from?.exec(process.execPath, [
      join(folder, 'connect.js'),
      JSON.stringify([uid, host, port]),
    ])) ?? { stdout: '', stderr: '' }
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toMatchObject({ uid: 65_534, ...seen })
  })

  it('a koffi that is not there is a reason, not a crash', () => {
    const lonely = mkdtempSync('/tmp/mcp-egress-lonely-')
    try {
      const program = `
        import net from 'node:net'
        import { copyFileSync, writeFileSync } from 'node:fs'
        copyFileSync(${JSON.stringify(join(folder, 'original-destination.js'))}, ${JSON.stringify(join(lonely, 'original-destination.mjs'))})
        const { originalDestination } = await import(${JSON.stringify(join(lonely, 'original-destination.mjs'))})
        const server = net.createServer((socket) => { console.log(JSON.stringify(originalDestination(socket))); socket.destroy(); server.close() })
        server.listen(0, '127.0.0.1', () => net.connect(server.address().port, '127.0.0.1').resume())
      `
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-'], { input: program, encoding: 'utf8' })
      expect(JSON.parse(stdout)).toMatchObject({
        kind: 'unknown',
        why: expect.stringContaining("Cannot find module 'koffi'"),
      })
    } finally {
      rmSync(lonely, { recursive: true, force: true })
    }
  })
})
