// `mcp-egress/register` in real Node.js processes behind a real proxy: every client of HTTP goes there and trusts its CA.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from '../support/origins.ts'
import { bareEnvironment, run, temporaryDirectory } from '../tls/fixture.ts'

const ROOT = join(import.meta.dirname, '../..')
const CLIENT = join(import.meta.dirname, 'client.mjs')
const RUN_TIMEOUT_MS = 30_000
const TOKEN = 'a-token-of-some-length'

interface Got {
  readonly status?: number
  readonly body?: string
  readonly error?: string
}

let compiled: string
let hook: string
let root: TestRoot
let lab: Lab
let secure: Origin
let plain: Origin

beforeAll(async () => {
  // Node.js 20 runs no TypeScript; below node_modules, so that its imports are found.
  compiled = mkdtempSync(join(ROOT, 'node_modules/.register-test-'))
  const tsc = [join(ROOT, 'node_modules/typescript/bin/tsc'), '--ignoreConfig', '--outDir', compiled]
  const options = '--module nodenext --target es2023 --types node --rewriteRelativeImportExtensions --skipLibCheck'
  execFileSync(process.execPath, [...tsc, ...options.split(' '), join(ROOT, 'src/register/register.ts')])
  // A folder without a package.json of its own would be read as CommonJS.
  writeFileSync(join(compiled, 'package.json'), '{ "type": "module" }')
  hook = pathToFileURL(join(compiled, 'register.js')).href
  root = createTestRoot()
  secure = await startOrigin(root, 'origin.test')
  plain = await startOrigin(root, 'origin.test', undefined, { tls: false })
  lab = await startLab({
    root,
    names: { 'origin.test': ['127.0.0.1'] },
    clients: '  - name: named\n    token: ${TOKEN}',
    env: { TOKEN },
    rules: `  - id: secure
    allow: { hosts: [origin.test], ports: [${secure.port}], paths: ["/open/**", "/page"] }
  - id: plain
    allow: { hosts: [origin.test], schemes: [http], ports: [${plain.port}] }
  - id: token
    clients: [named]
    allow: { hosts: [origin.test], ports: [${secure.port}], paths: ["/named"] }`,
  })
}, 60_000)

afterAll(async () => {
  await lab?.close()
  await secure?.close()
  await plain?.close()
  root?.close()
  rmSync(compiled, { recursive: true, force: true })
})

const https = (path: string): string => `https://origin.test:${secure.port}${path}`
const http = (path: string): string => `http://origin.test:${plain.port}${path}`
const proxy = (credentials = ''): string => `http://${credentials}127.0.0.1:${lab.proxyPort}`
const proxied = (): Record<string, string> => ({
  HTTPS_PROXY: proxy(),
  HTTP_PROXY: proxy(),
  MCP_EGRESS_CA: join(lab.folder, 'certs/ca.pem'),
})

interface Ran {
  readonly got: Got[]
  readonly stderr: string
}

/** Runs the client below the hook, in a folder that knows nothing of this package, and nothing of the variables here. */
async function ask(
  asked: readonly string[],
  environment: Record<string, string>,
  flags = ['--import', hook],
): Promise<Ran> {
  const { stdout, stderr } = await run(process.execPath, [...flags, CLIENT, ...asked], {
    cwd: lab.folder,
    env: bareEnvironment(environment),
    timeout: RUN_TIMEOUT_MS,
  })
  const lines = stdout.split('\n').filter((line) => line !== '')
  return { got: lines.map((line) => JSON.parse(line) as Got), stderr }
}

/** The decisions since `from`, as door and path. */
function doors(from: number): string[] {
  return lab
    .recordsOf('request.decided')
    .slice(from)
    .map((record) => `${String(record['door'])} ${String(record['path'])}`)
}

const decided = (): number => lab.recordsOf('request.decided').length

