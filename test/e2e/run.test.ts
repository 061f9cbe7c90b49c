// `mcp-egress run`: an MCP server works in its jail, and a hostile command in its place gets out by no way, as root and as anybody.

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ANSWERS } from './support/answers.ts'
import { GITHUB, machinePossible } from './support/machine.ts'
import { readTrail } from './support/proxy-process.ts'
import { COMMAND, NEUTRAL, REPOSITORY, SUPPORT } from './support/spawner.ts'
import { OUTSIDE, startWorld, type World } from './support/world.ts'

const USER = 4003
const TOKEN = 'ghp_runDummyTokenThatMustNotBeWritten03'
const ALLOW = ['--allow', GITHUB]

/** Who runs it: root, somebody without any right, and somebody behind sudo. */
const CALLERS = [
  { who: 'root', uid: 0, env: {}, commandUid: 0 },
  { who: 'an ordinary user', uid: USER, env: {}, commandUid: USER },
  { who: 'root for a user behind sudo', uid: 0, env: { SUDO_UID: `${USER}`, SUDO_GID: `${USER}` }, commandUid: USER },
] as const

describe.skipIf(!machinePossible)('run', () => {
  let world: World

  beforeAll(async () => {
    world = await startWorld(ANSWERS)
  })
  afterAll(() => world?.close())

  describe.each(CALLERS)('by $who', ({ uid, env, commandUid }) => {
    const run = (folder: string, args: string[], input?: string) =>
      world.run(folder, args, { uid, env, ...(input === undefined ? {} : { input }) })

    it('serves an MCP server over stdio, and records what it sent', async () => {
      const folder = world.folder(uid)
      const args = ['run', ...ALLOW, '--', 'npx', '--offline', '@modelcontextprotocol/server-github']
      const server = await mcpServer(world, { folder, uid, env, args })
      const allowed = await server.call('search_repositories', { query: 'app' })
      expect(allowed).toContain('found through the proxy')
      await server.close()
      const records = readTrail(join(folder, 'logs/audit.jsonl'))
      expect(records.find((record) => record['path'] === '/search/repositories')).toMatchObject({
        event: 'request.decided',
        door: 'transparent',
        decision: 'allow',
      })
      expect(records.slice(-2).map(({ event }) => event)).toEqual(['proxy.stopped', 'checkpoint'])
      expect(readFileSync(join(folder, 'logs/audit.jsonl'), 'utf8')).not.toContain(TOKEN)
    })

    it('lets a hostile command out by no way', async () => {
      const folder = world.folder(uid)
      const outside = await unixSockets()
      try {
        await run(folder, ['--', 'true'])
        const secrets = [join(folder, 'certs/private/ca.key'), join(folder, 'logs/audit.jsonl')]
        for (const secret of secrets) expect(existsSync(secret)).toBe(true)
        const facts = { outside: OUTSIDE, sockets: outside.paths, secrets, uid: 0 }
        await world.leaked()
        const { code, stdout, stderr } = await run(folder, [
          ...ALLOW,
          '--',
          '/usr/bin/python3',
          `${SUPPORT}hostile.py`,
          JSON.stringify(facts),
        ])
        expect(stderr).toBe('')
        expect(code).toBe(0)
        const { capabilities, descriptors, ...ways } = JSON.parse(stdout) as Record<string, string | string[]>
        expect(await world.leaked()).toBe(0)
        expect(outside.heard()).toBe(0)
        expect(capabilities).toEqual([...noCapabilities(), 'NoNewPrivs:\t1'])
        expect(descriptors).toEqual([])
        const open = Object.entries(ways).filter(([, what]) => !String(what).startsWith('refused: '))
        // Plain HTTP and TLS get their answer from the proxy, which is how a denial is read; root's uid without rights is still its number.
        const fromProxy = open.filter(
          ([name, what]) => name.startsWith('tcp ') && String(what).startsWith('answered: '),
        )
        // Port 53 of any address is our name server: an error, and no answer records (the fourth pair of bytes).
        const fromNameServer = open.filter(
          ([name, what]) =>
            /^(udp \S+ 53$|dns )/.test(name) && /^answered: .{4}[89a-f].8[1-5].{4}0000/.test(String(what)),
        )
        expect(fromNameServer).toHaveLength(2 * OUTSIDE.length)
        const harmless = commandUid === 0 ? ['setuid', 'setgid'] : []
        const explained = [...fromProxy, ...fromNameServer]
        expect(open.filter((way) => !explained.includes(way) && !harmless.includes(way[0]))).toEqual([])
        for (const [, what] of fromProxy) expect(what).toMatch(/^answered: (HTTP\/1\.1 4\d\d |\u0015\u0003)/)
      } finally {
        outside.close()
      }
    })

    it('answers names that a rule could allow, and no others', async () => {
      const folder = world.folder(uid)
      const script = `getent ahosts ${GITHUB}; getent ahosts stolen.evil.example; echo $?; getent ahosts localhost | head -1`
      const { stdout } = await run(folder, [...ALLOW, '--', 'sh', '-c', script])
      expect(stdout).toMatch(/^(?:2001:2::1|198\.18\.0\.1) /)
      expect(stdout).toMatch(/^2$/m)
      const questions = readTrail(join(folder, 'logs/audit.jsonl')).filter(({ event }) => event === 'dns.question')
      const denied = questions.filter((record) => record['decision'] === 'deny')
      expect(denied.length).toBeGreaterThan(0)
      expect(JSON.stringify(denied)).toContain('stolen.evil.example')
    })

    it('passes stdin, stdout, arguments and the exit code', async () => {
      const folder = world.folder(uid)
      const script = 'cat; printf "%s|" "$@"; echo err >&2; exit 7'
      const done = await run(folder, ['--', 'sh', '-c', script, 'sh', '--allow', 'a b', ''], 'héllo\n')
      expect(done).toEqual({ code: 7, stdout: 'héllo\n--allow|a b||', stderr: 'err\n' })
    })

    it.each([
      [['sh', '-c', 'kill -TERM $$'], 143],
      [['sh', '-c', 'kill -KILL $$'], 137],
      [['no-such-command-anywhere'], 127],
      [['/etc/passwd'], 126],
    ])('ends %j as a shell does: %i', async (command, expected) => {
      expect((await run(world.folder(uid), ['--', ...command])).code).toBe(expected)
    })

    it('is itself when it runs: the user, the folder, and the trust in the CA', async () => {
      const folder = world.folder(uid)
      const { stdout } = await run(folder, [
        '--',
        'sh',
        '-c',
        'id -u; pwd; echo "$SSL_CERT_FILE"; cat "$SSL_CERT_FILE" | grep -c BEGIN',
      ])
      const [id, pwd, bundle, count] = stdout.split('\n')
      expect([id, pwd, bundle]).toEqual([`${commandUid}`, folder, join(folder, 'certs/bundle.pem')])
      expect(Number(count)).toBeGreaterThan(1)
    })

    it.each(['SIGTERM', 'SIGHUP', 'SIGUSR2'] as const)(
      'passes %s on, and leaves when the command does',
      async (signal) => {
        const script = `trap "echo had ${signal}; exit 5" ${signal.slice(3)}; echo ready; while :; do sleep 0.1; done`
        const child = start(world, { folder: world.folder(uid), uid, env, args: ['run', '--', 'sh', '-c', script] })
        await line(child, 'ready')
        process.kill(pidOf(child), signal)
        await line(child, `had ${signal}`)
        expect(await ended(child)).toBe(5)
      },
    )

    it('leaves nothing behind, also when it is killed', async () => {
      const before = await traces(world)
      const child = start(world, {
        folder: world.folder(uid),
        uid,
        env,
        args: ['run', '--', 'sh', '-c', 'echo up; sleep 98765'],
      })
      await line(child, 'up')
      await until(() => sleepers().length === 1)
      child.kill('SIGKILL')
      await ended(child)
      await until(() => sleepers().length === 0)
      expect(await traces(world)).toEqual(before)
    })
  })

  it('would have seen every leak: the same command without a jail is noticed', async () => {
    const facts = { outside: OUTSIDE, sockets: [], secrets: ['/nonexistent'], uid: 0 }
    await world.leaked()
    const folder = world.folder(0)
    await world.machine.exec('/usr/bin/python3', [`${SUPPORT}hostile.py`, JSON.stringify(facts)], {
      cwd: folder,
      timeoutMs: 90_000,
    })
    // Nine TCP ports, five UDP ports, a question and a ping, in both families.
    expect(await world.leaked()).toBeGreaterThanOrEqual(32)
  })

  it('gives runs in one folder a trail each', async () => {
    const folder = world.folder(USER)
    const args = (wait: string): string[] => ['run', '--', 'sh', '-c', `echo up; ${wait}`]
    const children = [0, 1, 2].map(() => start(world, { folder, uid: USER, env: {}, args: args('sleep 97531') }))
    await Promise.all(children.map((child) => line(child, 'up')))
    expect(readdirSync(join(folder, 'logs')).filter((name) => name.endsWith('.jsonl'))).toHaveLength(3)
    for (const child of children) process.kill(pidOf(child), 'SIGTERM')
    expect(await Promise.all(children.map((child) => ended(child)))).toEqual([143, 143, 143])
  })

  it('judges the command as the client it is said to be', async () => {
    const rules = `clients:
  - { name: reader, source: [192.0.2.77] }
  - { name: other, source: [192.0.2.78] }
rules:
  - { id: reading, clients: [reader], allow: { hosts: [${GITHUB}] } }
`
    const folder = world.folder(USER, rules)
    const ask = (client: string) =>
      world.run(
        folder,
        [
          '--client',
          client,
          '--',
          'curl',
          '-s',
          '-o',
          '/dev/null',
          '-w',
          '%{http_code}',
          `https://${GITHUB}/search/repositories`,
        ],
        {
          uid: USER,
        },
      )
    expect((await ask('reader')).stdout).toBe('200')
    expect((await ask('other')).stdout).toBe('000')
    const unknown = await ask('nobody')
    expect(unknown.code).toBe(125)
    expect(unknown.stderr).toContain('there is: reader, other')
  })

  it('refuses where no jail can be made, and names the way without one', async () => {
    const folder = world.folder(0)
    const inside =
      'echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all "$@"'
    const { code, stdout, stderr } = await world.machine.exec(
      'unshare',
      ['--user', '--map-root-user', 'sh', '-c', inside, 'sh', process.execPath, COMMAND, 'run', '--', 'echo', 'ran'],
      { cwd: folder, env: { ...NEUTRAL, HOME: folder } },
    )
    expect({ code, stdout }).toEqual({ code: 125, stdout: '' })
    expect(stderr).toContain('--no-jail')
    expect(stderr).toContain('goes past it unseen')
  })

  it('without a jail asks by variables, and says what that does not stop', async () => {
    const folder = world.folder(USER)
    const script = `curl -s https://${GITHUB}/search/repositories; curl -s https://evil.example/; echo "$HTTPS_PROXY"`
    const { code, stdout, stderr } = await world.run(folder, ['--no-jail', ...ALLOW, '--', 'sh', '-c', script], {
      uid: USER,
    })
    expect(code).toBe(0)
    expect(stdout).toContain('found through the proxy')
    expect(stdout).toContain('"reason":"no_matching_rule"')
    expect(stdout).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/m)
    expect(stderr).toContain('NO JAIL')
  })
})

