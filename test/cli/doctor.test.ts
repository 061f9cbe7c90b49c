// `doctor` asks the real runtimes of this machine, and is not taken in by programs that only say they asked.

import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { doctorCommand } from '../../src/cli/doctor.ts'
import { findProgram, runBounded } from '../../src/cli/doctor-attempt.ts'
import { PROBES } from '../../src/cli/doctor-probes.ts'
import type { Output } from '../../src/cli/output.ts'
import { type Report, VerifyError, type VerifyOptions } from '../../src/jail/verify/verify.ts'
import { openAuthority, readAuthorityCertificates } from '../../src/tls/authority.ts'
import { authorityPaths } from '../../src/tls/authority-files.ts'
import { truststore } from '../../src/tls/pkcs12.ts'
import { runtimeEnvironment } from '../../src/tls/runtime-env.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { available } from '../tls/fixture.ts'
import { run } from './capture.ts'

const EXAMINATION_TIMEOUT_MS = 60_000

/** Where the runtimes of this machine are, whatever comes before them on PATH. */
const SYSTEM = ['/usr/local/bin', '/usr/bin', '/bin']

interface Found {
  readonly runtime: string
  readonly verdict: string
  readonly detail?: string
  readonly fix?: string
}

let folder: string
let ca: string
let caVariables: Record<string, string>

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-doctor-test-'))
  ca = join(folder, 'certs')
  openAuthority(ca, new Date())
  const paths = authorityPaths(ca)
  writeFileSync(paths.truststore, truststore(readAuthorityCertificates(paths)))
  caVariables = runtimeEnvironment(paths)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))
afterEach(() => vi.unstubAllEnvs())

/** An environment without the trust stores and switches of this machine, and a home and a temporary folder of its own. */
function stubEnvironment(extra: Readonly<Record<string, string>> = {}, path: readonly string[] = []): string {
  const home = mkdtempSync(join(folder, 'home-'))
  const foreign = [...PROBES.flatMap(({ switches = [] }) => switches), ...Object.keys(caVariables), 'SSL_CERT_DIR']
  for (const name of foreign) vi.stubEnv(name, undefined)
  for (const name of ['HTTPS_PROXY', 'https_proxy', 'HTTP_PROXY', 'http_proxy']) vi.stubEnv(name, undefined)
  vi.stubEnv('HOME', home)
  vi.stubEnv('TMPDIR', home)
  vi.stubEnv('PATH', [...path, dirname(process.execPath), ...SYSTEM].join(':'))
  for (const [name, value] of Object.entries(extra)) vi.stubEnv(name, value)
  return home
}

const NO_LISTENERS: VerifyOptions['listeners'] = { transparent: [], admin: [], dns: [] }

const doctor = (output: Output) =>
  doctorCommand({ resolveDirectory: ({ directory }) => directory ?? ca, listeners: () => NO_LISTENERS }, output)

async function examine(args: readonly string[]): Promise<{ code: number; found: Found[]; holds: boolean }> {
  const { out, code } = await run(doctor, ['--json', ...args])
  const { runtimes, holds } = JSON.parse(out) as { runtimes: Found[]; holds: boolean }
  return { code, found: runtimes, holds }
}

/** A folder for PATH with one program in it, whatever the script says. */
function impostor(name: string, script: string): string {
  const bin = mkdtempSync(join(folder, 'bin-'))
  writeFileSync(join(bin, name), script)
  chmodSync(join(bin, name), 0o755)
  return bin
}

const REAL = [
  ['node', 'node', ['--version']],
  ['python', 'python3', ['-c', 'import ssl']],
  ['requests', 'python3', ['-c', 'import requests']],
  ['httpx', '/usr/bin/python3', ['-c', 'import httpx']],
  ['java', 'keytool', ['-help']],
  ['curl', 'curl', ['--version']],
  ['git', 'git', ['--version']],
  ['openssl', 'openssl', ['version']],
] as const

