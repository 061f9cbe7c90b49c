// What the documents say is true: snippets load, commands and flags exist, links lead somewhere.

import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'

const ROOT = new URL('../../', import.meta.url).pathname
const PAGES = [
  'README.md',
  'SECURITY.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]
const text = (page: string): string => readFileSync(join(ROOT, page), 'utf8')
const asked = new Map<string, string>()
function help(...verb: string[]): string {
  const key = verb.join(' ')
  const known =
    asked.get(key) ??
    execFileSync(process.execPath, [join(ROOT, 'dist/cli/main.js'), ...verb, '--help'], { encoding: 'utf8' })
  asked.set(key, known)
  return known
}
/** Only what stands in a code fence is a command. */
const fenced = (page: string): string =>
  [...text(page).matchAll(/```[a-z]*\n([\s\S]*?)```/g)].map((match) => match[1]).join('\n')

describe.each(PAGES)('%s', (page) => {
  it('links to files that exist', () => {
    const links = [...text(page).matchAll(/\]\((?!https?:|#)([^)#]+)/g)].map((match) => match[1] ?? '')
    const missing = links.filter((link) => !existsSync(join(ROOT, dirname(page), link)))
    expect(missing).toEqual([])
  })

  it('shows only verbs and flags that the command has', () => {
    const shown = [
      ...fenced(page).matchAll(/^(?:sudo )?(?:eval "\$\()?(?:npx )?mcp-egress ([a-z-]+)(?: ([a-z]+))?([^\n#]*)/gm),
    ]
    for (const [, verb = '', sub, rest = ''] of shown) {
      const known = help()
      expect(known).toContain(verb)
      const words = sub !== undefined && help(verb).includes(`${sub} `) ? [verb, sub] : [verb]
      for (const [flag] of rest.matchAll(/--[a-z-]+/g)) expect(help(...words)).toContain(flag)
    }
  })
})

/** What a snippet takes from the machine it would run on: variables, files and commands. */
const FROM_OUTSIDE = /^the environment variable |^the command | can not be read/

it.each(PAGES.filter((page) => /^```yaml\nversion: 1/m.test(text(page))))(
  'every whole configuration in %s loads',
  (page) => {
    const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-docs-'))
    try {
      const blocks = [...text(page).matchAll(/```yaml\n(version: 1\n[\s\S]*?)```/g)].map((match) => match[1] ?? '')
      expect(blocks.length).toBeGreaterThan(0)
      for (const block of blocks) {
        const file = join(folder, 'mcp-egress.yaml')
        writeFileSync(file, block)
        const loaded = loadConfig(file, {})
        const problems = loaded.ok ? [] : loaded.problems
        expect(problems.filter(({ message }) => !FROM_OUTSIDE.test(message))).toEqual([])
      }
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  },
)

it('every verb in the table of README exists, and every verb is in the table', () => {
  const table = [...text('README.md').matchAll(/^\| `([a-z-]+)/gm)].map((match) => match[1])
  const verbs = [...help().matchAll(/^ {2}([a-z-]+)(?: |\|)/gm)]
    .map((match) => match[1])
    .filter((verb) => verb !== 'help')
  expect(new Set(table)).toEqual(new Set(verbs.filter((verb) => !verb?.startsWith('-'))))
})
