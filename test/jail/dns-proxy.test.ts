// The name server as a door of the running proxy: its address, its records in the chain, a changed policy, its port.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type RunningProxy, startProxy, systemGround } from '../../src/cli/runtime.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { verifyFile } from '../support/audit-events.ts'
import { addressesOf, ask, rcodeOf } from '../support/dns.ts'

let folder: string
let proxy: RunningProxy

const config = (host: string, dns = ''): Config => {
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(
    file,
    `version: 1
listen: { proxy: "127.0.0.1:0", dns: ["127.0.0.1:0", "[::1]:0"] }
rules: [{ id: one, allow: { hosts: [${host}] } }]
${dns}`,
  )
  const loaded = loadConfig(file, {})
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-dns-'))
  const resolver = { resolve: () => Promise.reject(new Error('another name server was asked')) }
  proxy = await startProxy(config('api.test'), { ...systemGround(), resolver })
})
afterEach(async () => {
  await proxy.stop()
  rmSync(folder, { recursive: true, force: true })
})

const ports = (door: string): number[] =>
  proxy.addresses.flatMap((entry) => (entry.door === door && entry.address.kind === 'tcp' ? [entry.address.port] : []))

it('serves each address, over UDP and TCP, and writes into the chain', async () => {
  const [v4 = 0, v6 = 0] = ports('dns')
  for (const tcp of [false, true]) {
    expect(addressesOf(await ask('api.test', 'A', { port: v4, tcp }))).toEqual(['198.18.0.1'])
    expect(addressesOf(await ask('api.test', 'AAAA', { port: v6, host: '::1', tcp }))).toEqual(['2001:2::1'])
    expect(rcodeOf(await ask('evil.test', 'A', { port: v4, tcp }))).toBe('NXDOMAIN')
  }
  await proxy.stop()
  const { records, torn } = verifyFile(join(folder, 'logs/audit.jsonl'))
  expect(torn).toBe(0)
  const asked = records.filter(({ event }) => event === 'dns.question')
  expect(asked.map(({ decision }) => decision)).toEqual(['allow', 'allow', 'deny', 'allow', 'allow', 'deny'])
})

it('holds to a changed policy and changed answers from the next question on', async () => {
  const [port = 0] = ports('dns')
  await proxy.reload(config('other.test', 'dns: { addresses: [10.0.0.9] }'))
  expect(rcodeOf(await ask('api.test', 'A', { port }))).toBe('NXDOMAIN')
  expect(addressesOf(await ask('other.test', 'A', { port }))).toEqual(['10.0.0.9'])
})

it('[E14] is one of our own listeners, which no client reaches through the proxy', async () => {
  const [port = 0] = ports('dns')
  const socket = connect({ port: ports('proxy')[0] ?? 0, host: '127.0.0.1' })
  socket.end(`GET http://127.0.0.1:${port}/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  let answer = ''
  for await (const chunk of socket.setEncoding('latin1') as AsyncIterable<string>) answer += chunk
  expect(answer).toContain('"reason":"self"')
})
