// `explain` answers for one request and ends with 0 for allowed, 3 for denied, 1 where it can not be asked.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { explainCommand } from '../../src/cli/explain.ts'
import { run } from './capture.ts'

let folder: string
let file: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-explain-'))
  file = join(folder, 'mcp-egress.yaml')
  writeFileSync(
    file,
    `version: 1
clients: [{ name: github-mcp, source: [10.0.0.1] }]
rules:
  - { id: github-read, clients: [github-mcp], allow: { hosts: [api.github.com], methods: [GET], paths: [/user] } }
  - { id: mail, allow: { hosts: [mail.example.com] }, body: { json: [{ path: $.From, must: match, value: "*@a" }] } }
`,
  )
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('explain', () => {
  it('prints an allowed request and ends with 0', async () => {
    const { out, code } = await run(explainCommand, [
      '-c',
      file,
      '--client',
      'github-mcp',
      'GET',
      'https://api.github.com/user',
    ])
    expect(out).toBe(
      'allow GET https://api.github.com/user\n  client  github-mcp\n  rule    github-read\n  why     rule github-read matches\n  rules   allow github-read: matches\n',
    )
    expect(code).toBe(0)
  })

  it('prints what a denied one lacks and ends with 3', async () => {
    const args = ['-c', file, '--client', 'github-mcp', 'GET', 'https://api.github.com/user/emails']
    const { out, code, message } = await run(explainCommand, args)
    expect(out.split('\n')).toEqual([
      'deny GET https://api.github.com/user/emails',
      '  client  github-mcp',
      '  rule    none',
      '  why     no_matching_rule: no rule allows this request',
      '  hint    add /user/emails to the paths of rule github-read',
      '  rules   allow github-read: not for this path',
      '',
    ])
    expect({ code, message }).toEqual({ code: 3, message: '' })
  })

  it('names the conditions on the body', async () => {
    const { out } = await run(explainCommand, ['-c', file, 'POST', 'https://mail.example.com/'])
    expect(out).toContain('  body    $.From must match "*@a"\n')
  })

  it('prints JSON', async () => {
    const { out, code } = await run(explainCommand, ['-c', file, '--json', 'GET', 'https://api.github.com/user'])
    expect(JSON.parse(out)).toMatchObject({
      decision: 'deny',
      client: 'anonymous',
      reason: 'no_matching_rule',
      rule: null,
      considered: [{ rule: 'github-read', kind: 'allow', matched: false, missing: ['client'] }],
      considered_omitted: 0,
    })
    expect(code).toBe(3)
  })

  it('lists every rule that names the host, deny rules first, twenty at most', async () => {
    const many = join(folder, 'many.yaml')
    const denies = Array.from(
      { length: 21 },
      (_, index) => `  - { id: no-${index}, deny: { hosts: ["*"], paths: [/${index}] } }\n`,
    )
    const allows =
      '  - { id: put, clients: [anonymous], allow: { hosts: ["*.example.com"], methods: [PUT], paths: [/a] } }\n'
    writeFileSync(
      many,
      `version: 1\nrules:\n  - { id: all, allow: { hosts: [a.example.com] } }\n${allows}${denies.join('')}`,
    )
    const { out } = await run(explainCommand, ['-c', many, 'GET', 'https://a.example.com/'])
    const rows = out.split('\n').filter((line) => /: (?:not for|matches)|more$/.test(line) && !line.includes('why'))
    expect(rows[0]).toBe('  rules   deny no-0: not for this path')
    expect(rows.slice(-2)).toEqual(['          allow all: matches', '          and 3 more'])
    expect(rows).toHaveLength(21)
  })

  it('lists no rule where none is asked', async () => {
    const { out } = await run(explainCommand, ['-c', file, '--json', 'GET', 'http://127.0.0.1/'])
    expect(JSON.parse(out)).toMatchObject({ reason: 'address_denied', considered: [], considered_omitted: 0 })
    const bad = await run(explainCommand, ['-c', file, '--json', 'GET', 'https://mail.example.com/a/../b'])
    expect(JSON.parse(bad.out)).toMatchObject({ reason: 'path_not_canonical', considered: [] })
  })

  it('says in observe mode that nothing is held back', async () => {
    const observing = join(folder, 'observe.yaml')
    writeFileSync(observing, 'version: 1\nmode: observe\n')
    const { out, code } = await run(explainCommand, ['-c', observing, 'GET', 'https://a.example.com/'])
    expect(out).toContain('  mode    observe: the request is forwarded all the same\n')
    expect(code).toBe(3)
  })

  it('knows its clients', async () => {
    const ended = await run(explainCommand, ['-c', file, '--client', 'nobody', 'GET', 'https://a.example.com/'])
    expect(ended).toMatchObject({ code: 1, out: '', message: expect.stringContaining('anonymous, github-mcp') })
  })

  it('ends with 1 for a configuration that is wrong', async () => {
    const wrong = join(folder, 'wrong.yaml')
    writeFileSync(wrong, 'version: 2\n')
    const ended = await run(explainCommand, ['-c', wrong, 'GET', 'https://a.example.com/'])
    expect(ended).toMatchObject({ code: 1, out: '', message: expect.stringContaining('version') })
  })

  it('colours the decision where somebody sees it, and sends no other control character', async () => {
    const { out } = await run(explainCommand, ['-c', file, 'GET', 'https://a.example.com/\u001b[2J'], true)
    expect(out.startsWith('\u001b[31mdeny\u001b[0m GET ')).toBe(true)
    expect(out.match(/\u001b/g)).toHaveLength(2)
  })
})
