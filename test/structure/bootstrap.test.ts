// scripts/bootstrap.mjs on a clone: what it installs and builds, when it stays silent, and how it says no.

import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** Stands for npm: notes its arguments and leaves the folder that npm leaves. */
const NPM = `#!/bin/sh
echo "npm $*" >> asked
rm -rf node_modules && mkdir -p node_modules/a
cp package-lock.json node_modules/.package-lock.json
echo npm says something
`

/** Stands for the compiler. */
const BUILD = `
import { appendFileSync, existsSync, mkdirSync, writeFileSync } from 'node:fs'
appendFileSync('asked', 'build\\n')
if (existsSync('broken')) process.exit(2)
mkdirSync('dist/cli', { recursive: true })
writeFileSync('dist/cli/main.js', '')
console.log('the compiler says something')
`

interface Ended {
  readonly status: number | null
  readonly stdout: string
  readonly stderr: string
}

let clone: string
let minutes = 0

function bootstrap(stage: string, ...flags: string[]): Ended {
  const env = { ...process.env, PATH: `${join(clone, 'tools')}:${process.env['PATH'] ?? ''}` }
  Reflect.deleteProperty(env, 'npm_execpath')
  return spawnSync(process.execPath, [...flags, join(clone, 'scripts/bootstrap.mjs'), stage], {
    encoding: 'utf8',
    env,
    cwd: tmpdir(),
  })
}

/** What was run since the last time. */
function asked(): string[] {
  const file = join(clone, 'asked')
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : []
  rmSync(file, { force: true })
  return lines
}

/** Changes a file, visibly later than anything before. */
function change(path: string, text: string): void {
  writeFileSync(join(clone, path), text)
  minutes += 1
  const later = new Date(Date.now() + minutes * 60_000)
  utimesSync(join(clone, path), later, later)
}

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), 'mcp-egress-clone-'))
  for (const folder of ['src/cli', 'scripts', 'tools']) mkdirSync(join(clone, folder), { recursive: true })
  cpSync(join(ROOT, 'scripts/bootstrap.mjs'), join(clone, 'scripts/bootstrap.mjs'))
  writeFileSync(join(clone, 'scripts/build.mjs'), BUILD)
  writeFileSync(join(clone, 'tools/npm'), NPM, { mode: 0o755 })
  writeFileSync(join(clone, 'src/cli/main.ts'), '// one\n')
  writeFileSync(join(clone, 'src/cli/old.ts'), '// two\n')
  writeFileSync(
    join(clone, 'package-lock.json'),
    JSON.stringify({ packages: { '': {}, 'node_modules/a': { version: '1.0.0' } } }),
  )
})

afterEach(() => rmSync(clone, { recursive: true, force: true }))

const INSTALL = 'npm ci --ignore-scripts --include=dev --no-audit --no-fund --loglevel=error'

