// Held against the words of OpenAPI: a request is allowed if, and only if, the operation it is asked for by is one that the rule names.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { judgeRequest } from '../../src/config/judge-request.ts'
import { loadConfig } from '../../src/config/load.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-openapi-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const METHODS = ['get', 'post'] as const
const SEGMENTS = ['a', 'b', '{x}', '{x}.json', 'a.json'] as const
/** What a variable may be, and what a literal is. */
const VALUES = ['a', 'b', 'c', 'a.json', 'c.json', ''] as const

const templates = fc.uniqueArray(fc.array(fc.constantFrom(...SEGMENTS), { minLength: 1, maxLength: 3 }), {
  minLength: 1,
  maxLength: 6,
  // Templates that differ in nothing but names are one (OpenAPI 3.1 §4.8.8.1), and that is what `{x}` alone makes them here.
  selector: (segments) => segments.join('/'),
})

const fits = (segment: string, value: string): boolean => {
  if (segment === '{x}') return value !== ''
  if (segment === '{x}.json') return value.length > 5 && value.endsWith('.json')
  return segment === value
}
const concreteness = (segment: string): number => (segment === '{x}' ? 0 : segment.includes('{') ? 1 : 2)

/** The templates that a path may be asked for by: those that fit, less those that another one is more concrete than. */
function askedFor(all: readonly (readonly string[])[], path: readonly string[]): readonly (readonly string[])[] {
  const fitting = all.filter((own) => own.length === path.length && own.every((part, at) => fits(part, path[at] ?? '')))
  const isOver = (other: readonly string[], own: readonly string[]): boolean =>
    other.some((part, at) => concreteness(part) > concreteness(own[at] ?? ''))
  return fitting.filter((own) => !fitting.some((other) => isOver(other, own) && !isOver(own, other)))
}

it('what is allowed', () => {
  const scenario = fc.record({
    described: templates,
    named: fc.array(fc.nat(11), { minLength: 1, maxLength: 4 }),
    paths: fc.array(fc.array(fc.constantFrom(...VALUES), { minLength: 1, maxLength: 3 }), {
      minLength: 8,
      maxLength: 8,
    }),
  })
  fc.assert(
    fc.property(scenario, ({ described, named, paths }) => {
      const operations = described.flatMap((segments) => METHODS.map((method) => ({ segments, method })))
      const chosen = new Set(named.map((index) => operations[index % operations.length]))
      const text = {
        openapi: '3.1.0',
        servers: [{ url: 'https://a.example.com/v1' }],
        paths: Object.fromEntries(
          described.map((segments) => [`/${segments.join('/')}`, { get: { responses: {} }, post: { responses: {} } }]),
        ),
      }
      const allow = [...chosen].map((one) => `${one?.method.toUpperCase()} /${one?.segments.join('/')}`)
      writeFileSync(join(folder, 'api.json'), JSON.stringify(text))
      const file = join(folder, 'mcp-egress.yaml')
      writeFileSync(file, JSON.stringify({ version: 1, rules: [{ id: 'r', openapi: { file: 'api.json', allow } }] }))
      const loaded = loadConfig(file, {})
      if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
      for (const path of paths) {
        for (const method of METHODS) {
          const url = `https://a.example.com/v1/${path.join('/')}`
          const { decision } = judgeRequest(loaded.config, 'anonymous', method.toUpperCase(), url)
          const isNamed = (segments: readonly string[]): boolean =>
            [...chosen].some((one) => one?.method === method && one.segments.join('/') === segments.join('/'))
          const asked = path.slice(0, -1).includes('') ? [] : askedFor(described, path)
          // Where the description leaves open which of two it is, each has to be named.
          expect([method, url, decision]).toEqual([
            method,
            url,
            asked.length > 0 && asked.every(isNamed) ? 'allow' : 'deny',
          ])
        }
      }
    }),
    { numRuns: 150 },
  )
})
