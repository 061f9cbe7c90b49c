// `validate-config` answers yes in one line, or no with everything that is wrong.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { validateConfigCommand } from '../../src/cli/validate-config.ts'
import { run } from './capture.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-validate-'))
  file = join(folder, 'mcp-egress.yaml')
})
afterEach(() => {
  vi.restoreAllMocks()
  rmSync(folder, { recursive: true, force: true })
})

const GOOD = 'version: 1\nrules:\n  - { id: a, allow: { hosts: [a.example.com] } }\n'
const BAD = 'version: 1\nmod: enforce\nadmin: { token: hunter2 }\n'

describe('validate-config', () => {
  it('sums up a valid file and ends with 0', async () => {
    writeFileSync(file, GOOD)
    const { out, err, code } = await run(validateConfigCommand, ['-c', file])
    expect(out).toMatch(/: valid: enforce, 1 rule, 0 clients, 0 tests, hash [0-9a-f]{12}\n$/)
    expect({ err, code }).toEqual({ err: '', code: 0 })
  })

  it('finds the file of the working directory', async () => {
    writeFileSync(file, GOOD)
    vi.spyOn(process, 'cwd').mockReturnValue(folder)
    expect(await run(validateConfigCommand, [])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^mcp-egress\.yaml: valid/),
    })
  })

  it('judges what the environment alone says', async () => {
    vi.spyOn(process, 'cwd').mockReturnValue(folder)
    vi.stubEnv('MCP_EGRESS_RULES', '[{ id: a, allow: { hosts: [a.example.com] } }]')
    expect(await run(validateConfigCommand, [])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^the environment: valid: enforce, 1 rule,/),
    })
    vi.unstubAllEnvs()
  })

  it('asks for a file where there is none', async () => {
    vi.spyOn(process, 'cwd').mockReturnValue(folder)
    expect(await run(validateConfigCommand, [])).toMatchObject({ code: 1, message: expect.stringContaining('-c FILE') })
  })

  it('says that a file is not there', async () => {
    expect(await run(validateConfigCommand, ['-c', file])).toMatchObject({
      code: 1,
      err: expect.stringContaining('there is no such file'),
    })
  })

  it('prints every problem with its line and its fix, no secret, and ends with 1', async () => {
    writeFileSync(file, BAD)
    const { out, err, code, message } = await run(validateConfigCommand, ['-c', file])
    expect(err).toBe(
      [
        `${file}:2:1: mod: unknown key`,
        '    2 | mod: enforce',
        '      | ^',
        '  fix: did you mean mode?',
        `${file}:3:17: admin.token: a secret stands in the file`,
        '    3 | admin: { token: ***',
        '      |                 ^',
        '  fix: write ${NAME} and set that variable, or file:PATH; and replace this secret, it has been written down',
        '',
      ].join('\n'),
    )
    expect({ out, code }).toEqual({ out: '', code: 1 })
    expect(message).toMatch(/: 2 problems$/)
  })

  it('prints JSON for both answers', async () => {
    writeFileSync(file, BAD)
    const bad = await run(validateConfigCommand, ['-c', file, '--json'])
    expect(bad).toMatchObject({ code: 1, err: '', message: '' })
    expect(JSON.parse(bad.out)).toMatchObject({ file, valid: false, problems: [{ line: 2, at: 'mod' }, { line: 3 }] })
    expect(bad.out).not.toContain('hunter2')
    writeFileSync(file, GOOD)
    const good = await run(validateConfigCommand, ['-c', file, '--json'])
    expect(JSON.parse(good.out)).toMatchObject({
      file,
      valid: true,
      warnings: [],
      hash: expect.stringMatching(/^[0-9a-f]{64}$/),
    })
  })

  it('passes a file with a warning, and prints it', async () => {
    writeFileSync(file, 'version: 1\nupstream: { trust: [system, not-there.pem] }\n')
    const { err, code } = await run(validateConfigCommand, ['-c', file])
    expect(err).toContain(`warning: ${file}:2:29: upstream.trust[1]: there is no file`)
    expect(code).toBe(0)
  })

  const DOUBTFUL = `${GOOD}  - { id: no, deny: { hosts: ["**.example.com"] } }\n`

  it('warns of what can hardly be meant, with its line and the fix, and ends with 0', async () => {
    writeFileSync(file, DOUBTFUL)
    const { err, out, code } = await run(validateConfigCommand, ['-c', file])
    expect(err).toBe(
      [
        `warning: ${file}:3:5: rules[0]: unreachable: rule no denies all of its requests`,
        '    3 |   - { id: a, allow: { hosts: [a.example.com] } }',
        '      |     ^',
        '  fix: remove rule a, or narrow rule no',
        '',
      ].join('\n'),
    )
    expect(out).toContain(': valid: enforce, 2 rules,')
    expect(code).toBe(0)
  })

  it('ends with 1 for a warning where it is strict', async () => {
    writeFileSync(file, DOUBTFUL)
    const strict = await run(validateConfigCommand, ['-c', file, '--strict'])
    expect(strict).toMatchObject({ code: 1, message: `${file}: 1 warning, and --strict` })
    const inJson = await run(validateConfigCommand, ['-c', file, '--strict', '--json'])
    expect(inJson).toMatchObject({ code: 1, message: '' })
    expect(JSON.parse(inJson.out)).toMatchObject({ valid: true, warnings: [{ line: 3, at: 'rules[0]' }] })
    writeFileSync(file, GOOD)
    expect(await run(validateConfigCommand, ['-c', file, '--strict'])).toMatchObject({ code: 0, message: '' })
  })
})
