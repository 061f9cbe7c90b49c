// `config print` shows what is in force and where it comes from, and no secret.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { stringify } from 'yaml'
import { configCommand } from '../../src/cli/config.ts'
import { DEFAULTS } from '../../src/config/defaults.ts'
import { loadConfig } from '../../src/config/load.ts'
import { run } from './capture.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-print-'))
  file = join(folder, 'mcp-egress.yaml')
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(folder, { recursive: true, force: true })
})

const SECRET = 'the-very-secret-value'

describe('config print', () => {
  it('says where each value comes from', async () => {
    writeFileSync(
      file,
      `version: 1
listen: { proxy: "127.0.0.1:1" }
rules:
  - { id: a, allow: { hosts: [a.example.com] } }
audit: { durability: sync }
`,
    )
    vi.stubEnv('MCP_EGRESS_AUDIT_PATH', 'elsewhere.jsonl')
    vi.stubEnv('MCP_EGRESS_SHUTDOWN', '{ grace: 2s }')
    const { out, code } = await run(configCommand, ['print', '-c', file])
    expect(code).toBe(0)
    for (const line of [
      /^mode: enforce # default$/m,
      /^ {2}proxy: 127\.0\.0\.1:1 # file$/m,
      /^# file\nrules:\n {2}- id: a$/m,
      /^ {2}durability: sync # file$/m,
      /^ {2}path: elsewhere\.jsonl # MCP_EGRESS_AUDIT_PATH$/m,
      /^ {2}grace: 2s # MCP_EGRESS_SHUTDOWN$/m,
      /^ {2}compress: true # default$/m,
    ])
      expect(out).toMatch(line)
    expect(out).not.toContain('transparent')
  })

  it('is a configuration itself, of the same hash', async () => {
    writeFileSync(
      file,
      `version: 1
listen: { admin: "127.0.0.1:2", proxy: "127.0.0.1:1" }
rules: [{ id: a, allow: { hosts: [a.example.com] }, limits: { request_bytes: 1MiB } }]
`,
    )
    const { out } = await run(configCommand, ['print', '-c', file])
    const again = join(folder, 'again.yaml')
    writeFileSync(again, out)
    const [one, two] = [loadConfig(file, {}), loadConfig(again, {})]
    expect(one.ok && two.ok && one.config.hash === two.config.hash).toBe(true)
  })

  it('shows references, and never what they stand for', async () => {
    writeFileSync(join(folder, 'secret'), SECRET)
    writeFileSync(
      file,
      `version: 1
admin: { token: "file:secret" }
clients: [{ name: a, token: "\${A_TOKEN}" }]
audit: { redact: { values: ["\${A_TOKEN}"] } }
secrets: [{ name: s, value: "\${A_TOKEN}", only_to: [a.example.com] }]
`,
    )
    vi.stubEnv('A_TOKEN', `${SECRET}-of-a`)
    const { out } = await run(configCommand, ['print', '-c', file])
    expect(out).toContain('token: file:secret # file')
    expect(out).toContain('token: ${A_TOKEN}')
    vi.stubEnv('MCP_EGRESS_ADMIN_TOKEN', SECRET)
    vi.stubEnv('MCP_EGRESS_CLIENTS', `[{ name: a, token: ${SECRET}-of-b }]`)
    const set = await run(configCommand, ['print', '-c', file])
    expect(set.out).toContain('token: "***" # MCP_EGRESS_ADMIN_TOKEN')
    const json = await run(configCommand, ['print', '-c', file, '--json'])
    expect(JSON.parse(json.out)).toMatchObject({ origins: { 'admin.token': 'MCP_EGRESS_ADMIN_TOKEN' } })
    for (const { out: text } of [{ out }, set, json]) expect(text).not.toContain(SECRET)
  })

  it('without a file is the defaults, and the variables', async () => {
    vi.spyOn(process, 'cwd').mockReturnValue(folder)
    vi.stubEnv('MCP_EGRESS_MODE', 'observe')
    const { out } = await run(configCommand, ['print'])
    vi.restoreAllMocks()
    expect(out).toMatch(/^# no file, .*\nversion: 1 # default\nmode: observe # MCP_EGRESS_MODE$/m)
    expect(out).not.toContain('# file')
  })

  it('of a file with problems prints the problems', async () => {
    writeFileSync(file, 'version: 1\nmdoe: observe\n')
    const { code, message } = await run(configCommand, ['print', '-c', file])
    expect(code).toBe(1)
    expect(message).toContain('mdoe')
  })
})

it('the defaults that are printed are those that hold', () => {
  writeFileSync(file, stringify({ version: 1, ...DEFAULTS }))
  const [written, none] = [loadConfig(file, {}), loadConfig(null, {})]
  expect(written.ok && none.ok && written.config.hash === none.config.hash).toBe(true)
})

it('a variable with a wrong value is named in the problem', () => {
  writeFileSync(file, 'version: 1\n')
  const loaded = loadConfig(file, { MCP_EGRESS_AUDIT_DURABILITY: 'sometimes', MCP_EGRESS_NONE: '1' })
  expect(loaded.ok ? [] : loaded.problems.map(({ at }) => at)).toEqual([
    'MCP_EGRESS_NONE',
    'MCP_EGRESS_AUDIT_DURABILITY',
  ])
})