describe('each runtime of this machine', () => {
  for (const [runtime, program, check] of REAL) {
    const there = available(program, check)

    it.skipIf(!there)(
      `${runtime} does not know the CA, and does with the variables of ca env`,
      async () => {
        stubEnvironment()
        const { found, code } = await examine(['--runtime', runtime])
        expect(found).toEqual([
          {
            runtime,
            verdict: 'trusts-with-ca-env',
            detail: expect.any(String),
            fix: expect.stringContaining('ca env'),
          },
        ])
        expect(code).toBe(3)
      },
      EXAMINATION_TIMEOUT_MS,
    )

    it.skipIf(!there)(
      `${runtime} trusts it where they are set`,
      async () => {
        stubEnvironment(caVariables)
        expect(await examine(['--runtime', runtime])).toEqual({
          code: 0,
          holds: true,
          found: [{ runtime, verdict: 'trusts' }],
        })
      },
      EXAMINATION_TIMEOUT_MS,
    )
  }
})

describe('a runtime that would believe anybody', () => {
  it('node with NODE_TLS_REJECT_UNAUTHORIZED=0', async () => {
    stubEnvironment({ ...caVariables, NODE_TLS_REJECT_UNAUTHORIZED: '0' })
    expect(await examine(['--runtime', 'node'])).toEqual({
      code: 3,
      holds: false,
      found: [{ runtime: 'node', verdict: 'verifies-nothing', fix: 'unset NODE_TLS_REJECT_UNAUTHORIZED' }],
    })
  })

  it.skipIf(!available('git', ['--version']))('git with GIT_SSL_NO_VERIFY', async () => {
    stubEnvironment({ GIT_SSL_NO_VERIFY: '1' })
    const { found } = await examine(['--runtime', 'git'])
    expect(found).toEqual([{ runtime: 'git', verdict: 'verifies-nothing', fix: 'unset GIT_SSL_NO_VERIFY' }])
  })

  it.skipIf(!available('curl', ['--version']))('curl with `insecure` in its own file', async () => {
    writeFileSync(join(stubEnvironment(), '.curlrc'), 'insecure\n')
    const { found } = await examine(['--runtime', 'curl'])
    expect(found).toEqual([{ runtime: 'curl', verdict: 'verifies-nothing', fix: expect.stringContaining('~/.curlrc') }])
  })
})

describe('what is not proven is not said', () => {
  it.each([
    ['claims to have asked', '#!/bin/sh\necho "200 ok 403"\n', 'it did not connect: 200 ok 403'],
    ['fails before it asks', '#!/bin/sh\nprintf "\\033[2Jbroken\\n" >&2\nexit 1\n', 'it did not connect: [2Jbroken'],
    ['is no program', 'not a program', 'it did not connect'],
  ])('of a program that %s', async (_, script, detail) => {
    stubEnvironment(caVariables, [impostor('ruby', script)])
    const { found, code } = await examine(['--runtime', 'ruby'])
    expect(found).toMatchObject([{ runtime: 'ruby', verdict: 'no-answer', detail: expect.stringContaining(detail) }])
    expect(found[0]?.detail).not.toContain('\u001b')
    expect(code).toBe(3)
  })

  it('of a program that connects and speaks no TLS', async () => {
    const script = `#!${process.execPath}
const url = new URL(process.argv.at(-1))
const socket = require('node:net').connect(url.port, url.hostname, () => socket.end('GET ' + url.pathname + ' HTTP/1.0\\r\\n\\r\\n'))
socket.on('error', () => {})
`
    stubEnvironment({}, [impostor('ruby', script)])
    const { found } = await examine(['--runtime', 'ruby'])
    expect(found).toMatchObject([{ verdict: 'does-not-trust', fix: expect.stringContaining('update-ca-certificates') }])
  })

  it('of one that can not be tried: it proves nothing either way', async () => {
    stubEnvironment(caVariables, [impostor('dotnet', '#!/bin/sh\n')])
    expect(await examine(['--runtime', 'dotnet', 'node'])).toMatchObject({ code: 3 })
    const { found } = await examine(['--runtime', 'dotnet'])
    expect(found).toMatchObject([{ verdict: 'not-tried', detail: expect.stringContaining('SSL_CERT_FILE') }])
  })

  it('of one that was asked for and is not there', async () => {
    stubEnvironment(caVariables)
    vi.stubEnv('PATH', folder)
    expect(await examine(['--runtime', 'deno'])).toEqual({
      code: 3,
      holds: false,
      found: [{ runtime: 'deno', verdict: 'not-installed' }],
    })
  })

  it('of an image without any runtime', async () => {
    stubEnvironment(caVariables)
    vi.stubEnv('PATH', folder)
    expect(await examine([])).toMatchObject({ code: 3, holds: false })
  })

  it('of a library that is not there', async () => {
    stubEnvironment(caVariables, [impostor('perl', '#!/bin/sh\nexit 77\n')])
    const { found } = await examine(['--runtime', 'lwp'])
    expect(found).toEqual([{ runtime: 'lwp', verdict: 'not-installed' }])
  })
})

