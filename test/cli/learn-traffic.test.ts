// However long a trail is, what is learned from it has bounds, and says what is beyond them.

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { type Lesson, learn, newLesson, policyOf } from '../../src/cli/learn.ts'
import { yamlOf } from '../../src/cli/learn-yaml.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { RequestDecided } from '../../src/core/record.ts'
import { COMPLETED, DECIDED } from '../support/audit-events.ts'

function ask(lesson: Lesson, decided: Partial<RequestDecided>, upstream_address = '192.0.2.1:443'): void {
  learn(lesson, { ...DECIDED, timestamp: '2026-11-20T08:00:00.000Z', ...decided }, { ...COMPLETED, upstream_address })
}

const pathsOf = (text: string): string[] =>
  (parse(text) as { rules: { allow: { paths: string[] } }[] }).rules.flatMap(({ allow }) => allow.paths)

/** Letters alone, so that it is no id. */
const word = (number: number): string =>
  number.toString().replaceAll(/[0-9]/g, (digit) => 'ghijklmnop'.charAt(Number(digit)))

it('five hundred kinds of path of an origin, and a word about how to have fewer', () => {
  const lesson = newLesson(null, null, false)
  for (let number = 0; number < 510; number += 1) ask(lesson, { path: `/users/${word(number)}` })
  ask(lesson, { path: `/users/${word(7)}` })
  const text = yamlOf(policyOf(lesson, null))
  expect(pathsOf(text)).toHaveLength(500)
  expect(text).toContain('# 500 paths: --merge makes one * of siblings\n')
  expect(text).toContain('#   10 requests beyond the first 500 kinds of path of an origin\n')
})

it('siblings that become one leave room for others', () => {
  const lesson = newLesson(null, 100, false)
  for (let number = 0; number < 3_000; number += 1) ask(lesson, { path: `/users/${word(number)}/keys` })
  for (let number = 0; number < 90; number += 1) ask(lesson, { path: `/orgs/${word(number)}` })
  const { leftOut, rules } = policyOf(lesson, null)
  expect([...leftOut]).toEqual([])
  expect(rules).toMatchObject([{ seen: { count: 3_090 } }])
  expect(pathsOf(yamlOf(policyOf(lesson, null)))).toHaveLength(91)
})

it('siblings are not looked for for ever where there are none', () => {
  const lesson = newLesson(null, 2, false)
  for (let number = 0; number < 600; number += 1) ask(lesson, { path: `/${word(number)}/${word(number)}` })
  expect([...lesson.traffic.services.values()].map(({ collapses }) => collapses)).toEqual([32])
  expect([...lesson.traffic.leftOut]).toEqual([['beyond the first 500 kinds of path of an origin', 100]])
})

it('a thousand clients and origins', () => {
  const lesson = newLesson(null, null, false)
  for (let number = 0; number < 1_003; number += 1) {
    ask(lesson, { host: `${word(number)}.example` })
    ask(lesson, { host: `${word(number)}.vendor.example`, method: null, path: null })
  }
  const { rules, leftOut } = policyOf(lesson, null)
  expect(rules).toHaveLength(2_000)
  expect([...leftOut]).toEqual([['beyond the first 1000 clients and origins', 6]])
})

it('a text that still is a configuration', () => {
  const lesson = newLesson(null, null, false)
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-learn-'))
  try {
    for (let number = 0; number < 6_000; number += 1) {
      ask(lesson, { host: `h${number % 900}.example`, method: `M${number}`, path: `/${word(number).repeat(200)}` })
    }
    const file = join(folder, 'learned.yaml')
    const text = yamlOf(policyOf(lesson, null))
    writeFileSync(file, text)
    expect(statSync(file).size).toBeGreaterThan(2 ** 20)
    expect(loadConfig(file, {}).ok).toBe(true)
    expect(text).toContain('requests beyond what a configuration can hold\n')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})

it('names of tools, together with the paths', () => {
  const lesson = newLesson(null, null, false)
  const call = (path: string, tool: string): void =>
    ask(lesson, { method: 'POST', path, mcp: [{ method: 'tools/call', tool, resource: null, id: null }] })
  for (let path = 0; path < 100; path += 1) {
    for (let tool = 0; tool < 90; tool += 1) call(`/${word(path)}`, `${tool}-${'x'.repeat(240)}`)
  }
  const { rules } = policyOf(lesson, null)
  expect(yamlOf(policyOf(lesson, null)).length).toBeLessThan(4 * 2 ** 20)
  expect(rules.reduce((sum, { unnamed }) => sum + unnamed, 0)).toBeGreaterThan(0)
})

it('addresses', () => {
  const lesson = newLesson(null, null, false)
  for (let number = 0; number < 5_000; number += 1) {
    ask(
      lesson,
      { client: { name: 'github-mcp', source: `10.${number >> 8}.0.${number & 255}` } },
      `10.0.${number >> 8}.${number & 255}:443`,
    )
  }
  const { clients, reached } = policyOf(lesson, null)
  expect(clients).toEqual([{ name: 'github-mcp', token: '${GITHUB_MCP_TOKEN}' }])
  expect([reached.length, lesson.addresses.overflow]).toEqual([256, true])
})
