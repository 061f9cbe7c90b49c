// `mcp-egress init`: writes a first configuration and makes the CA.

import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Command } from 'commander'
import { EXIT, ExitError } from './exit.ts'
import { json, type Output, processOutput } from './output.ts'
import { STARTER } from './starter.ts'

/** @param createCa makes the CA in a folder unless it is there, and returns its fingerprint. */
export function initCommand(createCa: (directory: string) => string, output: Output = processOutput()): Command {
  return new Command('init')
    .description('write a commented starter mcp-egress.yaml (default deny) and create the CA')
    .argument('[dir]', 'folder, created when missing', '.')
    .option('--json', 'print JSON')
    .action((directory: string, flags: { readonly json?: true }) => {
      const folder = resolve(directory)
      const config = join(folder, 'mcp-egress.yaml')
      if (existsSync(config))
        throw new ExitError(EXIT.usage, `${config} is there already\n  fix: remove it first, or name another folder`)
      const ca = join(folder, 'certs')
      const fingerprint = failing(() => {
        mkdirSync(folder, { recursive: true })
        const made = createCa(ca)
        // `wx`: of two that start at once, one writes and the other fails.
        writeFileSync(config, STARTER, { flag: 'wx' })
        return made
      })
      if (flags.json) output.out(json({ config, ca, fingerprint }))
      else output.out(nextSteps(directory, config, ca, fingerprint))
    })
}

function failing<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    throw new ExitError(EXIT.failure, `mcp-egress: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function nextSteps(directory: string, config: string, ca: string, fingerprint: string): string {
  const option = directory === '.' ? '' : ` -c ${shellQuoted(config)}`
  return `wrote    ${config}
CA       ${join(ca, 'ca.pem')}
SHA-256  ${fingerprint}

Nothing may leave yet. Next:
  1. open ${config} and write the first rule
  2. mcp-egress validate-config${option}
  3. mcp-egress explain${option} GET https://api.example.com/
  4. mcp-egress proxy${option}
`
}

function shellQuoted(text: string): string {
  return /^[A-Za-z0-9_./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