describe('the report', () => {
  it('holds where every runtime that is found holds, and names the missing ones', async () => {
    const bin = mkdtempSync(join(folder, 'bin-'))
    writeFileSync(join(bin, 'node'), `#!/bin/sh\nexec '${process.execPath}' "$@"\n`)
    chmodSync(join(bin, 'node'), 0o755)
    stubEnvironment(caVariables)
    vi.stubEnv('PATH', bin)
    const { out, code } = await run(doctor, [])
    expect(code).toBe(0)
    expect(out).toMatch(/^node +trusts\nnot installed: python, .*\nThe CA holds in every runtime that was tried\.\n$/)
  })

  it('prints each fix once', async () => {
    stubEnvironment()
    const { out } = await run(doctor, ['--runtime', 'node', 'openssl'])
    expect(out).toContain(`fix for node, openssl: eval "$(mcp-egress ca env --directory ${ca})"`)
    expect(out.match(/fix for/g)).toHaveLength(1)
  })

  it('quotes a folder for the shell', async () => {
    const odd = join(folder, "it's")
    openAuthority(odd, new Date())
    stubEnvironment()
    const { out } = await run(doctor, ['--runtime', 'node', '--directory', odd])
    expect(out).toContain(`--directory '${folder}/it'\\''s')`)
  })

  it('leaves nothing behind', async () => {
    const home = stubEnvironment()
    await run(doctor, ['--runtime', 'node', 'cargo', 'git', 'curl'])
    expect(readdirSync(home).filter((name) => name.startsWith('mcp-egress'))).toEqual([])
    expect(readdirSync(ca).toSorted()).toEqual(['bundle.pem', 'ca.pem', 'private', 'truststore.p12'])
  })

  it('does not send the runtimes to the proxy of the environment', async () => {
    stubEnvironment({ ...caVariables, HTTPS_PROXY: 'http://127.0.0.1:1', https_proxy: 'http://127.0.0.1:1' })
    const { code } = await examine(['--runtime', 'node', 'python', 'openssl'])
    expect(code).toBe(0)
    vi.stubEnv('PATH', impostor('ruby', '#!/bin/sh\necho "[$HTTPS_PROXY$https_proxy] $NO_PROXY $no_proxy"\n'))
    const { found } = await examine(['--runtime', 'ruby'])
    expect(found[0]?.detail).toBe('it did not connect: [] localhost,127.0.0.1 localhost,127.0.0.1')
  })
})

describe('containment, when it is asked for', () => {
  const report = (contained: boolean): Report => ({
    mode: 'output',
    uid: 1000,
    accounting: 'none',
    ways: [],
    notes: [],
    summary: { closed: 1, open: contained ? 0 : 1, unknown: 0 },
    contained,
  })
  const listeners = { ...NO_LISTENERS, admin: [{ host: '127.0.0.1', port: 9901 }] }
  const asked: VerifyOptions[] = []
  const contained =
    (answer: () => Report) =>
    (output: Output): ReturnType<typeof doctorCommand> =>
      doctorCommand(
        {
          resolveDirectory: () => ca,
          listeners: () => listeners,
          verify: async (options) => {
            asked.push(options)
            return answer()
          },
        },
        output,
      )
  const args = ['--runtime', 'node', '--json']

  it('is a yes only beside a CA that holds', async () => {
    stubEnvironment(caVariables)
    const ended = await run(
      contained(() => report(true)),
      [...args, '--containment'],
    )
    expect(ended.code).toBe(0)
    expect(JSON.parse(ended.out)).toMatchObject({ holds: true, containment: { contained: true } })
    stubEnvironment()
    vi.stubEnv('NODE_EXTRA_CA_CERTS', undefined)
    expect(
      await run(
        contained(() => report(true)),
        [...args, '--containment'],
      ),
    ).toMatchObject({ code: 3 })
  })

  it('an open way is a no, and is said in words', async () => {
    stubEnvironment(caVariables)
    const { code, out } = await run(
      contained(() => report(false)),
      ['--runtime', 'node', '--containment', 'prerouting'],
    )
    expect(code).toBe(3)
    expect(out).toContain('Not contained: 1 open')
    expect(asked.at(-1)).toMatchObject({ mode: 'prerouting', listeners, ca: readFileSync(join(ca, 'ca.pem'), 'utf8') })
  })

  it('a check that can not be made ends with 2', async () => {
    stubEnvironment(caVariables)
    const verb = contained(() => {
      throw new VerifyError('no kernel')
    })
    expect(await run(verb, [...args, '--containment'])).toMatchObject({ code: 2, message: 'no kernel' })
  })

  it('is not made unasked: it sends packets', async () => {
    stubEnvironment(caVariables)
    const before = asked.length
    const { out } = await run(
      contained(() => report(false)),
      args,
    )
    expect(JSON.parse(out)).not.toHaveProperty('containment')
    expect(asked).toHaveLength(before)
  })
})

