// The house keeps its shape: imports go down only, core stays pure, files stay small, say what they own and have their test.

import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative, resolve, sep } from 'node:path'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')

/** A room may import from itself and from any lower floor. Rooms of one floor do not know each other. */
const FLOORS: ReadonlyMap<string, number> = new Map([
  ['core', 0],
  ['config', 1],
  ['tls', 1],
  ['audit', 1],
  ['limits', 1],
  ['proxy', 2],
  ['admin', 3],
  ['jail', 3],
  ['cli', 4],
  ['register', 4],
])

/** Loaded into processes that are not ours: these rooms bring nothing of the house with them. */
const ALONE: ReadonlySet<string> = new Set(['register'])

/** What core may take from outside: each is a function of its arguments. An empty list: the whole package. */
const CORE_IMPORTS: ReadonlyMap<string, readonly string[]> = new Map([
  ['node:net', ['isIP', 'isIPv4', 'isIPv6']],
  ['node:url', ['domainToASCII', 'domainToUnicode']],
  ['node:buffer', []],
  ['node:crypto', ['createHash', 'createHmac', 'timingSafeEqual']],
  ['tldts', []],
])

/** Clocks, dice and the world outside, as they are written. */
const IMPURE =
  /\b(?:Date\.now|new Date\(\)|Math\.random|performance\.|process\.|setTimeout|setInterval|setImmediate|fetch\(|randomBytes|randomUUID|require\()/

const MAX_LINES = 300

interface Source {
  /** Relative to src, with forward slashes. */
  readonly path: string
  readonly text: string
}

function sources(root: string): Source[] {
  const folder = join(root, 'src')
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts'))
    .map((path) => ({ path: path.split(sep).join('/'), text: readFileSync(join(folder, path), 'utf8') }))
}

/** Every import and re-export, static and dynamic, types too: [names, specifier]. */
function imports(text: string): { names: string; from: string }[] {
  const statements = text.matchAll(/^(?:import|export)\s(?:type\s)?([^'"]*?)\s?from\s'([^']+)'/gms)
  const bare = text.matchAll(/^import\s()'([^']+)'/gm)
  const dynamic = text.matchAll(/\bimport\(()'([^']+)'\)/g)
  return [...statements, ...bare, ...dynamic].map(([, names = '', from = '']) => ({ names, from }))
}

function floorProblems({ path, text }: Source): string[] {
  const room = path.split('/')[0] ?? ''
  const floor = FLOORS.get(room)
  if (floor === undefined) return [`src/${path} is in no room of the house: ${[...FLOORS.keys()].join(', ')}`]
  return imports(text).flatMap(({ from }) => {
    if (!from.startsWith('.')) return []
    const target = relative('/src', resolve('/src', dirname(path), from)).split(sep)[0] ?? ''
    const below = FLOORS.get(target)
    if (target === room || (below !== undefined && below < floor && !ALONE.has(room))) return []
    return [`src/${path} imports ${from}: ${room} may not know ${target}`]
  })
}

function purityProblems({ path, text }: Source): string[] {
  if (!path.startsWith('core/')) return []
  const foreign = imports(text).flatMap(({ names, from }) => {
    if (from.startsWith('.')) return []
    const allowed = CORE_IMPORTS.get(from)
    if (allowed === undefined) return [`src/${path} imports ${from}: core may not`]
    const taken = names
      .replaceAll(/[{}]/g, '')
      .split(',')
      .map((name) => name.trim().replace(/^type /, ''))
      .filter((name) => name !== '')
    return taken
      .filter((name) => allowed.length > 0 && !allowed.includes(name))
      .map((name) => `src/${path} imports ${name} of ${from}: core may not`)
  })
  const code = text.split('\n').map((line) => line.replace(/^\s*\/?\*.*$|(?:^|\s)\/\/\s.*$/, ''))
  return [
    ...foreign,
    ...code.filter((line) => IMPURE.test(line)).map((line) => `src/${path} is not pure: ${line.trim()}`),
  ]
}

/** A file of types alone has nothing to run. */
function runs({ text }: Source): boolean {
  return /^export (?:async )?(?:function|const|let|class)\b/m.test(text)
}

function houseProblems(root: string): string[] {
  return sources(root).flatMap((source) => [
    ...floorProblems(source),
    ...purityProblems(source),
    ...(/^(?:#!.*\n)?\/\/ \S.*\S\n/.test(source.text)
      ? []
      : [`src/${source.path} does not open with a // sentence saying what it owns`]),
    ...(source.text.trimEnd().split('\n').length <= MAX_LINES
      ? []
      : [`src/${source.path} has more than ${MAX_LINES} lines`]),
  ])
}

function twinProblems(root: string): string[] {
  return sources(root)
    .filter((source) => source.path.startsWith('core/') && runs(source))
    .map(({ path }) => join('test', path.replace(/\.ts$/, '.test.ts')))
    .filter((twin) => !existsSync(join(root, twin)))
    .map((twin) => `${twin} is missing`)
}

describe('the house', () => {
  it('keeps its floors, its purity and its measure', () => {
    expect(houseProblems(ROOT)).toEqual([])
  })

  it('has a test of its own for every file of core', () => {
    expect(twinProblems(ROOT)).toEqual([])
  })

  it('is looked at whole', () => {
    const rooms = new Set(sources(ROOT).map(({ path }) => path.split('/')[0]))
    expect(rooms).toContain('core')
    expect(rooms).toContain('cli')
  })
})

describe('a planted fault is seen', () => {
  let copy: string

  beforeEach(() => {
    copy = mkdtempSync(join(tmpdir(), 'mcp-egress-floors-'))
    cpSync(join(ROOT, 'src'), join(copy, 'src'), { recursive: true })
  })

  afterEach(() => rmSync(copy, { recursive: true, force: true }))

  it.each<[string, string, string, string]>([
    ['an import that goes up', 'core/planted.ts', "import { EXIT } from '../cli/exit.ts'", 'core may not know cli'],
    [
      'an upward import of a type',
      'limits/planted.ts',
      "import type { Deps } from '../proxy/deps.ts'",
      'limits may not know proxy',
    ],
    [
      'an import that goes sideways',
      'audit/planted.ts',
      "import { x } from '../tls/leaf.ts'",
      'audit may not know tls',
    ],
    [
      'a sideways import on the third floor',
      'jail/planted.ts',
      "import { x } from '../admin/health.ts'",
      'jail may not know admin',
    ],
    ['a re-export that goes up', 'config/planted.ts', "export * from '../cli/exit.ts'", 'config may not know cli'],
    [
      'a dynamic import that goes up',
      'proxy/planted.ts',
      "export const x = import('../admin/health.ts')",
      'proxy may not know admin',
    ],
    [
      'an import over several lines',
      'core/planted.ts',
      "import {\n  EXIT,\n} from '../cli/exit.ts'",
      'core may not know cli',
    ],
    [
      'the visitor that brings the house along',
      'register/planted.ts',
      "import { x } from '../core/address.ts'",
      'register may not know core',
    ],
    ['a way out of src', 'cli/planted.ts', "import { x } from '../../test/support/netns.ts'", 'cli may not know ..'],
    ['a room nobody planned', 'utils/planted.ts', 'export const x = 1', 'in no room of the house'],
    [
      'core that reads files',
      'core/planted.ts',
      "import { readFileSync } from 'node:fs'",
      'imports node:fs: core may not',
    ],
    [
      'core that opens sockets',
      'core/planted.ts',
      "import { connect, isIP } from 'node:net'",
      'imports connect of node:net: core may not',
    ],
    [
      'core that looks at the clock',
      'core/planted.ts',
      'export const now = Date.now()',
      'is not pure: export const now',
    ],
    [
      'core that rolls dice',
      'core/planted.ts',
      "import { randomBytes } from 'node:crypto'",
      'imports randomBytes of node:crypto',
    ],
  ])('%s', (_sentence, path, line, problem) => {
    mkdirSync(join(copy, 'src', dirname(path)), { recursive: true })
    writeFileSync(join(copy, 'src', path), `// Planted by a test.\n\n${line}\n`)
    expect(houseProblems(copy).join('\n')).toContain(problem)
  })

  it.each<[string, string, string]>([
    ['a file without its sentence', 'export const x = 1\n', 'does not open with a // sentence'],
    ['a file that has grown too long', `// Long.\n${'export {}\n'.repeat(MAX_LINES)}`, `more than ${MAX_LINES} lines`],
  ])('%s', (_sentence, text, problem) => {
    writeFileSync(join(copy, 'src/core/planted.ts'), text)
    expect(houseProblems(copy).join('\n')).toContain(problem)
  })

  it('a file of core without its test', () => {
    writeFileSync(join(copy, 'src/core/planted.ts'), '// Planted.\nexport const x = 1\n')
    writeFileSync(join(copy, 'src/core/shape.ts'), '// Types alone.\nexport interface Shape {}\n')
    const missing = twinProblems(copy)
    expect(missing).toContain('test/core/planted.test.ts is missing')
    expect(missing).not.toContain('test/core/shape.test.ts is missing')
  })
})
