// Variables that would quietly undo what the proxy promises: it does not start, and says which one and what to do.

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refuseHazards } from '../../src/cli/environment.ts'
import { bareEnvironment, run } from '../tls/fixture.ts'

const COMMAND = join(import.meta.dirname, '../../dist/cli/main.js')
const CONFIGURATION = `version: 1
listen: { proxy: "127.0.0.1:0" }
ca: { directory: certs }
audit: { path: logs/audit.jsonl }
`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-environment-'))
  writeFileSync(join(folder, 'mcp-egress.yaml'), CONFIGURATION)
})
afterAll(() => rmSync(folder, { recursive: true }))

const HAZARDS: [string, string][] = [
  ['NODE_TLS_REJECT_UNAUTHORIZED', '0'],
  ['SSLKEYLOGFILE', '/tmp/keys'],
  ['NODE_OPTIONS', '--tls-keylog=/tmp/keys'],
  ['NODE_OPTIONS', '--tls_keylog=/tmp/keys'],
  ['NODE_OPTIONS', '--tls-min-v1.0'],
  ['NODE_OPTIONS', '--tls-min-v1.1'],
  ['NODE_OPTIONS', '--tls_min_v1.0'],
  ['NODE_OPTIONS', '--tls-cipher-list=ALL:@SECLEVEL=0'],
  ['NODE_OPTIONS', '--trace-tls'],
  ['NODE_OPTIONS', '--inspect=0.0.0.0:9229'],
  ['NODE_OPTIONS', '--inspect-brk'],
  ['NODE_OPTIONS', '--max-old-space-size=512 --require ./evil.cjs'],
  ['NODE_OPTIONS', '-r ./evil.cjs'],
  ['NODE_OPTIONS', '--import=./evil.mjs'],
  ['NODE_OPTIONS', '--loader ./evil.mjs'],
  ['NODE_OPTIONS', '--experimental-loader=./evil.mjs'],
  ['NODE_OPTIONS', '--experimental_loader=./evil.mjs'],
]

it.each(HAZARDS)('[H03] %s=%s is refused by name, with the fix', (variable, value) => {
  expect(() => refuseHazards({ [variable]: value })).toThrow(
    new RegExp(`^${variable} is set: .+\\n.*fix: unset ${variable}`),
  )
})

it.each([
  ['NODE_TLS_REJECT_UNAUTHORIZED', '1'],
  ['NODE_OPTIONS', '--max-old-space-size=512'],
  ['NODE_OPTIONS', ''],
  ['NODE_ENV', 'production'],
])('[H03] %s=%s is harmless', (variable, value) => {
  expect(() => refuseHazards({ [variable]: value })).not.toThrow()
})

describe('[H03] the command', () => {
  it.each([
    ['NODE_TLS_REJECT_UNAUTHORIZED', '0'],
    ['SSLKEYLOGFILE', 'keys.log'],
    ['NODE_OPTIONS', '--tls-min-v1.0'],
    ['NODE_OPTIONS', '--tls-keylog=keys.log'],
  ])('with %s=%s ends with 1 before it has made or opened anything', async (variable, value) => {
    const env = bareEnvironment({ [variable]: value })
    const failure = await run(process.execPath, [COMMAND, 'proxy'], { cwd: folder, env, timeout: 5_000 }).then(
      () => null,
      (error: { code: number; stderr: string }) => error,
    )
    expect(failure?.code).toBe(1)
    expect(failure?.stderr).toContain(`${variable} is set`)
    expect(failure?.stderr).not.toContain(' ready')
    expect([existsSync(join(folder, 'certs')), existsSync(join(folder, 'logs'))]).toEqual([false, false])
  })
})