describe('what it can not work with', () => {
  it('a runtime nobody knows', async () => {
    expect(await run(doctor, ['--runtime', 'cobol'])).toMatchObject({
      code: 1,
      message: expect.stringMatching(/cobol: not known\n {2}fix: choose of node python/),
    })
  })

  it('no CA: it makes none', async () => {
    const none = join(folder, 'none')
    const ended = await run(doctor, ['--directory', none])
    expect(ended).toMatchObject({ code: 2, message: expect.stringContaining('mcp-egress ca init') })
    expect(existsSync(none)).toBe(false)
  })
})

describe('where there is no key, as in a workload', () => {
  let lab: Lab
  let exported: string
  const proxy = (): string => `http://127.0.0.1:${lab.proxyPort}`

  beforeAll(async () => {
    lab = await startLab({ rules: '' })
    exported = join(folder, 'exported')
    mkdirSync(exported)
    copyFileSync(join(lab.folder, 'certs/ca.pem'), join(exported, 'ca.pem'))
  })
  afterAll(() => lab?.close())

  it(
    'the certificates are those of the running proxy',
    async () => {
      stubEnvironment()
      const runtimes = ['node', 'python', 'curl', 'openssl', 'git', 'java'].filter((runtime) => {
        const real = REAL.find(([name]) => name === runtime)
        return real !== undefined && available(real[1], real[2])
      })
      const { found } = await examine(['--directory', exported, '--proxy', proxy(), '--runtime', ...runtimes])
      expect(found.map(({ runtime, verdict }) => [runtime, verdict])).toEqual(
        PROBES.filter(({ runtime }) => runtimes.includes(runtime)).map(({ runtime }) => [
          runtime,
          'trusts-with-ca-env',
        ]),
      )
      expect(readdirSync(exported)).toEqual(['ca.pem'])
    },
    EXAMINATION_TIMEOUT_MS,
  )

  it('the proxy is that of the environment when none is named', async () => {
    stubEnvironment({ NODE_EXTRA_CA_CERTS: join(exported, 'ca.pem'), HTTPS_PROXY: proxy() })
    expect(await examine(['--directory', exported, '--runtime', 'node'])).toMatchObject({ code: 0 })
  })

  it('a runtime that believes anybody is found there too', async () => {
    stubEnvironment({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })
    const { found } = await examine(['--directory', exported, '--proxy', proxy(), '--runtime', 'node'])
    expect(found).toMatchObject([{ verdict: 'verifies-nothing' }])
  })

  it('a program that only says so is not believed', async () => {
    stubEnvironment(caVariables, [impostor('ruby', '#!/bin/sh\necho "HTTP/1.1 403 egress_denied"\n')])
    const { found } = await examine(['--directory', exported, '--proxy', proxy(), '--runtime', 'ruby'])
    expect(found).toMatchObject([{ verdict: 'no-answer', detail: expect.stringContaining('it did not connect') }])
  })

  it('a proxy that has no leaf left for refused names is waited for that has no leaf left for refused names', async () => {
    const exhausted = await refusingTwice(lab.proxyPort)
    stubEnvironment({ NODE_EXTRA_CA_CERTS: join(exported, 'ca.pem') })
    try {
      const { found } = await examine(['--directory', exported, '--proxy', exhausted.url, '--runtime', 'node'])
      expect(found).toEqual([{ runtime: 'node', verdict: 'trusts' }])
    } finally {
      exhausted.close()
    }
  })

  it('a proxy of another CA is named, also where nothing is verified', async () => {
    stubEnvironment({ NODE_TLS_REJECT_UNAUTHORIZED: '0' })
    const other = join(folder, 'other')
    mkdirSync(other)
    copyFileSync(join(ca, 'ca.pem'), join(other, 'ca.pem'))
    const ended = await run(doctor, ['--directory', other, '--proxy', proxy(), '--runtime', 'node'])
    expect(ended).toMatchObject({ code: 2, message: expect.stringContaining('does not show a certificate of this CA') })
    expect(ended.out).toBe('')
  })

  it.each([
    [[], 1, 'fix: --proxy http://127.0.0.1:3128'],
    [['--proxy', 'socks5://127.0.0.1:1'], 1, 'not an http:// URL'],
    [['--proxy', 'http://127.0.0.1:1'], 2, 'ECONNREFUSED'],
  ])('%j is an error with its fix', async (args, code, text) => {
    stubEnvironment()
    const ended = await run(doctor, ['--directory', exported, '--runtime', 'node', ...args])
    expect(ended).toMatchObject({ code, message: expect.stringContaining(text) })
  })
})