interface Started {
  readonly folder: string
  readonly uid: number
  readonly env: NodeJS.ProcessEnv
  readonly args: readonly string[]
}

function words(
  world: World,
  { uid, args }: Pick<Started, 'uid' | 'args'>,
  command: readonly string[] = [process.execPath, COMMAND],
): [string, string[]] {
  const as = uid === 0 ? [] : ['setpriv', `--reuid=${uid}`, `--regid=${uid}`, '--clear-groups', '--']
  return ['ip', ['netns', 'exec', world.machine.name, ...as, ...command, ...args]]
}

/** `ip netns exec` and setpriv become the command: the child's own process is `mcp-egress run`. */
function start(world: World, started: Started): ChildProcess {
  const [command, args] = words(world, started)
  return spawn(command, args, {
    cwd: started.folder,
    env: { ...process.env, ...NEUTRAL, HOME: started.folder, ...started.env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
}

async function mcpServer(world: World, started: Started) {
  // In a checkout this is the checkout's own command, for who owns it: npm sets the mode of a package's command before it runs it.
  const npx = ['npx', '--offline', 'mcp-egress']
  const [command, args] = started.uid === 0 ? words(world, started, npx) : words(world, started)
  const given = {
    ...process.env,
    ...NEUTRAL,
    HOME: started.folder,
    // Whoever started the tests by npm has handed down a cache of his own.
    npm_config_cache: join(started.folder, '.npm'),
    ...started.env,
    GITHUB_PERSONAL_ACCESS_TOKEN: TOKEN,
  }
  const env = Object.fromEntries(
    Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
  // The configuration beside the trail is the folder's; the packages are the checkout's.
  const config = ['-c', join(started.folder, 'mcp-egress.yaml')]
  const at = args.indexOf('run') + 1
  const transport = new StdioClientTransport({
    command,
    args: [...args.slice(0, at), ...config, ...args.slice(at)],
    env,
    cwd: REPOSITORY,
    stderr: 'inherit',
  })
  const client = new Client({ name: 'mcp-egress-test', version: '0' })
  await client.connect(transport, { timeout: 60_000 })
  return {
    call: async (name: string, parameters: Record<string, unknown>): Promise<string> =>
      JSON.stringify((await client.callTool({ name, arguments: parameters })).content),
    close: () => client.close(),
  }
}

/** Listening Unix sockets outside of the jail, of a name in the file system and of an abstract one. */
async function unixSockets() {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-outside-'))
  let heard = 0
  const paths = [
    join(folder, 'host.sock'),
    `/run/mcp-egress-test-${process.pid}.sock`,
    `@mcp-egress-test-${process.pid}`,
  ]
  const servers = await Promise.all(
    paths.map(async (path) => {
      const server = createServer((socket) => {
        heard += 1
        socket.destroy()
      })
      server.listen(path.startsWith('@') ? `\0${path.slice(1)}` : { path, writableAll: true, readableAll: true })
      await once(server, 'listening')
      return server
    }),
  )
  return {
    paths,
    heard: () => heard,
    close: () => {
      for (const server of servers) server.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function noCapabilities(): string[] {
  return ['Inh', 'Prm', 'Eff', 'Bnd', 'Amb'].map((set) => `Cap${set}:\t0000000000000000`)
}

function pidOf(child: ChildProcess): number {
  if (child.pid === undefined) throw new Error('it did not start')
  return child.pid
}

async function line(child: ChildProcess, wanted: string): Promise<void> {
  let said = ''
  for await (const chunk of child.stdout?.iterator({ destroyOnReturn: false }) ?? []) {
    said += String(chunk)
    if (said.includes(wanted)) return
  }
  throw new Error(`it never said ${wanted}, only ${said}`)
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

/** Processes of the test that sleep for its peculiar time. */
function sleepers(): string[] {
  return readdirSync('/proc').filter((pid) => /^\d+$/.test(pid) && commandLine(pid) === 'sleep 98765')
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ').trim()
  } catch {
    return ''
  }
}

/** Namespaces that come and go meanwhile: `createNetwork` puts a process id and a number into the name. */
const OF_OTHER_TESTS = /-\d+-\d+(?:-client)?$|-docker$/

/** What a careless jail leaves: interfaces and rules on the machine, named namespaces, files in /etc and /run. */
async function traces({ machine }: World): Promise<Record<string, unknown>> {
  const names = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).sort() : [])
  const said = async (...[command = '', ...args]: string[]): Promise<string> =>
    (await machine.exec(command, args)).stdout
  return {
    interfaces: [await said('ip', '-brief', 'link'), ...names('/sys/class/net')],
    rules: await said('nft', 'list', 'ruleset'),
    legacyTables: await said('cat', '/proc/self/net/ip_tables_names', '/proc/self/net/ip6_tables_names'),
    namespaces: [...names('/run/netns'), ...names('/etc/netns')].filter((name) => !OF_OTHER_TESTS.test(name)),
    folder: names('/run/mcp-egress'),
    etc: names('/etc').filter((name) => name !== 'netns'),
    resolution: ['resolv.conf', 'hosts', 'nsswitch.conf'].map((name) => readFileSync(`/etc/${name}`, 'utf8')),
  }
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it did not come about')
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
