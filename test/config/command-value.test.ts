// A value may come from a command: what it prints, or a plain word on why there is none, and never a shell.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type CommandOutput, runCommand, startCommand } from '../../src/config/command-value.ts'

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-command-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
writeFileSync(join(folder, 'secret'), 'value\n')

const WAYS: [string, (command: string) => Promise<CommandOutput>][] = [
  ['waited for', async (command) => runCommand(command, folder)],
  ['beside other things', (command) => startCommand(command, folder)],
]

describe.each(WAYS)('a command, %s', (_way, run) => {
  it.each([
    ['its output', '/bin/cat secret', { kind: 'ok', text: 'value\n' }],
    ['words as they are', '/bin/echo  $HOME `id` ; ls', { kind: 'ok', text: '$HOME `id` ; ls\n' }],
    ['a relative path', 'cat secret', { kind: 'bad', why: 'a command begins with the absolute path of a program' }],
    ['no program', '/nowhere/x', { kind: 'bad', why: 'there is no such program' }],
    ['no permission', `${folder}/secret`, { kind: 'bad', why: 'the program may not be run' }],
    ['a failure', '/bin/cat not-there', { kind: 'bad', why: 'it ended with 1' }],
    ['too much', '/usr/bin/head -c 100000 /dev/zero', { kind: 'bad', why: 'it printed over 65536 bytes' }],
  ])('gives %s', async (_what, command, output) => {
    expect(await run(command)).toEqual(output)
  })

  it('is not waited for longer than 5 s', { timeout: 15_000 }, async () => {
    const since = performance.now()
    expect(await run('/bin/sleep 60')).toEqual({ kind: 'bad', why: 'it did not end within 5 s' })
    expect(performance.now() - since).toBeLessThan(10_000)
  })
})
