// Sockets that somebody else opened: systemd's own activation, and TPROXY with the rules and units of examples/systemd.
//
//   client namespace: curl, the origin (192.0.2.2, 2001:db8:1::2)     its gateway: rules, proxy as nobody, a way `outside`

import { spawn, spawnSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { chmodSync, chownSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type OriginProcess, startOriginProcess } from '../e2e/support/origin-process.ts'
import { type ProxyProcess, startProxyProcess } from '../e2e/support/proxy-process.ts'
import { COMMAND, NEUTRAL, type Spawner } from '../e2e/support/spawner.ts'
import { clientMissing } from '../e2e/support/web-clients.ts'
import {
  CLIENT,
  createNetwork,
  type Finished,
  GATEWAY,
  type Namespace,
  type Network,
  networkTestsPossible,
} from '../support/netns.ts'
import { createTestRoot } from '../support/origins.ts'
import { readUnit, UNITS } from './support/unit-file.ts'

const ALLOWED = 'api.allowed.test'
const DENIED = 'denied.test'
/** Addresses that nobody has (RFC 5737, RFC 3849): what the client dials is recorded, never dialled again. */
const DIALLED = { v4: '203.0.113.9', v6: '2001:db8:99::9' } as const
const PROXY_UID = 65_534
const PYTHON = '/usr/bin/python3'
const LAUNCHER = join(import.meta.dirname, 'support/listen-fds.py')
const START_DEADLINE_MS = 20_000

const undo: (() => unknown)[] = []
async function undoAll(): Promise<void> {
  const failures: unknown[] = []
  for (const step of undo.splice(0).reverse()) {
    await Promise.resolve()
      .then(step)
      .catch((error: unknown) => failures.push(error))
  }
  if (failures.length > 0) throw new AggregateError(failures, 'not everything was taken down')
}

function folderFor(owner: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-activation-'))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  chmodSync(folder, 0o755)
  chownSync(folder, owner, owner)
  return folder
}

function missing(what: string, there: boolean): boolean {
  if (!there) process.stderr.write(`socket activation tests are SKIPPED: ${what}\n`)
  return !there
}

describe.skipIf(
  missing('no systemd-socket-activate', spawnSync('systemd-socket-activate', ['--version']).status === 0),
)('systemd-socket-activate', () => {
  afterEach(undoAll)

  const freePort = async (): Promise<number> => {
    const server = net.createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as net.AddressInfo
    server.close()
    await once(server, 'close')
    return port
  }

  const activate = async (
    name: string | null,
    kind: 'tcp' | 'udp' | 'unix' = 'tcp',
  ): Promise<{ path: string; port: number; said: () => string; ended: Promise<unknown[]> }> => {
    const folder = folderFor(process.getuid?.() ?? 0)
    const config = join(folder, 'mcp-egress.yaml')
    // The configured address is one that can not be had: whoever listens on the socket that was passed does not need it.
    const listen = name === 'transparent' ? 'proxy: "127.0.0.1:0"' : 'proxy: "192.0.2.254:3128"'
    writeFileSync(config, `version: 1\nlisten: { ${listen} }\n`)
    const port = await freePort()
    const named = name === null ? [] : [`--fdname=${name}`]
    const path = join(folder, 'inherited.sock')
    const where = kind === 'unix' ? ['-l', path] : ['-l', `127.0.0.1:${port}`, ...(kind === 'udp' ? ['-d'] : [])]
    const args = [...where, ...named, process.execPath, COMMAND, 'proxy', '-c', config]
    const child = spawn('systemd-socket-activate', args, { env: { ...process.env, ...NEUTRAL }, stdio: 'pipe' })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said += text))
    const ended = once(child, 'close')
    undo.push(async () => {
      child.kill('SIGKILL')
      await ended
    })
    const deadline = performance.now() + START_DEADLINE_MS
    while (!said.includes('Listening on')) {
      if (performance.now() > deadline) throw new Error(`systemd-socket-activate does not listen: ${said}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
    return { path, port, said: () => said, ended }
  }

  const get = async (to: number | string): Promise<string> => {
    const socket = typeof to === 'string' ? net.connect(to) : net.connect(to, '127.0.0.1')
    let answer = ''
    socket.setEncoding('utf8').on('data', (text: string) => (answer += text))
    // Half-closed at once: the socket has to keep the other half open, as one that we opened ourselves does.
    socket.end('GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\nConnection: close\r\n\r\n')
    await once(socket, 'close')
    return answer
  }

  it('starts the proxy at the first connection, which is served', async () => {
    const { port, said } = await activate('proxy')
    expect((await get(port)).split('\r\n')[0]).toBe('HTTP/1.1 403 Forbidden')
    expect(said()).toContain(`mcp-egress: proxy on 127.0.0.1:${port}\n`)
    expect(said()).not.toContain('192.0.2.254')
  })

  it('a socket without a name of ours is refused by name', async () => {
    const { port, said, ended } = await activate(null)
    const socket = net.connect(port, '127.0.0.1').on('error', () => undefined)
    const [code] = await ended
    socket.destroy()
    expect(code).toBe(1)
    expect(said()).toContain('LISTEN_FDNAMES')
  })

  it('a datagram socket is refused by name', async () => {
    const { port, said, ended } = await activate('proxy', 'udp')
    const socket = createSocket('udp4')
    socket.send('wake', port, '127.0.0.1')
    const [code] = await ended
    socket.close()
    expect(code).toBe(2)
    expect(said()).toMatch(/inherited socket 3 can not serve the door proxy: .*must be a stream socket that listens/)
  })

  it('a Unix socket serves the explicit door', async () => {
    const { path, said } = await activate('proxy', 'unix')
    expect((await get(path)).split('\r\n')[0]).toBe('HTTP/1.1 403 Forbidden')
    expect(said()).toContain('mcp-egress: proxy on unix:inherited socket 3\n')
  })

  it('a Unix socket is refused for a door that goes by addresses', async () => {
    const { path, said, ended } = await activate('transparent', 'unix')
    const socket = net.connect(path).on('error', () => undefined)
    const [code] = await ended
    socket.destroy()
    expect(code).toBe(2)
    expect(said()).toContain('inherited socket 3 can not serve the door transparent: it is no TCP socket')
  })
})

const possible =
  networkTestsPossible &&
  clientMissing('curl') === null &&
  !missing(`no ${PYTHON}`, existsSync(PYTHON)) &&
  !missing('no nft', spawnSync('nft', ['--version']).status === 0)

describe.skipIf(!possible)('behind TPROXY, as nobody', () => {
  let network: Network
  let client: Namespace
  let proxy: ProxyProcess
  let origin: OriginProcess
  let ca: string
  let configFile: string
  let trailFile: string

  const inGateway = async (command: string, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await network.exec(command, args)
    if (code !== 0) throw new Error(`${command} ${args.join(' ')}: ${stderr}`)
    return stdout
  }

  /** What left by the interface `outside` towards the addresses that the client dials. */
  const leaked = async (): Promise<number> => {
    const listed = await inGateway('nft', '-j', 'list', 'table', 'inet', 'witness')
    const counts = [...listed.matchAll(/"packets": ?(\d+)/g)].map(([, count]) => Number(count))
    if (counts.length !== 2) throw new Error(`the witness is gone: ${listed}`)
    return counts.reduce((sum, count) => sum + count, 0)
  }

  /** The rules and routes of the unit, as it would run them, for the interface of this network. */
  const steer = async (folder: string): Promise<void> => {
    const rules = join(folder, 'tproxy.nft')
    const text = readFileSync(join(UNITS, 'tproxy.nft'), 'utf8')
    writeFileSync(rules, text.replace('"eth1"', `"${GATEWAY.interface}"`))
    for (const line of readUnit('mcp-egress-tproxy.service').all('Service', 'ExecStart')) {
      const [command = '', ...args] = line.replace(/^-/, '').replace('/etc/mcp-egress/tproxy.nft', rules).split(' ')
      const { code, stderr } = await network.exec(command, args)
      if (code !== 0 && !line.startsWith('-')) throw new Error(`${line}: ${stderr}`)
    }
  }

  const startProxy = async (): Promise<ProxyProcess> => {
    const unit = readUnit('mcp-egress-tproxy.socket')
    const sockets = unit.all('Socket', 'ListenStream').map((address) => {
      const [, host = '', port] = /^\[?([^\]]+?)\]?:(\d+)$/.exec(address) ?? []
      return { name: unit.one('Socket', 'FileDescriptorName'), host, port: Number(port), transparent: true }
    })
    const handing: Spawner = {
      exec: network.exec,
      spawn: (command, args, options) => {
        const spec = { uid: PROXY_UID, sockets, command: [command, ...args] }
        return network.spawn(PYTHON, [LAUNCHER, JSON.stringify(spec)], options)
      },
    }
    return startProxyProcess(handing, { configFile, trailFile })
  }

  beforeAll(async () => {
    network = await createNetwork('tproxy', { client: true })
    undo.push(() => network.close())
    if (network.client === null) throw new Error('a network without its client')
    client = network.client
    const hosts = `/etc/netns/${network.name}`
    mkdirSync(hosts, { recursive: true })
    undo.push(() => rmSync(hosts, { recursive: true, force: true }))
    writeFileSync(join(hosts, 'hosts'), `${CLIENT.v4} ${ALLOWED}\n`)

    // A way out that is open but for the rules, and a witness on it.
    await inGateway('ip', 'link', 'add', 'outside', 'type', 'veth', 'peer', 'name', 'beyond')
    await inGateway('ip', 'link', 'set', 'beyond', 'up')
    await inGateway('ip', 'link', 'set', 'outside', 'up')
    await inGateway('ip', 'route', 'add', 'default', 'dev', 'outside')
    await inGateway('ip', '-6', 'route', 'add', 'default', 'dev', 'outside')
    await inGateway('sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1')
    const witness = ['ip', 'ip6'].map((family, index) => `${family} daddr ${Object.values(DIALLED)[index]} counter`)
    await inGateway(
      'nft',
      `table inet witness { chain out { type filter hook postrouting priority 300; oifname != "outside" return; ${witness.join('; ')}; }; }`,
    )

    const folder = folderFor(PROXY_UID)
    await steer(folder)
    const root = createTestRoot()
    undo.push(() => root.close())
    chmodSync(dirname(root.file), 0o755)
    configFile = join(folder, 'mcp-egress.yaml')
    trailFile = join(folder, 'logs/audit.jsonl')
    writeFileSync(
      configFile,
      `version: 1
listen: { proxy: "127.0.0.1:3128" }
clients:
  - { name: behind, source: [${CLIENT.v4}, "${CLIENT.v6}"] }
rules:
  - { id: read, clients: [behind], allow: { hosts: [${ALLOWED}], methods: [GET] } }
upstream: { trust: [${root.file}], allow: ["${CLIENT.v4}/32"] }
`,
    )
    origin = await startOriginProcess(client, root, { listen: [{ host: CLIENT.v4, port: 443 }], names: [ALLOWED] })
    undo.push(() => origin.stop())
    proxy = await startProxy()
    undo.push(() => proxy.stop())
    ca = join(folder, 'certs/ca.pem')
  })
  afterAll(undoAll)

  /** The client looks a name up somewhere and connects to what it was told. */
  const curl = (family: 'v4' | 'v6', name: string, port: number, path: string): Promise<Finished> => {
    const address = family === 'v4' ? DIALLED.v4 : `[${DIALLED.v6}]`
    const args = [
      '-sS',
      '-i',
      '--http1.1',
      '--max-time',
      '10',
      '--cacert',
      ca,
      '--resolve',
      `${name}:${port}:${address}`,
    ]
    return client.exec('curl', [...args, `https://${name}:${port}${path}`], { env: NEUTRAL })
  }

  const attempt = async (path: string) => {
    const found = await proxy.waitFor(`end of ${path}`, (records) => {
      const decided = records.find((record) => record['path'] === path)
      return records.some((record) => record.event === 'request.completed' && record.request_id === decided?.request_id)
    })
    return found.find((record) => record['path'] === path)
  }

  it('needs no capability for it', () => {
    const status = readFileSync(`/proc/${proxy.pid}/status`, 'latin1')
    expect(/^Uid:\s+(\d+)/m.exec(status)?.[1]).toBe(String(PROXY_UID))
    expect(/^CapEff:\s+(\w+)/m.exec(status)?.[1]).toBe('0000000000000000')
  })

  it.each([
    ['v4', `${DIALLED.v4}:443`, CLIENT.v4],
    ['v6', `[${DIALLED.v6}]:443`, CLIENT.v6],
  ] as const)(
    'serves an allowed name over %s, and knows where the client was going',
    async (family, original, source) => {
      const path = `/stream/${family === 'v4' ? 5 : 6}`
      const { stdout, stderr, code } = await curl(family, ALLOWED, 443, path)
      expect([code, stderr, stdout.split('\r\n')[0]]).toEqual([0, '', 'HTTP/1.1 200 OK'])
      await origin.event(({ event, url }) => event === 'request' && url === path)
      expect(await attempt(path)).toMatchObject({
        event: 'request.decided',
        door: 'transparent',
        decision: 'allow',
        client: { name: 'behind', source },
        original_destination: original,
      })
      expect(await leaked()).toBe(0)
    },
  )

  it.each([
    ['v4', `${DIALLED.v4}:8443`],
    ['v6', `[${DIALLED.v6}]:8443`],
  ] as const)('takes every port over %s, and denies in words', async (family, original) => {
    const path = `/denied-${family}`
    const { stdout, code } = await curl(family, DENIED, 8443, path)
    expect([code, stdout.split('\r\n')[0]]).toEqual([0, 'HTTP/1.1 403 Forbidden'])
    expect(await attempt(path)).toMatchObject({ decision: 'deny', port: 8443, original_destination: original })
  })

  it.each(['127.0.0.1', '[::1]'])('refuses a connection to the listener itself at %s', async (address) => {
    const known = proxy.records().length
    await network.exec('curl', ['-sk', '--max-time', '10', `https://${address}:15002/`], { env: NEUTRAL })
    const records = await proxy.waitFor('refusal', (found) =>
      found.slice(known).some(({ event }) => event === 'request.completed'),
    )
    expect(records.slice(known).find(({ event }) => event === 'request.decided')).toMatchObject({
      door: 'transparent',
      decision: 'deny',
      reason: 'self',
      security_flags: expect.arrayContaining(['not_redirected']) as unknown,
    })
  })

  const udp = (family: 'v4' | 'v6'): Promise<Finished> => {
    const type = family === 'v4' ? 'AF_INET' : 'AF_INET6'
    const code = `import socket,sys
s=socket.socket(socket.${type},socket.SOCK_DGRAM); s.settimeout(2); s.connect(("${DIALLED[family]}",443))
s.send(b"quic")
try: s.recv(10)
except OSError as error: print(type(error).__name__)`
    return client.exec(PYTHON, ['-c', code])
  }

  describe('without the proxy', () => {
    beforeAll(() => proxy.stop())

    it.each(['v4', 'v6'] as const)('TCP and UDP over %s are refused at once', async (family) => {
      // 7: refused; 28 would be silence.
      expect((await curl(family, ALLOWED, 443, '/')).code).toBe(7)
      expect((await udp(family)).stdout).toBe('ConnectionRefusedError\n')
      expect(await leaked()).toBe(0)
    })

    it('and the witness would have seen them', async () => {
      await inGateway('nft', 'delete', 'table', 'inet', 'mcp_egress_tproxy')
      await udp('v4')
      await udp('v6')
      expect(await leaked()).toBe(2)
    })
  })
})