describe('every client goes through the proxy and trusts its CA', () => {
  it.each([
    ['fetch', 'connect'],
    ['undici', 'connect'],
    ['undici.fetch', 'connect'],
    ['https', 'connect'],
    ['https.parts', 'connect'],
    ['https.url', 'connect'],
    ['https.named', 'connect'],
    ['https.cjs', 'connect'],
    ['https.pool', 'connect'],
    ['https.none', 'connect'],
  ])('%s', async (kind, door) => {
    const from = decided()
    const { got, stderr } = await ask([`${kind} ${https(`/open/${kind}`)}`], proxied())
    expect({ got, stderr }).toEqual({ got: [{ status: 200, body: expect.stringContaining(kind) }], stderr: '' })
    expect(doors(from)).toEqual([`${door} /open/${kind}`])
  })

  it.each([
    ['http', 'absolute'],
    ['http.parts', 'absolute'],
    ['fetch', 'connect'],
  ])('%s over plain http', async (kind, door) => {
    const from = decided()
    const { got, stderr } = await ask([`${kind} ${http(`/plain/${kind}?a=%2F`)}`], proxied())
    expect({ got, stderr }).toEqual({ got: [{ status: 200, body: expect.stringContaining(kind) }], stderr: '' })
    expect(doors(from)).toEqual([`${door} /plain/${kind}`])
    expect(plain.seen.at(-1)?.url).toBe(`/plain/${kind}?a=%2F`)
  })

  it.each(['/a/../b', '//elsewhere.test/c', '/a//b', '/sp|ce'])(
    'plain http asks for %s as the application wrote it, at the host it named',
    async (path) => {
      await ask([`http.parts ${http(path)}`], proxied())
      expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ host: 'origin.test', port: plain.port })
      const seen = plain.seen.at(-1)?.url
      const refused = lab.recordsOf('request.decided').at(-1)?.['reason'] === 'path_not_canonical'
      expect(refused || seen === path).toBe(true)
    },
  )

  it.each([
    ['https', () => https('/open/post'), () => secure],
    ['http', () => http('/post'), () => plain],
  ])('an upload over %s arrives whole', async (_, url, origin) => {
    const { got } = await ask([`post ${url()}`], proxied())
    expect(got).toMatchObject([{ status: 200 }])
    expect(origin().seen.at(-1)).toMatchObject({ method: 'POST', body: 'first second' })
  })

  it.skipIf(typeof WebSocket === 'undefined')('WebSocket', async () => {
    const from = decided()
    const { got } = await ask([`websocket ${https('/open/ws')}`], proxied())
    expect(got).toEqual([{ status: 0, body: 'error' }])
    expect(lab.recordsOf('request.decided').slice(from)).toMatchObject([{ path: '/open/ws', reason: 'upgrade_denied' }])
  })

  it('a worker thread does as its parent', async () => {
    const from = decided()
    const { got } = await ask([`worker ${https('/open/worker')}`], proxied())
    expect(got).toEqual([
      { fetch: expect.objectContaining({ status: 200 }), https: expect.objectContaining({ status: 200 }) },
    ])
    expect(doors(from)).toEqual(['connect /open/worker', 'connect /open/worker'])
  })

  it('a pool of the application keeps its connections', async () => {
    const connections = (): unknown[] => [
      ...new Set(
        lab
          .recordsOf('request.decided')
          .filter((r) => r['path'] === '/open/kept')
          .map((r) => r['connection_id']),
      ),
    ]
    const { got } = await ask(
      [1, 2, 3].map(() => `https.pool ${https('/open/kept')}`),
      proxied(),
    )
    expect(got.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(connections()).toHaveLength(1)
  })

  it('NODE_OPTIONS loads it too', async () => {
    const from = decided()
    const { got } = await ask(
      [`https ${https('/open/options')}`],
      { ...proxied(), NODE_OPTIONS: `--import=${hook}` },
      [],
    )
    expect(got).toMatchObject([{ status: 200 }])
    expect(doors(from)).toEqual(['connect /open/options'])
  })

  it('loaded twice it is one', async () => {
    const from = decided()
    const { got } = await ask([`https ${https('/open/twice')}`, `http ${http('/twice')}`], proxied(), [
      '--import',
      hook,
      '--import',
      `${hook}?again`,
    ])
    expect(got).toMatchObject([{ status: 200 }, { status: 200 }])
    expect(doors(from)).toEqual(['connect /open/twice', 'absolute /twice'])
    const { stderr } = await ask([], {}, ['--import', hook, '--import', `${hook}?again`])
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })
})

describe('a refusal can be read', () => {
  it.each(['fetch', 'https', 'undici', 'https.upgrade'])('by %s', async (kind) => {
    const { got } = await ask([`${kind} ${https('/closed')}`], proxied())
    expect(got[0]?.status).toBe(403)
    expect(JSON.parse(got[0]?.body ?? '')).toMatchObject({ error: 'egress_denied', host: 'origin.test' })
  })

  it('an upgrade of an open path is refused before the 101', async () => {
    const { got } = await ask([`https.upgrade ${https('/open/socket')}`], proxied())
    expect(got[0]).toMatchObject({ status: 403, body: expect.stringContaining('upgrade_denied') })
  })
})

