// What the command of `run` finds in its environment: everything of the caller's but what the proxy keeps from it.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { COMMAND, NEUTRAL, thisMachine } from './support/spawner.ts'

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-environment-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('not the secrets that are put in for it, nor our settings', async () => {
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(
    file,
    `version: 1
admin: { token: "\${OPERATOR_TOKEN}" }
secrets: [{ name: own, value: "\${OWN_TOKEN}", only_to: [api.example.com] }]
inject: [{ placeholder: THE_PLACEHOLDER_OF_IT, value: "\${INJECTED_TOKEN}", hosts: [api.example.com] }]
`,
  )
  const env = {
    ...NEUTRAL,
    OPERATOR_TOKEN: 'operator-operator-operator',
    OWN_TOKEN: 'own-own-own-own',
    INJECTED_TOKEN: 'injected-injected',
    MCP_EGRESS_MODE: 'observe',
    ANOTHER: 'stays',
  }
  const args = [COMMAND, 'run', '--no-jail', '-c', file, '--', 'env']
  const { stdout } = await thisMachine.exec(process.execPath, args, { env })
  const names = stdout.split('\n').map((line) => line.split('=')[0])
  // A secret of the workload's own, which `secrets` only watches, stays with it.
  expect(names).toEqual(expect.arrayContaining(['OWN_TOKEN', 'ANOTHER', 'HTTPS_PROXY']))
  for (const gone of ['OPERATOR_TOKEN', 'INJECTED_TOKEN', 'MCP_EGRESS_MODE']) expect(names).not.toContain(gone)
  expect(stdout).not.toMatch(/operator-|injected-/)
})
