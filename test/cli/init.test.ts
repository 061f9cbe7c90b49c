// `init` leaves a folder in which the proxy can start, and never touches a configuration that is there.

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { initCommand } from '../../src/cli/init.ts'
import type { Output } from '../../src/cli/output.ts'
import { STARTER } from '../../src/cli/starter.ts'
import { loadConfig } from '../../src/config/load.ts'
import { run } from './capture.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'mcp-egress-init-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const init =
  (made: string[] = []) =>
  (output: Output) =>
    initCommand((directory) => {
      made.push(directory)
      return 'AB:CD'
    }, output)

describe('init', () => {
  it('writes a configuration, makes the CA where it says, and tells how to go on', async () => {
    const made: string[] = []
    const target = join(folder, 'new/one')
    const { out, code } = await run(init(made), [target])
    const loaded = loadConfig(join(target, 'mcp-egress.yaml'), {})
    expect(loaded.ok && made).toEqual([loaded.ok && loaded.config.caDirectory])
    expect(out).toContain('AB:CD')
    expect(out).toContain(`mcp-egress validate-config -c ${target}/mcp-egress.yaml\n`)
    expect(code).toBe(0)
  })

  it('quotes a folder for the shell', async () => {
    const target = join(folder, "it's")
    const { out } = await run(init(), [target])
    expect(out).toContain(`-c '${folder}/it'\\''s/mcp-egress.yaml'`)
  })

  it('prints JSON', async () => {
    const { out } = await run(init(), [folder, '--json'])
    expect(JSON.parse(out)).toEqual({
      config: join(folder, 'mcp-egress.yaml'),
      ca: join(folder, 'certs'),
      fingerprint: 'AB:CD',
    })
  })

  it('overwrites nothing and makes no CA beside what is there', async () => {
    const made: string[] = []
    writeFileSync(join(folder, 'mcp-egress.yaml'), 'version: 1\n')
    expect(await run(init(made), [folder])).toMatchObject({
      code: 1,
      message: expect.stringContaining('is there already'),
    })
    expect(readFileSync(join(folder, 'mcp-egress.yaml'), 'utf8')).toBe('version: 1\n')
    expect(made).toEqual([])
  })

  it('leaves no configuration behind when the CA can not be made, and ends with 2', async () => {
    const failing = (output: Output) =>
      initCommand(() => {
        throw new Error('no entropy')
      }, output)
    expect(await run(failing, [folder])).toMatchObject({ code: 2, message: 'mcp-egress: no entropy' })
    expect(existsSync(join(folder, 'mcp-egress.yaml'))).toBe(false)
  })

  it('ends with 2 where a folder can not be made', async () => {
    writeFileSync(join(folder, 'file'), '')
    expect(await run(init(), [join(folder, 'file/below')])).toMatchObject({ code: 2 })
  })
})

describe('the starter', () => {
  const load = (text: string) => {
    mkdirSync(folder, { recursive: true })
    const file = join(folder, 'mcp-egress.yaml')
    writeFileSync(file, text)
    return loadConfig(file, { OTHER_SERVER_TOKEN: 'a-token-of-some-length' })
  }

  it('is default deny', () => {
    const loaded = load(STARTER)
    expect(loaded.ok && loaded.config).toMatchObject({ mode: 'enforce', rules: [], clients: [] })
    expect(loaded.ok && loaded.warnings).toEqual([])
  })

  it('says what the defaults say', () => {
    const [starter, bare] = [load(STARTER), load('version: 1\n')]
    expect(starter.ok && starter.config.hash).toBe(bare.ok && bare.config.hash)
  })

  it('is valid with its examples taken out of their comments', () => {
    const uncommented = STARTER.replaceAll(/^# ((?:clients|rules|tests):| {2,}\S.*)$/gm, '$1')
    const loaded = load(uncommented)
    expect(loaded.ok ? [] : loaded.problems).toEqual([])
    expect(loaded.ok && [loaded.config.clients.length, loaded.config.rules.length, loaded.config.tests.length]).toEqual(
      [2, 2, 2],
    )
  })
})
