// Names of the hosts file: as the system reads it, and read again when it has changed. DNS has its own tests among the attacks.

import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { SystemResolver } from '../../src/proxy/resolver.ts'

let folder: string
let hostsFile: string
let now: number
let resolver: SystemResolver

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-hosts-'))
  hostsFile = join(folder, 'hosts')
  now = 1_000_000
  resolver = new SystemResolver({ hostsFile, resolvConf: hostsFile, now: () => now })
})
afterEach(() => rmSync(folder, { recursive: true }))

it.each<[string, string, readonly string[]]>([
  ['one name', '192.0.2.1 a.test\n', ['192.0.2.1']],
  ['an alias behind it', '192.0.2.1 b.test a.test', ['192.0.2.1']],
  ['tabs and blanks', ' 192.0.2.1\t \ta.test \n', ['192.0.2.1']],
  ['any case', '192.0.2.1 A.Test\n', ['192.0.2.1']],
  ['CR LF', '192.0.2.1 a.test\r\n', ['192.0.2.1']],
  ['a comment behind it', '192.0.2.1 a.test#b.test\n', ['192.0.2.1']],
  ['several lines, in order', '192.0.2.1 a.test\n2001:db8::1 a.test\n', ['192.0.2.1', '2001:db8::1']],
  [
    'lines that are none between',
    '# 192.0.2.9 a.test\n\nnonsense a.test\n999.0.2.1 a.test\n192.0.2.1 a.test',
    ['192.0.2.1'],
  ],
])('%s', async (_name, text, addresses) => {
  writeFileSync(hostsFile, text)
  expect(await resolver.resolve('a.test')).toEqual({ kind: 'addresses', addresses })
})

it('a file that has changed is read again once what was kept of it is old', async () => {
  writeFileSync(hostsFile, '192.0.2.1 a.test\n')
  await resolver.resolve('a.test')
  writeFileSync(hostsFile, '192.0.2.2 a.test\n')
  utimesSync(hostsFile, new Date(), new Date(Date.now() + 10_000))
  expect(await resolver.resolve('a.test')).toMatchObject({ addresses: ['192.0.2.1'] })
  now += 1_000
  expect(await resolver.resolve('a.test')).toMatchObject({ addresses: ['192.0.2.2'] })
})

it('more addresses than are ever dialled or checked refuse the name', async () => {
  writeFileSync(hostsFile, Array.from({ length: 65 }, (_value, index) => `192.0.2.${index} a.test\n`).join(''))
  expect(await resolver.resolve('a.test')).toMatchObject({ kind: 'failed' })
})
