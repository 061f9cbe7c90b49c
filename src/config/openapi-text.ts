// The text of an API description, as plain Maps and lists: JSON or YAML, read strictly and bounded in every direction.

import { Buffer } from 'node:buffer'
import { Composer, type Document, LineCounter, Parser } from 'yaml'
import { readJson } from '../core/json-strict.ts'
import { tooDeep } from './nesting.ts'

/** `value`: objects are Maps, so that no name of theirs reaches a prototype. */
export type TextRead =
  | { readonly kind: 'ok'; readonly value: unknown }
  | { readonly kind: 'bad'; readonly why: string; readonly line: number }

/** As deep as JSON may be here. */
const MAX_DEPTH = 64
/** How often one alias may bring in what it stands for, all within it counted. */
const MAX_ALIASES = 100

export function readText(text: string): TextRead {
  return /^\s*\{/.test(text) ? readJsonText(text) : readYaml(text)
}

function readJsonText(text: string): TextRead {
  const read = readJson(Buffer.from(text))
  if (read.kind === 'ok') return read
  return bad(`not JSON: ${read.why}`, text.slice(0, read.offset).split('\n').length)
}

function readYaml(text: string): TextRead {
  const lines = new LineCounter()
  const tokens = [...new Parser(lines.addNewLine).parse(text)]
  const deep = tooDeep(tokens, MAX_DEPTH)
  if (deep !== null) return bad(`nested deeper than ${MAX_DEPTH} levels`, lines.linePos(deep).line)
  const composer = new Composer({ version: '1.2', schema: 'core', uniqueKeys: true, prettyErrors: false })
  const [document, second] = [...composer.compose(tokens, true, text.length)]
  const [error] = document?.errors ?? []
  if (error !== undefined)
    return bad(`not valid YAML: ${error.message.split('\n')[0]}`, lines.linePos(error.pos[0]).line)
  if (second !== undefined) return bad('more than one YAML document', lines.linePos(second.range[0]).line)
  return document === undefined ? bad('empty', 1) : plainData(document)
}

function plainData(document: Document.Parsed): TextRead {
  try {
    return { kind: 'ok', value: document.toJS({ mapAsMap: true, maxAliasCount: MAX_ALIASES }) }
  } catch (error) {
    // SECURITY: aliases of aliases grow without end ("billion laughs"); the package counts them and throws.
    if (error instanceof ReferenceError) return bad('its aliases stand for too much, or for nothing', 1)
    throw error
  }
}

function bad(why: string, line: number): TextRead {
  return { kind: 'bad', why, line }
}
