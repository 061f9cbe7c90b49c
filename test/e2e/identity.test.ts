// Clients as they are prove who they are: curl and Python with a token of the file, and with one that an issuer has signed.

import { execFile } from 'node:child_process'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Lab, startLab } from '../support/lab.ts'
import { AUDIENCE, claims, ecPair, es256, ISSUER, jwkOf } from '../support/jwt.ts'
import { createTestRoot, type Origin, startOrigin } from '../support/origins.ts'

const run = promisify(execFile)
const HOST = 'api.allowed.test'
const LISTED = 'a-token-of-the-token-file'
const LIMIT = { timeout: 20_000 } as const
const ec = ecPair()

const root = createTestRoot()
let keys: string
const issuer = createServer(root.issue('id.test'), (_request, response) => response.end(keys))
let folder: string
let origin: Origin
let lab: Lab
beforeAll(async () => {
  keys = JSON.stringify({ keys: [jwkOf(ec, 'e')] })
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-identity-'))
  writeFileSync(join(folder, 'tokens'), `listed:${LISTED}\n`, { mode: 0o600 })
  await new Promise<void>((done) => issuer.listen(0, '127.0.0.1', done))
  origin = await startOrigin(root, HOST)
  lab = await startLab({
    root,
    names: { [HOST]: ['127.0.0.1'], 'id.test': ['127.0.0.1'] },
    clients: '  - { name: robot }',
    rules: `  - { id: known, clients: [robot, listed], allow: { hosts: [${HOST}], ports: [${origin.port}] } }`,
    extra: `identity:
  tokens: ${join(folder, 'tokens')}
  jwt:
    issuer: "${ISSUER}"
    audience: ${AUDIENCE}
    jwks: https://id.test:${(issuer.address() as AddressInfo).port}/keys`,
  })
})
afterAll(async () => {
  await lab.close()
  await origin.close()
  issuer.closeAllConnections()
  issuer.close()
  root.close()
  rmSync(folder, { recursive: true, force: true })
})

const signed = (): string => es256(ec, claims())
const url = (): string => `https://${HOST}:${origin.port}/`
const ca = (): string => join(lab.folder, 'certs/ca.pem')
const curl = (...args: string[]): Promise<{ stdout: string }> =>
  run('curl', ['-s', '--max-time', '10', '--cacert', ca(), ...args, url()], LIMIT)
const through = (user: string, password: string): string => `http://${user}:${password}@127.0.0.1:${lab.proxyPort}`

const PYTHON = `
import ssl, sys, urllib.request
context = ssl.create_default_context(cafile=sys.argv[2])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({'https': sys.argv[1]}), urllib.request.HTTPSHandler(context=context))
print(opener.open(sys.argv[3], timeout=10).status)
`

describe('a client with its token', () => {
  it.each([
    ['curl -U, token file', 'listed', (): string[] => ['-x', `127.0.0.1:${lab.proxyPort}`, '-U', `listed:${LISTED}`]],
    ['curl -U, signed', 'robot', (): string[] => ['-x', `127.0.0.1:${lab.proxyPort}`, '-U', `robot:${signed()}`]],
    ['curl with a proxy URL, signed', 'robot', (): string[] => ['-x', through('robot', signed())]],
    [
      'curl with Bearer, signed',
      'robot',
      (): string[] => ['-x', `127.0.0.1:${lab.proxyPort}`, '--proxy-header', `Proxy-Authorization: Bearer ${signed()}`],
    ],
  ])('is known: %s', async (_, name, args) => {
    const { stdout } = await curl('-o', '/dev/null', '-w', '%{http_code}', ...args())
    expect(stdout).toBe('200')
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ client: { name }, decision: 'allow' })
  })

  it.each([
    ['token file', 'listed', (): string => LISTED],
    ['signed', 'robot', signed],
  ])('is known: Python, %s', async (_, name, token) => {
    const { stdout } = await run('python3', ['-c', PYTHON, through(name, token()), ca(), url()], LIMIT)
    expect(stdout.trim()).toBe('200')
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ client: { name }, decision: 'allow' })
  })

  it.each([
    ['another token', (): string => 'listed:not-the-token-of-the-file'],
    ['a token that has expired', (): string => `robot:${es256(ec, claims({ exp: 1 }))}`],
    ['the name of another', (): string => `listed:${signed()}`],
  ])('is told 407 with %s', async (_, user) => {
    const args = ['-x', `127.0.0.1:${lab.proxyPort}`, '-U', user(), '-o', '/dev/null', '-w', '%{http_connect}']
    const { stdout } = await curl(...args).catch((error: unknown) => error as { stdout: string })
    expect(stdout).toBe('407')
  })

  it('that is missing keys of the issuer is refused, and /ready says so', async () => {
    keys = ''
    const ready = async (): Promise<string> => (await fetch(`http://127.0.0.1:${lab.adminPort}/ready`)).text()
    expect(await ready()).not.toContain('identity.jwt')
    lab.reload({
      extra: `identity: { tokens: "${join(folder, 'tokens')}", jwt: { issuer: "${ISSUER}", audience: x, jwks: "https://id.test:1/keys" } }`,
    })
    expect(await ready()).toContain('keys of identity.jwt')
    const args = [
      '-x',
      `127.0.0.1:${lab.proxyPort}`,
      '-U',
      `robot:${signed()}`,
      '-o',
      '/dev/null',
      '-w',
      '%{http_connect}',
    ]
    const { stdout } = await curl(...args).catch((error: unknown) => error as { stdout: string })
    expect(stdout).toBe('407')
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ security_flags: ['jwt_no_keys'] })
  })
})
