// What is published about the configuration is what is loaded: the JSON Schema, and the reference in docs.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { testCommand } from '../../src/cli/test-policy.ts'
import { configJsonSchema } from '../../src/config/json-schema.ts'
import { loadConfig } from '../../src/config/load.ts'

const ROOT = join(import.meta.dirname, '../..')
const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const blocksOf = (path: string): string[] =>
  [...read(path).matchAll(/^```yaml\n(.*?)^```/gms)].map(([, text]) => text ?? '')

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-docs-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Names of all members that a file may have, at any depth. */
function keysOf(schema: unknown): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const own = 'properties' in schema ? Object.keys(schema.properties as object) : []
  return [...own, ...Object.values(schema).flatMap(keysOf)]
}

/** Schemas of objects at any depth. */
function objectsOf(schema: unknown): Record<string, unknown>[] {
  if (typeof schema !== 'object' || schema === null) return []
  const own = 'properties' in schema ? [schema as Record<string, unknown>] : []
  return [...own, ...Object.values(schema).flatMap(objectsOf)]
}

describe('the published JSON Schema', () => {
  it('is the one of this version: node scripts/schema.mjs writes it', () => {
    expect(JSON.parse(read('schemas/config.schema.json'))).toEqual(JSON.parse(JSON.stringify(configJsonSchema())))
  })

  it('takes no unknown member anywhere', () => {
    const objects = objectsOf(configJsonSchema())
    expect(objects.length).toBeGreaterThan(10)
    expect(objects.filter((object) => object['additionalProperties'] !== false)).toEqual([])
  })
})

describe('docs/configuration.md', () => {
  it('names every key', () => {
    const text = read('docs/configuration.md')
    const keys = [...new Set(keysOf(configJsonSchema()))]
    expect(keys).toContain('request_bytes')
    expect(keys.filter((key) => !new RegExp(`\`(?:\\w+\\.)?${key}\\b|### .*\\b${key}\\b`).test(text))).toEqual([])
  })
})

describe.each(['docs/configuration.md', 'docs/policy.md'])('%s', (path) => {
  const blocks = blocksOf(path)

  it('has examples', () => {
    expect(blocks.length).toBeGreaterThanOrEqual(5)
  })

  it.each(blocks.map((text, index) => [index + 1, text] as const))(
    'example %i is valid and does what it says',
    async (_, text) => {
      const file = join(folder, 'mcp-egress.yaml')
      writeFileSync(file, text)
      const token = 'a-token-of-some-length'
      const env = { GITHUB_MCP_TOKEN: token, ADMIN_TOKEN: token, DB_PASSWORD: token, GITHUB_TOKEN: token }
      const loaded = loadConfig(file, env)
      expect(loaded.ok ? [] : loaded.problems).toEqual([])
      if (!loaded.ok || loaded.config.tests.length === 0) return
      const report: string[] = []
      const command = testCommand({ out: (line) => report.push(line), err: () => undefined, colour: false })
      await command.parseAsync(['-c', file], { from: 'user' }).catch(() => undefined)
      expect(report.join('')).toContain(`${loaded.config.tests.length} passed, 0 failed`)
    },
  )
})