/** A proxy as it is when its leaves for refused names are used up: two CONNECTs get the 403 themselves, the next go through. */
async function refusingTwice(port: number): Promise<{ url: string; close(): void }> {
  let refused = 0
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    if (refused < 2) {
      refused += 1
      socket.once('data', () => socket.end('HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n'))
      return
    }
    const onward = connect(port, '127.0.0.1')
    onward.on('error', () => socket.destroy())
    socket.on('close', () => onward.destroy())
    socket.pipe(onward).pipe(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => void server.close() }
}

/** A zombie that nobody has reaped yet does not run. */
function running(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe('one attempt', () => {
  const options = { environment: { PATH: SYSTEM.join(':') }, directory: tmpdir(), input: '', timeoutMs: 20_000 }

  it('ends in time, and its children with it', async () => {
    const started = Date.now()
    const ended = await runBounded('/bin/sh', ['-c', 'sleep 60 & echo $!; wait'], { ...options, timeoutMs: 1_000 })
    expect(ended).toMatchObject({ kind: 'timed-out', output: expect.stringMatching(/^\d+\n$/) })
    expect(Date.now() - started).toBeLessThan(20_000)
    await expect.poll(() => running(Number(ended.output)), { timeout: 10_000 }).toBe(false)
  })

  it('does not wait for a child that left its session', async () => {
    const started = Date.now()
    const ended = await runBounded('/bin/sh', ['-c', 'setsid sleep 20 & echo $!; sleep 60'], {
      ...options,
      timeoutMs: 1_000,
    })
    process.kill(Number(ended.output), 'SIGKILL')
    expect(ended.kind).toBe('timed-out')
    expect(Date.now() - started).toBeLessThan(15_000)
  })

  it('keeps the beginning of what a program says, and no more', async () => {
    const ended = await runBounded('/bin/sh', ['-c', 'head -c 1000000 /dev/zero | tr "\\0" a'], options)
    expect(ended).toMatchObject({ kind: 'ended', code: 0 })
    expect(ended.output).toBe('a'.repeat(16_384))
  })

  it('survives a program that reads nothing', async () => {
    const ended = await runBounded('/bin/true', [], { ...options, input: 'x'.repeat(1_000_000) })
    expect(ended).toMatchObject({ kind: 'ended', code: 0 })
  })

  it('finds programs, not folders or texts', () => {
    const bin = impostor('program', '')
    mkdirSync(join(bin, 'folder'))
    writeFileSync(join(bin, 'text'), '')
    const environment = { PATH: `:${bin}` }
    expect(findProgram(['folder', 'text', 'program'], environment)).toBe(join(bin, 'program'))
    expect(findProgram(['text'], environment)).toBe(null)
    expect(findProgram(['program'], {})).toBe(null)
  })
})

it('docs/runtimes.md speaks of every runtime', () => {
  const page = readFileSync(join(import.meta.dirname, '../../docs/runtimes.md'), 'utf8')
  const variables = PROBES.flatMap(({ variable }) => (variable === null ? [] : [variable]))
  expect(variables.filter((name) => !page.includes(name))).toEqual([])
})
