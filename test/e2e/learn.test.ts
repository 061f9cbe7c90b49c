// From watching to enforcing: what was let through is learned, checked, replayed, and then all that gets through.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ProxyAgent, request } from 'undici'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from '../support/origins.ts'
import { type ProxyProcess, startProxyProcess } from './support/proxy-process.ts'
import { COMMAND, NEUTRAL, thisMachine } from './support/spawner.ts'

let root: TestRoot
let origin: Origin
let folder: string
const undo: (() => unknown)[] = []

beforeAll(async () => {
  root = createTestRoot()
  undo.push(() => root.close())
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-learn-'))
  undo.push(() => rmSync(folder, { recursive: true, force: true }))
  origin = await startOrigin(root, 'localhost')
  undo.push(() => origin.close())
})
afterAll(async () => {
  for (const step of undo.reverse()) await step()
})

const ASKED = [
  ['GET', '/repos/acme/app/issues/7'],
  ['GET', '/repos/acme/app/issues/8'],
  ['POST', '/repos/acme/app/issues'],
  ['GET', '/%75ser?page=2'],
] as const

/** Statuses, in the order of what is asked. */
async function ask(proxy: ProxyProcess, asked: readonly (readonly [string, string])[]): Promise<number[]> {
  const ca = readFileSync(join(folder, 'certs/ca.pem'), 'utf8')
  const agent = new ProxyAgent({ uri: `http://127.0.0.1:${proxy.ports.get('proxy')}`, requestTls: { ca } })
  const statuses: number[] = []
  try {
    for (const [method, path] of asked) {
      const url = `https://localhost:${origin.port}${path}`
      const answer = await request(url, { method: method as 'GET', dispatcher: agent, headersTimeout: 10_000 })
      await answer.body.dump()
      statuses.push(answer.statusCode)
    }
  } finally {
    await agent.close()
  }
  return statuses
}

async function proxied(
  configFile: string,
  trail: string,
  asked: typeof ASKED | typeof OTHERS,
  ...args: string[]
): Promise<number[]> {
  const proxy = await startProxyProcess(thisMachine, { configFile, trailFile: join(folder, trail), args })
  try {
    return await ask(proxy, asked)
  } finally {
    await proxy.stop()
  }
}

const OTHERS = [
  ['GET', '/repos/acme/app/issues/9'],
  ['GET', '/repos/acme/other/issues/7'],
  ['DELETE', '/repos/acme/app/issues/7'],
  ['GET', '/repos/acme/app/issues'],
] as const

function command(...args: string[]): ReturnType<typeof thisMachine.exec> {
  return thisMachine.exec(process.execPath, [COMMAND, ...args], { env: NEUTRAL, cwd: folder })
}

it('observe, learn, validate, replay, enforce', { timeout: 120_000 }, async () => {
  const common = (trail: string): string =>
    `listen: { proxy: "127.0.0.1:0" }\naudit: { path: ${trail} }\nca: { directory: certs }\n`
  const first = join(folder, 'observe.yaml')
  writeFileSync(
    first,
    `version: 1\nclients: [{ name: runner, source: [127.0.0.1] }]\nupstream: { trust: [${root.file}], allow: [127.0.0.1, "::1"] }\n${common('observed.jsonl')}`,
  )
  expect(await proxied(first, 'observed.jsonl', ASKED, '--observe')).toEqual([200, 200, 200, 200])

  const learned = await command('learn', 'observed.jsonl')
  expect([learned.code, learned.stderr]).toEqual([0, ''])
  writeFileSync(join(folder, 'learned.yaml'), learned.stdout)
  expect(learned.stdout).toContain(`      paths:
        - /repos/acme/app/issues/* # 7, 8
        - /user
`)
  expect(await command('validate-config', '-c', 'learned.yaml')).toMatchObject({ code: 0, stderr: '' })
  const replayed = await command('replay', '-c', 'learned.yaml', 'observed.jsonl')
  expect([replayed.code, replayed.stderr]).toEqual([0, ''])
  expect(replayed.stdout).not.toMatch(/now denied|can not be told/)
  expect(replayed.stdout).toContain('now allowed runner GET https://localhost:')

  const enforce = join(folder, 'enforce.yaml')
  const trusting = learned.stdout.replace('upstream:\n', `upstream:\n  trust: [${root.file}]\n`)
  writeFileSync(enforce, `${trusting}${common('enforced.jsonl')}`)
  expect(await proxied(enforce, 'enforced.jsonl', ASKED)).toEqual([200, 200, 200, 200])
  expect(await proxied(enforce, 'enforced.jsonl', OTHERS)).toEqual([200, 403, 403, 403])

  const again = await command('replay', '-c', 'learned.yaml', 'enforced.jsonl')
  expect([again.code, again.stdout]).toEqual([0, '8 requests decided as before\n'])
  const more = await command('learn', '-c', 'learned.yaml', 'observed.jsonl', 'enforced.jsonl')
  expect(more.stdout).toMatch(/^# nothing to add: /)
})
