// The built command keeps a canary secret out of its files and of its output, whichever listener it came to.

import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { askRaw, question } from '../support/dns.ts'
import { base64, betrayedIn, percent } from '../support/betrayal.ts'
import { tcp } from '../support/clients.ts'
import { Wire } from '../support/wire.ts'
import { readTrail } from './support/proxy-process.ts'
import { COMMAND, NEUTRAL, thisMachine } from './support/spawner.ts'

// Put together at run time: no scanner of this repository should take it for real.
const TOKEN = ['gh', 'p_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8'].join('')
const VALUE = 'Zebra-Quartz-7f3b9e21-Violin'
const START_DEADLINE_MS = 20_000

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-canary-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('[K15] a secret that went through every listener is in no file and on no output', { timeout: 60_000 }, async () => {
  writeFileSync(
    join(folder, 'mcp-egress.yaml'),
    `version: 1
mode: observe
listen: { proxy: "127.0.0.1:0", gateway: "127.0.0.1:0", dns: "127.0.0.1:0" }
clients: [{ name: robot, token: "\${CANARY}" }]
rules: [{ id: any, audit: headers, deny: { hosts: ["**.test"] } }]
`,
  )
  const child = thisMachine.spawn(process.execPath, [COMMAND, 'proxy', '-c', join(folder, 'mcp-egress.yaml')], {
    env: { ...NEUTRAL, CANARY: VALUE, MCP_EGRESS_LOG_LEVEL: 'trace' },
  })
  let output = ''
  child.stdout?.on('data', (part: Buffer) => (output += part.toString('latin1')))
  child.stderr?.on('data', (part: Buffer) => (output += part.toString('latin1')))
  const ended = once(child, 'close')
  try {
    const deadline = Date.now() + START_DEADLINE_MS
    while (!output.includes('mcp-egress: ready\n')) {
      if (Date.now() > deadline || child.exitCode !== null) throw new Error(`not ready: ${output}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    const portOf = (door: string): number => Number(new RegExp(`mcp-egress: ${door} on \\S*?:(\\d+)`).exec(output)?.[1])
    let requests = 0
    for (const canary of [TOKEN, VALUE]) {
      const target = `/${canary}/${percent(canary)}?${canary}=${canary}`
      const fields = `Authorization: Bearer ${canary}\r\nCookie: ${canary}=${canary}\r\n${canary}: ${canary}\r\n`
      const credentials = `Proxy-Authorization: Basic ${base64(`robot:${canary}`)}\r\n`
      const host = `${canary}.denied.test`
      const proxied = [
        `GET http://${host}${target} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`,
        `GET http://denied.test/ HTTP/1.1\r\nHost: denied.test\r\n${credentials}${fields}\r\n`,
        `CONNECT me:${canary}@denied.test:443 HTTP/1.1\r\nHost: ${canary}\r\n\r\n`,
        `GET http://denied.test/ HTTP/1.1\r\n${canary} x: ${canary}\r\n\r\n`,
        `\u0000${canary}\r\n\r\n`,
      ]
      const direct = [`GET ${target} HTTP/1.1\r\nHost: denied.test\r\n${fields}\r\n`, `\u0016${canary}\r\n\r\n`]
      for (const [door, all] of [
        ['proxy', proxied],
        ['gateway', direct],
      ] as const) {
        for (const bytes of all) {
          const wire = new Wire(await tcp(portOf(door)))
          wire.write(bytes)
          await wire.until('an answer', () => wire.text.includes('\r\n\r\n')).catch(() => undefined)
          wire.socket.destroy()
          requests += 1
        }
      }
      for (const label of [canary, canary.toLowerCase()]) {
        await askRaw(question(`${label}.denied.test`), { port: portOf('dns') })
      }
    }
    child.kill('SIGTERM')
    expect((await ended)[0]).toBe(0)
    const trail = readTrail(join(folder, 'logs/audit.jsonl'))
    expect(trail.filter(({ event }) => event === 'request.completed')).toHaveLength(requests)
    expect(trail.filter(({ event }) => event === 'dns.question').length).toBeGreaterThanOrEqual(4)
  } finally {
    child.kill('SIGKILL')
  }
  expect(betrayedIn(folder, { output }, TOKEN)).toEqual([])
  expect(betrayedIn(folder, { output }, VALUE)).toEqual([])
})
