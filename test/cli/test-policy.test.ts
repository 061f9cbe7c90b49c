// `test` runs what the file says of itself, and ends with 3 when one of it is not so.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { testCommand } from '../../src/cli/test-policy.ts'
import { run } from './capture.ts'

const POLICY = `version: 1
clients: [{ name: reader, source: [10.0.0.0/24] }]
rules:
  - { id: read, clients: [reader], allow: { hosts: [api.example.com], methods: [GET] } }
`

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-test-'))
  file = join(folder, 'mcp-egress.yaml')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const write = (...tests: string[]): void =>
  writeFileSync(
    file,
    `${POLICY}${tests.length === 0 ? '' : `tests:\n${tests.map((test) => `  - ${test}\n`).join('')}`}`,
  )

describe('test', () => {
  it('prints a line for each that holds and ends with 0', async () => {
    write(
      '{ client: reader, request: "GET https://api.example.com/", expect: allow, rule: read }',
      '{ client: { name: reader }, request: "GET https://api.example.com/", expect: allow }',
      '{ client: { source: 10.0.0.9 }, request: "GET https://api.example.com/", expect: allow, rule: read }',
      '{ client: { source: 10.0.1.9 }, request: "GET https://api.example.com/", expect: deny }',
      '{ request: "GET https://api.example.com/%2e%2e/", expect: deny, reason: path_not_canonical }',
    )
    const { out, code } = await run(testCommand, ['-c', file])
    expect(out.split('\n')).toEqual([
      'ok 1 - reader GET https://api.example.com/: allow by read',
      'ok 2 - reader GET https://api.example.com/: allow by read',
      'ok 3 - reader GET https://api.example.com/: allow by read',
      'ok 4 - anonymous GET https://api.example.com/: deny no_matching_rule',
      'ok 5 - anonymous GET https://api.example.com/%2e%2e/: deny path_not_canonical',
      '5 passed, 0 failed',
      '',
    ])
    expect(code).toBe(0)
  })

  it.each([
    [
      'the decision is another',
      '{ client: reader, request: "POST https://api.example.com/", expect: allow }',
      'allow',
      'deny no_matching_rule',
    ],
    [
      'the reason is another',
      '{ request: "GET https://a.example.com/", expect: deny, reason: self }',
      'deny self',
      'deny no_matching_rule',
    ],
    [
      'another rule decided',
      '{ request: "GET https://a.example.com/", expect: deny, rule: read }',
      'deny by read',
      'deny no_matching_rule',
    ],
  ])('ends with 3 where %s', async (_, test, expected, actual) => {
    write(test)
    const { out, code } = await run(testCommand, ['-c', file])
    expect(out).toMatch(/^not ok 1 - /)
    expect(out).toContain(`\n  expected  ${expected}\n  actual    ${actual}\n  hint      `)
    expect(out).toMatch(/\n0 passed, 1 failed\n$/)
    expect(code).toBe(3)
  })

  it('says that there are none, and ends with 0', async () => {
    write()
    expect(await run(testCommand, ['-c', file])).toMatchObject({ code: 0, out: expect.stringContaining('no tests') })
  })

  it('prints JSON', async () => {
    write('{ request: "GET https://a.example.com/", expect: allow }')
    const { out, code } = await run(testCommand, ['-c', file, '--json'])
    expect(JSON.parse(out)).toMatchObject({
      passed: 0,
      failed: 1,
      tests: [{ ok: false, expected: { decision: 'allow' }, actual: { decision: 'deny', client: 'anonymous' } }],
    })
    expect(code).toBe(3)
  })

  it('ends with 1 for a configuration that is wrong', async () => {
    write('{ request: "GET https://a.example.com/", expect: perhaps }')
    expect(await run(testCommand, ['-c', file])).toMatchObject({ code: 1, out: '' })
  })
})