describe('credentials in the URL of the proxy', () => {
  it.each(['fetch', 'https', 'https.pool', 'undici'])('make %s the named client', async (kind) => {
    const named = { ...proxied(), HTTPS_PROXY: proxy(`named:${TOKEN}@`) }
    const { got } = await ask([`${kind} ${https('/named')}`], named)
    expect(got).toMatchObject([{ status: 200 }])
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ client: { name: 'named' } })
  })

  it('make plain http the named client, and the origin does not see them', async () => {
    const named = { ...proxied(), HTTP_PROXY: proxy(`named:${TOKEN}@`) }
    await ask([`http ${http('/credentials')}`], named)
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ client: { name: 'named' }, door: 'absolute' })
    expect(plain.seen.at(-1)?.rawHeaders.join('\n').toLowerCase()).not.toContain('proxy-')
  })
})

describe('which variable says what', () => {
  const lower = (): Record<string, string> => ({
    https_proxy: proxy(),
    MCP_EGRESS_CA: proxied()['MCP_EGRESS_CA'] ?? '',
  })

  it('the lower case counts, and before the upper case', async () => {
    const { got } = await ask([`https ${https('/page')}`, `fetch ${https('/page')}`], {
      ...lower(),
      HTTPS_PROXY: 'http://127.0.0.1:1',
    })
    expect(got).toMatchObject([{ status: 200 }, { status: 200 }])
  })

  it('https falls back to HTTP_PROXY, ALL_PROXY is nothing', async () => {
    const { HTTP_PROXY = '', MCP_EGRESS_CA = '' } = proxied()
    const { got } = await ask([`https ${https('/page')}`, `fetch ${https('/page')}`], { HTTP_PROXY, MCP_EGRESS_CA })
    expect(got).toMatchObject([{ status: 200 }, { status: 200 }])
    const { stderr } = await ask([], { ALL_PROXY: HTTP_PROXY })
    expect(stderr).toContain('did nothing')
  })

  it('a program of a CGI server does not take HTTP_PROXY from a request', async () => {
    const { stderr } = await ask([], { HTTP_PROXY: proxy(), REQUEST_METHOD: 'GET' })
    expect(stderr).toContain('did nothing')
  })

  it.each(['origin.test', '.test', '*.test', 'ORIGIN.test', '*', 'a.example, origin.test'])(
    'NO_PROXY=%s: asked directly',
    async (noProxy) => {
      const from = decided()
      const { got } = await ask(
        ['fetch', 'https', 'http'].map((kind) => `${kind} ${kind === 'http' ? http('/x') : https('/x')}`),
        {
          ...proxied(),
          NO_PROXY: noProxy,
        },
      )
      // The name exists only behind the proxy.
      expect(got.map(({ error }) => /ENOTFOUND|EAI_AGAIN/.test(error ?? ''))).toEqual([true, true, true])
      expect(doors(from)).toEqual([])
    },
  )

  it.each(['127.0.0.1', '127.0.0.1:PORT', '::1,127.0.0.1'])('NO_PROXY=%s reaches an origin here', async (noProxy) => {
    const from = decided()
    const url = `http://127.0.0.1:${plain.port}/direct`
    const variables = { ...proxied(), NO_PROXY: noProxy.replace('PORT', String(plain.port)) }
    const { got } = await ask([`fetch ${url}`, `http ${url}`], variables)
    expect(got).toMatchObject([{ status: 200 }, { status: 200 }])
    expect(doors(from)).toEqual([])
  })

  it.each(['127.0.0.1:1', 'rigin.test', '27.0.0.1'])('NO_PROXY=%s is another place', async (noProxy) => {
    const from = decided()
    const { got } = await ask([`fetch ${https('/page')}`, `https ${https('/page')}`], {
      ...proxied(),
      NO_PROXY: noProxy,
    })
    expect(got).toMatchObject([{ status: 200 }, { status: 200 }])
    expect(doors(from)).toHaveLength(2)
  })

  it('::1 in NO_PROXY is the address [::1]', async () => {
    const from = decided()
    const { got } = await ask(
      ['fetch', 'http'].map((kind) => `${kind} http://[::1]:${secure.port}/`),
      { ...proxied(), NO_PROXY: '::1' },
    )
    expect(got.map(({ error }) => /ECONNREFUSED|EADDRNOTAVAIL/.test(error ?? ''))).toEqual([true, true])
    expect(doors(from)).toEqual([])
  })

  it('a client that speaks to the proxy itself is not sent through it', async () => {
    const { got } = await ask([`http ${proxy()}/`], proxied())
    expect(got[0]?.status).toBe(400)
  })
})

