// Reads a GraphQL document: its operations, and the fields of the root that each asks for, wherever a fragment hides them.

import { advance, fail, type Lexer, startLexer, type TokenKind } from './graphql-lexer.ts'

export type OperationType = 'query' | 'mutation' | 'subscription'

export interface Operation {
  readonly operation: OperationType
  /** Null: it is anonymous. */
  readonly name: string | null
  /** By their names, not by their aliases, each once. */
  readonly fields: ReadonlySet<string>
}

/** `offset` counts UTF-16 code units. */
export type DocumentRead =
  | { readonly kind: 'ok'; readonly operations: readonly Operation[] }
  | { readonly kind: 'bad'; readonly why: string; readonly offset: number }

/** Operations and fragments of one document. */
export const MAX_DEFINITIONS = 64
/** Of selections, lists and objects within each other. */
const MAX_DEPTH = 64

/** What a selection set asks for at its own level: fields, and fragments by name. */
interface Root {
  readonly fields: Set<string>
  readonly spreads: Set<string>
}

interface Definitions {
  readonly operations: (Root & { readonly operation: OperationType; readonly name: string | null })[]
  readonly fragments: Map<string, Root>
}

const TYPES: ReadonlySet<string> = new Set<OperationType>(['query', 'mutation', 'subscription'])

/** A document of nothing but operations and fragments (GraphQL September 2025, §2.2). */
export function readDocument(document: string): DocumentRead {
  const lexer = startLexer(document)
  const definitions: Definitions = { operations: [], fragments: new Map() }
  const { operations, fragments } = definitions
  while (lexer.kind !== 'end' && lexer.kind !== 'bad') {
    if (operations.length + fragments.size === MAX_DEFINITIONS) fail(lexer, `more than ${MAX_DEFINITIONS} definitions`)
    else readDefinition(lexer, definitions)
  }
  if (lexer.kind === 'end' && operations.length === 0) fail(lexer, 'no operation')
  const resolved = operations.map(({ operation, name, ...root }) => {
    const fields = new Set<string>()
    resolve(lexer, root, fragments, { fields, entered: new Set(), left: new Set() })
    return { operation, name, fields }
  })
  if (lexer.kind === 'bad') return { kind: 'bad', why: lexer.why, offset: lexer.at }
  return { kind: 'ok', operations: resolved }
}

function readDefinition(lexer: Lexer, { operations, fragments }: Definitions): void {
  if (lexer.kind === '{') {
    const root = newRoot()
    operations.push({ operation: 'query', name: null, ...root })
    return readSelections(lexer, 1, root)
  }
  take(lexer, 'string')
  const word = readName(lexer)
  if (word === 'fragment') return readFragment(lexer, fragments)
  if (!TYPES.has(word)) return void fail(lexer, 'a definition that is neither an operation nor a fragment')
  const name = lexer.kind === 'name' ? readName(lexer) : null
  const root = newRoot()
  operations.push({ operation: word as OperationType, name, ...root })
  readVariables(lexer)
  readDirectives(lexer, false)
  readSelections(lexer, 1, root)
}

function readFragment(lexer: Lexer, fragments: Map<string, Root>): void {
  const name = readName(lexer)
  if (name === 'on') return void fail(lexer, 'a fragment without a name')
  // SECURITY: some servers take the first of two, some the last.
  if (fragments.has(name)) return void fail(lexer, 'two fragments of one name')
  const root = newRoot()
  fragments.set(name, root)
  if (readName(lexer) !== 'on') return void fail(lexer, 'a fragment without its type')
  readName(lexer)
  readDirectives(lexer, false)
  readSelections(lexer, 1, root)
}

function readVariables(lexer: Lexer): void {
  if (!take(lexer, '(')) return
  do {
    take(lexer, 'string')
    expect(lexer, '$')
    readName(lexer)
    expect(lexer, ':')
    readType(lexer, 1)
    if (take(lexer, '=')) readValue(lexer, 1, true)
    readDirectives(lexer, true)
  } while (goesOn(lexer, ')'))
}

function readType(lexer: Lexer, depth: number): void {
  if (tooDeep(lexer, depth)) return
  if (take(lexer, '[')) {
    readType(lexer, depth + 1)
    expect(lexer, ']')
  } else readName(lexer)
  take(lexer, '!')
}