describe('start', () => {
  it('on a fresh clone installs without install scripts, then builds, and leaves stdout alone', () => {
    const { status, stdout, stderr } = bootstrap('start')
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
    expect(stderr).toContain('npm says something')
    expect(asked()).toEqual([INSTALL, 'build'])
  })

  it('is silent the second time', () => {
    bootstrap('start')
    asked()
    expect(bootstrap('start')).toMatchObject({ status: 0, stdout: '', stderr: '' })
    expect(asked()).toEqual([])
  })

  it.each<[string, () => void, string[]]>([
    ['a changed source', () => change('src/cli/main.ts', '// changed\n'), ['build']],
    ['a removed source', () => rmSync(join(clone, 'src/cli/old.ts')), ['build']],
    ['a missing dist', () => rmSync(join(clone, 'dist'), { recursive: true }), ['build']],
    [
      'a changed lock file',
      () => change('package-lock.json', '{"packages":{"node_modules/a":{"version":"1.0.1"}}}'),
      [INSTALL, 'build'],
    ],
    ['missing node_modules', () => rmSync(join(clone, 'node_modules'), { recursive: true }), [INSTALL, 'build']],
  ])('answers %s', (_sentence, event, steps) => {
    bootstrap('start')
    asked()
    event()
    expect(bootstrap('start').status).toBe(0)
    expect(asked()).toEqual(steps)
  })

  it('does not install again what was installed by hand', () => {
    mkdirSync(join(clone, 'node_modules/a'), { recursive: true })
    writeFileSync(join(clone, 'node_modules/.package-lock.json'), '{"packages":{"node_modules/a":{"version":"1.0.0"}}}')
    bootstrap('start')
    expect(asked()).toEqual(['build'])
  })

  it('installs from a lock file without every platform in it, which npm ci refuses', () => {
    change(
      'package-lock.json',
      '{"packages":{"node_modules/a":{"version":"1.0.0","optionalDependencies":{"a-darwin":"1.0.0"}}}}',
    )
    expect(bootstrap('start').status).toBe(0)
    expect(asked()).toEqual([INSTALL.replace('npm ci', 'npm install --no-save'), 'build'])
  })

  it('does not take other versions than the lock file names', () => {
    writeFileSync(
      join(clone, 'tools/npm'),
      `${NPM}echo '{"packages":{"node_modules/a":{"version":"6.6.6"}}}' > node_modules/.package-lock.json\n`,
    )
    const { status, stderr } = bootstrap('start')
    expect(status).toBe(1)
    expect(stderr).toContain('npm installed other versions than package-lock.json names')
    expect(asked()).toEqual([INSTALL])
  })

  it('fails when the build does, and tries again the next time', () => {
    writeFileSync(join(clone, 'broken'), '')
    expect(bootstrap('start')).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('the build failed (exit code 2)'),
    })
    rmSync(join(clone, 'broken'))
    asked()
    expect(bootstrap('start').status).toBe(0)
    expect(asked()).toEqual(['build'])
  })

  it('names the fix when the registry can not be reached', () => {
    writeFileSync(join(clone, 'tools/npm'), '#!/bin/sh\nexit 1\n', { mode: 0o755 })
    const { status, stderr } = bootstrap('start')
    expect(status).toBe(1)
    expect(stderr).toContain('Try it by hand: npm ci --ignore-scripts')
  })

  it.each(['18.20.0', '20.18.3'])('refuses Node %s by name', (version) => {
    const old = join(clone, 'old.cjs')
    writeFileSync(
      old,
      `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '${version}' } })`,
    )
    const { status, stderr } = bootstrap('start', '--require', old)
    expect(status).toBe(1)
    expect(stderr).toContain(`needs Node 20.19 or newer and this is ${version}`)
    expect(asked()).toEqual([])
  })

  it('goes on without the lab when the lab can not be made', () => {
    mkdirSync(join(clone, 'examples/lab'), { recursive: true })
    writeFileSync(
      join(clone, 'examples/lab/prepare.mjs'),
      "export function prepareLab() { throw new Error('read-only') }",
    )
    expect(bootstrap('start')).toMatchObject({
      status: 0,
      stdout: '',
      stderr: expect.stringContaining('everything else works: read-only'),
    })
  })
})

it('a stage that is not known is a usage error', () => {
  expect(bootstrap('stop')).toMatchObject({
    status: 1,
    stdout: '',
    stderr: 'bootstrap: usage: node scripts/bootstrap.mjs start|test\n',
  })
})

describe('test', () => {
  /** Hides root and, with it, apt-get: a test must not install packages on the machine it runs on. */
  const UNPRIVILEGED = 'process.getuid = () => 1000\n'

  it('says loudly what an ordinary user can not test, and leaves it for the tests', () => {
    writeFileSync(join(clone, 'unprivileged.cjs'), UNPRIVILEGED)
    const { status, stdout, stderr } = bootstrap('test', '--require', join(clone, 'unprivileged.cjs'))
    expect({ status, stdout }).toEqual({ status: 0, stdout: '' })
    expect(stderr).toContain('SKIPPED, and so NOT tested here:')
    expect(stderr).toContain('network namespace: the tests do not run as root')
    const left = JSON.parse(readFileSync(join(clone, 'node_modules/.bootstrap-skipped.json'), 'utf8')) as {
      skipped: { because: string }[]
    }
    expect(left.skipped.map(({ because }) => because)).toContain('the tests do not run as root')
  })
})