describe('trust', () => {
  it('is added to the roots, and only for the CA that is named', async () => {
    const other = join(temporaryDirectory(), 'other.pem')
    writeFileSync(other, lab.root.pem)
    const { got } = await ask([`https ${https('/page')}`, `fetch ${https('/page')}`], {
      ...proxied(),
      MCP_EGRESS_CA: other,
    })
    expect(got.map(({ error }) => error)).toEqual([
      expect.stringMatching(/UNABLE_TO_|SELF_SIGNED/),
      expect.stringMatching(/UNABLE_TO_|SELF_SIGNED/),
    ])
  })

  it('holds without a proxy, for where the network redirects', async () => {
    const ca = join(temporaryDirectory(), 'root.pem')
    writeFileSync(ca, lab.root.pem)
    const origin = await startOrigin(lab.root, 'localhost')
    try {
      const url = `https://localhost:${origin.port}/`
      const kinds = ['fetch', 'https', 'https.pool', 'https.own', 'undici'].map((kind) => `${kind} ${url}`)
      const { got, stderr } = await ask(kinds, { MCP_EGRESS_CA: ca })
      expect(got.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
      expect(stderr).toBe('')
    } finally {
      await origin.close()
    }
  })

  it('NODE_EXTRA_CA_CERTS is enough where it was set at the start', async () => {
    const { MCP_EGRESS_CA: NODE_EXTRA_CA_CERTS = '', ...rest } = proxied()
    const { got } = await ask([`https ${https('/page')}`, `fetch ${https('/page')}`], { ...rest, NODE_EXTRA_CA_CERTS })
    expect(got).toMatchObject([{ status: 200 }, { status: 200 }])
  })

  it.each([
    ['missing.pem', 'ENOENT'],
    ['client.mjs', 'no PEM certificate'],
  ])('a file that is none (%s) is said, and the program runs', async (name, why) => {
    const { got, stderr } = await ask([`https ${https('/page')}`], {
      ...proxied(),
      MCP_EGRESS_CA: join(import.meta.dirname, name),
    })
    expect(got).toHaveLength(1)
    expect(stderr).toContain(`mcp-egress/register: MCP_EGRESS_CA=`)
    expect(stderr).toContain(why)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
  })
})

describe('what it leaves alone', () => {
  it.each([
    ['https.subclass', 'an agent of its own (Subclass)'],
    ['https.own', 'a connection of its own'],
  ])('%s, and says so once', async (kind, what) => {
    const { stderr } = await ask([`${kind} ${https('/open/a')}`, `${kind} ${https('/open/b')}`], proxied())
    expect(stderr.trimEnd().split('\n')).toEqual([
      `mcp-egress/register: a request with ${what} is left alone: only its own code can send it to the proxy`,
    ])
  })

  it('without variables it says that it did nothing, on stderr alone, and the program runs', async () => {
    const { got, stderr } = await ask([`http http://127.0.0.1:${plain.port}/`], {})
    expect(got).toMatchObject([{ status: 200 }])
    expect(stderr).toBe('mcp-egress/register: did nothing: neither HTTPS_PROXY nor MCP_EGRESS_CA is set\n')
  })

  it.each(['socks5://127.0.0.1:1080', 'http://', 'http://user:s3cret@[bad'])(
    'a proxy that is none (%s) is said without its value',
    async (value) => {
      const { got, stderr } = await ask([`http http://127.0.0.1:${plain.port}/`], { HTTPS_PROXY: value })
      expect(got).toMatchObject([{ status: 200 }])
      expect(stderr).toContain('HTTPS_PROXY is no http:// or https:// URL')
      expect(stderr).not.toContain('s3cret')
    },
  )

  it('a proxy that is gone is an error, not a way round it', async () => {
    const { got } = await ask(
      ['fetch', 'https'].map((kind) => `${kind} https://localhost:${secure.port}/`),
      {
        HTTPS_PROXY: 'http://127.0.0.1:1',
      },
    )
    expect(got.map(({ error }) => /ECONNREFUSED/.test(error ?? ''))).toEqual([true, true])
  })
})

it('the package exports it by that name', () => {
  const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string>
  }
  const source = exports['./register']?.replace('./dist/', 'src/').replace('.js', '.ts') ?? ''
  expect(existsSync(join(ROOT, source)) && source).toBe('src/register/register.ts')
})
