// The key of the CA is the one secret that would undo everything: it is where nobody else can read it, and nowhere else.

import { chmodSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startProxy, systemGround } from '../../src/cli/runtime.ts'
import { loadConfig } from '../../src/config/load.ts'
import { ask, openDoor, type Standard, startStandard } from '../support/standard.ts'

const PRIVATE = ['certs/private/audit.key', 'certs/private/ca.key', 'certs/private/redaction.key']

let standard: Standard
beforeAll(async () => {
  standard = await startStandard()
  await ask(standard.lab, 'connect', standard.authority)
})
afterAll(() => standard.close())

const modeOf = (path: string): string => (statSync(join(standard.lab.folder, path)).mode & 0o777).toString(8)

function everyFile(): string[] {
  const { folder } = standard.lab
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
}

it.each([
  ['certs/private', '700'],
  ['certs/private/ca.key', '600'],
  ['certs/private/redaction.key', '600'],
  ['certs/private/audit.key', '600'],
  ['certs/audit.pub', '644'],
  ['certs/ca.pem', '644'],
  ['certs/bundle.pem', '644'],
  ['logs/audit.jsonl', '600'],
])('[H01] %s has mode %s', (path, mode) => {
  expect(modeOf(path)).toBe(mode)
})

it('[H01] no private key is in any other file, nor anything of its bytes', () => {
  const key = readFileSync(join(standard.lab.folder, 'certs/private/ca.key'), 'utf8')
  const secret = key.split('\n')[1] ?? ''
  expect(secret.length).toBeGreaterThan(20)
  const files = everyFile()
  expect(files).toEqual(expect.arrayContaining([...PRIVATE, 'certs/ca.pem', 'logs/audit.jsonl']))
  for (const file of files.filter((name) => !PRIVATE.includes(name))) {
    const content = readFileSync(join(standard.lab.folder, file), 'latin1')
    expect([file, content.includes('PRIVATE KEY'), content.includes(secret)]).toEqual([file, false, false])
  }
})

it('[H01] the key of the leaves is on no disk at all', async () => {
  const socket = await openDoor(standard.lab, 'connect', standard.authority)
  socket.destroy()
  const keys = everyFile().filter((file) =>
    readFileSync(join(standard.lab.folder, file), 'latin1').includes('PRIVATE KEY'),
  )
  expect(keys.sort()).toEqual(['certs/private/audit.key', 'certs/private/ca.key'])
})

describe('[H01] a key that others may read', () => {
  it.each(['640', '604', '644', '666'])(
    'mode %s: the proxy does not start, and says how to put it right',
    async (mode) => {
      const { folder } = standard.lab
      const key = join(folder, 'certs/private/ca.key')
      const loaded = loadConfig(join(folder, 'mcp-egress.yaml'), {})
      if (!loaded.ok) throw new Error('the configuration of the lab')
      chmodSync(key, Number.parseInt(mode, 8))
      try {
        await expect(startProxy(loaded.config, systemGround())).rejects.toThrow(
          /open to group or others .*Fix: chmod 600/,
        )
      } finally {
        chmodSync(key, 0o600)
      }
    },
  )
})
