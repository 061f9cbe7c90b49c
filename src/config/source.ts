// The text of a configuration: parsed strictly as one YAML 1.2 document, and asked where a value stands.

import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit, Parser } from 'yaml'
import type { Document, Node, Range } from 'yaml'
import type { Finding, Place, Problem } from './problem.ts'
import { tooDeep } from './nesting.ts'
import { formatPlace } from './problem.ts'
import { aliasFix, syntaxWords } from './syntax-words.ts'

/** A parsed file. `value` is plain data; it is undefined where the text is not YAML at all. */
export interface Source {
  readonly value: unknown
  readonly problems: readonly Problem[]
  /** Gives a finding the line and column of its place, or of the nearest enclosing value that exists. */
  locate(finding: Finding): Problem
}

/** What the yaml package calls a fault, in our words; anything else keeps the package's own first line. */
const SYNTAX: Readonly<Record<string, { message: string; fix: string }>> = {
  DUPLICATE_KEY: { message: 'this key appears twice', fix: 'keep one of the two' },
  MULTIPLE_DOCS: {
    message: 'the file holds more than one document',
    fix: 'remove everything from the second `---` on',
  },
  TAG_RESOLVE_FAILED: { message: 'unknown tag', fix: 'remove the tag' },
  TAB_AS_INDENT: { message: 'a tab is used for indentation', fix: 'indent with spaces' },
}

/** Of an alias, how much is looked at to tell what it was to be. */
const MAX_ALIAS = 256

/** More than any setting has. */
const MAX_DEPTH = 64

export function parseSource(text: string): Source {
  const lines = new LineCounter()
  const tokenized = new LineCounter()
  const deep = tooDeep([...new Parser(tokenized.addNewLine).parse(text)], MAX_DEPTH)
  if (deep !== null) {
    const message = `nested deeper than ${MAX_DEPTH} levels`
    const problem = { ...position(tokenized, deep), at: '', message, fix: 'no setting is nested so deep' }
    return { ...NO_SOURCE, value: undefined, problems: [problem] }
  }
  const document = parseDocument(text, {
    version: '1.2',
    schema: 'core',
    uniqueKeys: true,
    strict: true,
    prettyErrors: false,
    // Warnings are problems here, and are reported as such.
    logLevel: 'error',
    lineCounter: lines,
  })
  const written = text.split(/\r?\n/)
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => {
    const place = position(lines, behindText(text, error.pos[0]))
    const words = SYNTAX[error.code] ?? syntaxWords(error.message.split('\n')[0] ?? '', written[place.line - 1] ?? '')
    return { ...place, at: '', ...words }
  })
  for (const offset of aliasOffsets(document)) {
    const place = position(lines, offset)
    problems.push({ ...place, at: '', ...aliasFix(text.slice(offset, offset + MAX_ALIAS)) })
  }
  const syntaxHolds = document.errors.every((error) => error.code === 'DUPLICATE_KEY')
  const readable = syntaxHolds && problems.length === document.errors.length
  return {
    value: readable ? document.toJS() : undefined,
    // Of a line that can not be read, the second fault follows from the first.
    problems: syntaxHolds
      ? problems
      : problems.filter(({ line }, index) => problems.findIndex((one) => one.line === line) === index),
    locate: ({ place, message, fix, onKey }) => ({
      ...position(lines, offsetOf(document.contents, place, onKey ?? false)),
      at: formatPlace(place),
      message,
      fix,
    }),
  }
}

/** The source of a configuration that has no file: every place is nowhere. */
export const NO_SOURCE: Source = {
  value: { version: 1 },
  problems: [],
  locate: ({ place, message, fix }) => ({ line: null, column: null, at: formatPlace(place), message, fix }),
}

/** A fault that is noticed at the end of the text stands behind the last of it. */
function behindText(text: string, offset: number): number {
  return text.slice(offset).trim() === '' ? text.slice(0, offset).trimEnd().length : offset
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset)
  return { line: Math.max(1, line), column: Math.max(1, col) }
}

function aliasOffsets(document: Document.Parsed): number[] {
  const offsets: number[] = []
  visit(document, {
    Alias: (_, alias) => {
      offsets.push(start(alias.range))
    },
  })
  return offsets
}

/** Walks as far as the text goes: a member that is missing is reported where it should have stood. */
function offsetOf(root: Node | null, place: Place, onKey: boolean): number {
  let node: unknown = root
  let offset = rangeStart(root)
  for (const [depth, step] of place.entries()) {
    const pair = isMap(node) ? node.items.find(({ key }) => isScalar(key) && String(key.value) === step) : undefined
    const next = isSeq(node) && typeof step === 'number' ? node.items[step] : pair?.value
    const keyWanted = onKey && depth === place.length - 1
    const target = pair !== undefined && (keyWanted || isEmpty(next)) ? pair.key : next
    if (!isNode(target) || isAlias(target)) return offset
    offset = rangeStart(target)
    node = next
  }
  return offset
}

function isEmpty(node: unknown): boolean {
  return !isNode(node) || (isScalar(node) && node.value === null)
}

function rangeStart(node: Node | null): number {
  return start(node?.range)
}

function start(range: Range | null | undefined): number {
  return range?.[0] ?? 0
}
