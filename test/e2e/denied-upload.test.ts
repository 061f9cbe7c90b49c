// A denied upload of 4 MB is read as its 403, every time: no client may lose the answer because it was still sending.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { GITHUB, type Machine, machinePossible, startMachine, WORKLOAD_UID } from './support/machine.ts'
import { type ProxyProcess, startProxyProcess } from './support/proxy-process.ts'
import { COMMAND, NEUTRAL, thisMachine } from './support/spawner.ts'
import { ask, clientMissing, type Got, type WebClient } from './support/web-clients.ts'

const UPLOAD_BYTES = 4_000_000
const TIMES = 100
const RUN_TIMEOUT_MS = 90_000

const RULES = `  - id: read-only
    allow: { hosts: [${GITHUB}], methods: [GET] }
`
const UPLOAD = { method: 'POST', url: `https://${GITHUB}/upload`, bytes: UPLOAD_BYTES, times: TIMES } as const

describe('by the explicit door', () => {
  let folder: string
  let proxy: ProxyProcess
  let env: NodeJS.ProcessEnv

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'mcp-egress-upload-'))
    const configFile = join(folder, 'mcp-egress.yaml')
    writeFileSync(configFile, `version: 1\nlisten: { proxy: "127.0.0.1:0" }\nrules:\n${RULES}`)
    proxy = await startProxyProcess(thisMachine, { configFile, trailFile: join(folder, 'logs/audit.jsonl') })
    const proxyUrl = `http://127.0.0.1:${proxy.ports.get('proxy')}`
    const command = (...args: string[]) =>
      thisMachine.exec(process.execPath, [COMMAND, 'ca', ...args, '-c', configFile], { env: NEUTRAL })
    await command('init')
    const { stdout } = await command('env', '--json', '--proxy', proxyUrl)
    env = { ...NEUTRAL, ...(JSON.parse(stdout) as NodeJS.ProcessEnv) }
  })
  afterAll(async () => {
    await proxy?.stop()
    rmSync(folder, { recursive: true, force: true })
  })

  for (const client of ['curl', 'requests', 'httpx', 'node'] as const satisfies WebClient[]) {
    it.skipIf(clientMissing(client) !== null)(
      `${client} reads the reason ${TIMES} times of ${TIMES}`,
      { timeout: RUN_TIMEOUT_MS },
      async () => {
        expect(tally(await ask(thisMachine, client, UPLOAD, { env, timeoutMs: RUN_TIMEOUT_MS }))).toEqual({
          '403 no_matching_rule': TIMES,
        })
        const denied = proxy
          .records()
          .filter((record) => record.event === 'request.decided' && record['method'] === 'POST')
        expect(denied.length % TIMES).toBe(0)
      },
    )
  }
})

describe.skipIf(!machinePossible)('behind the redirection', () => {
  let machine: Machine

  beforeAll(async () => {
    machine = await startMachine({ family: 'v4', rules: RULES })
  })
  afterAll(() => machine?.close())

  for (const client of ['curl', 'node'] as const satisfies WebClient[]) {
    it.skipIf(clientMissing(client) !== null)(
      `${client} reads the reason ${TIMES} times of ${TIMES}`,
      { timeout: RUN_TIMEOUT_MS },
      async () => {
        const options = { env: machine.trusting, uid: WORKLOAD_UID, timeoutMs: RUN_TIMEOUT_MS }
        expect(tally(await ask(machine.workload, client, UPLOAD, options))).toEqual({ '403 no_matching_rule': TIMES })
        expect(machine.origin.events.filter(({ event }) => event !== 'listening')).toEqual([])
      },
    )
  }
})

/** How often each outcome came. */
function tally(got: readonly Got[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const one of got) {
    const outcome =
      'error' in one ? one.error : `${one.status} ${(JSON.parse(one.body.toString()) as { reason: string }).reason}`
    counts[outcome] = (counts[outcome] ?? 0) + 1
  }
  return counts
}
