// The text of a configuration: parsed strictly as one YAML 1.2 document, and asked where a value stands.

import { isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml'
import type { Document, Node, Range } from 'yaml'
import type { Finding, Place, Problem } from './problem.ts'
import { formatPlace } from './problem.ts'

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

const CHECK_HERE = 'check the indentation, the quotes and the brackets around here'

export function parseSource(text: string): Source {
  const lines = new LineCounter()
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
  const problems: Problem[] = [...document.errors, ...document.warnings].map((error) => {
    const words = SYNTAX[error.code] ?? { message: `not valid YAML: ${error.message.split('\n')[0]}`, fix: CHECK_HERE }
    return { ...position(lines, error.pos[0]), at: '', ...words }
  })
  for (const offset of aliasOffsets(document)) {
    problems.push({
      ...position(lines, offset),
      at: '',
      message: 'aliases are not supported',
      fix: 'write the value out, so that each rule can be read by itself',
    })
  }
  const syntaxHolds = document.errors.every((error) => error.code === 'DUPLICATE_KEY')
  const readable = syntaxHolds && problems.length === document.errors.length
  return {
    value: readable ? document.toJS() : undefined,
    problems,
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