/** `root` null: what is asked for here is not asked of the root. */
function readSelections(lexer: Lexer, depth: number, root: Root | null): void {
  if (tooDeep(lexer, depth)) return
  expect(lexer, '{')
  do {
    if (take(lexer, '...')) readSpread(lexer, depth, root)
    else readField(lexer, depth, root)
  } while (goesOn(lexer, '}'))
}

function readField(lexer: Lexer, depth: number, root: Root | null): void {
  const nameOrAlias = readName(lexer)
  const name = take(lexer, ':') ? readName(lexer) : nameOrAlias
  root?.fields.add(name)
  readArguments(lexer, depth, false)
  readDirectives(lexer, false)
  if (lexer.kind === '{') readSelections(lexer, depth + 1, null)
}

/** A fragment by name, or one that is written out here, whose selections are of the same level. */
function readSpread(lexer: Lexer, depth: number, root: Root | null): void {
  const name = lexer.kind === 'name' ? readName(lexer) : null
  if (name !== null && name !== 'on') {
    root?.spreads.add(name)
    return readDirectives(lexer, false)
  }
  if (name === 'on') readName(lexer)
  readDirectives(lexer, false)
  readSelections(lexer, depth + 1, root)
}

function readDirectives(lexer: Lexer, constant: boolean): void {
  while (take(lexer, '@')) {
    readName(lexer)
    readArguments(lexer, 1, constant)
  }
}

function readArguments(lexer: Lexer, depth: number, constant: boolean): void {
  if (!take(lexer, '(')) return
  do readMember(lexer, depth, constant)
  while (goesOn(lexer, ')'))
}

function readMember(lexer: Lexer, depth: number, constant: boolean): void {
  readName(lexer)
  expect(lexer, ':')
  readValue(lexer, depth, constant)
}

function readValue(lexer: Lexer, depth: number, constant: boolean): void {
  if (tooDeep(lexer, depth)) return
  if (take(lexer, '[')) {
    while (goesOn(lexer, ']')) readValue(lexer, depth + 1, constant)
  } else if (take(lexer, '{')) {
    while (goesOn(lexer, '}')) readMember(lexer, depth + 1, constant)
  } else if (lexer.kind === '$' && !constant) {
    advance(lexer)
    readName(lexer)
  } else if (!take(lexer, 'number') && !take(lexer, 'string')) readName(lexer)
}

function tooDeep(lexer: Lexer, depth: number): boolean {
  if (depth > MAX_DEPTH) fail(lexer, `deeper than ${MAX_DEPTH} levels`)
  return lexer.kind === 'bad'
}

/** The empty string where there is none, which is the end of the reading. */
function readName(lexer: Lexer): string {
  const { kind, name } = lexer
  if (kind !== 'name') {
    fail(lexer, 'something else where a name belongs')
    return ''
  }
  advance(lexer)
  return name
}

function take(lexer: Lexer, kind: TokenKind): boolean {
  if (lexer.kind !== kind) return false
  advance(lexer)
  return true
}

function expect(lexer: Lexer, kind: TokenKind): void {
  if (!take(lexer, kind)) fail(lexer, `something else where ${kind} belongs`)
}

/** Steps over `close`; false there, and where nothing can be read any more. */
function goesOn(lexer: Lexer, close: TokenKind): boolean {
  return !take(lexer, close) && lexer.kind !== 'bad'
}

const newRoot = (): Root => ({ fields: new Set(), spreads: new Set() })

interface Walk {
  readonly fields: Set<string>
  /** Fragments that the walk is inside of, and those that it is done with. */
  readonly entered: Set<string>
  readonly left: Set<string>
}

/** Adds the fields of `root` and of the fragments it spreads, each of which is entered once. */
function resolve(lexer: Lexer, root: Root, fragments: ReadonlyMap<string, Root>, walk: Walk): void {
  for (const field of root.fields) walk.fields.add(field)
  for (const name of root.spreads) {
    const fragment = fragments.get(name)
    if (fragment === undefined || walk.entered.has(name)) {
      fail(lexer, fragment === undefined ? 'a fragment that is not there' : 'a fragment that spreads itself')
      return
    }
    if (walk.left.has(name)) continue
    walk.entered.add(name)
    resolve(lexer, fragment, fragments, walk)
    walk.entered.delete(name)
    walk.left.add(name)
  }
}
