// Replaces `${NAME}` by the environment, `file:PATH` by a file's content and `exec:COMMAND` by what a command prints, in values only and after parsing.

import type { CommandOutput } from './command-value.ts'
import type { Finding, Place } from './problem.ts'

/** Where values come from. `readFile` takes the path as written and answers null when it can not be read. */
export interface Sources {
  readonly env: Readonly<Record<string, string | undefined>>
  readFile(path: string): string | null
  runCommand(command: string): CommandOutput
}

export interface Substituted {
  readonly value: unknown
  readonly findings: readonly Finding[]
}

/**
 * A copy of `value` with every reference in a string replaced. A `$` before a reference takes its meaning away:
 * `$${NAME}` is the text `${NAME}`, and `$file:x` the text `file:x`, `$exec:x` the text `exec:x`. What comes out is never looked at again,
 * and since the YAML is parsed already it can add neither keys nor rules.
 */
export function substitute(value: unknown, sources: Sources): Substituted {
  const findings: Finding[] = []
  const walk = (node: unknown, place: Place): unknown => {
    if (typeof node === 'string') return expand(node, place, sources, findings)
    if (Array.isArray(node)) return node.map((item: unknown, index) => walk(item, [...place, index]))
    if (typeof node !== 'object' || node === null) return node
    return Object.fromEntries(Object.entries(node).map(([key, member]) => [key, walk(member, [...place, key])]))
  }
  return { value: walk(value, []), findings }
}

/** A URL is no path: `file:///docs/**` is what it says. */
const OUTSIDE = /^(?:file:(?!\/\/)|exec:)/

/** Whether a secret as written is nothing but one reference: the contract lets no secret stand in the file. */
export function isReference(text: string): boolean {
  return /^\$\{[A-Za-z_][A-Za-z0-9_]*\}$/.test(text) || (OUTSIDE.test(text) && text.length > 'file:'.length)
}

function expand(text: string, place: Place, sources: Sources, findings: Finding[]): string {
  const report = (message: string, fix: string): void => {
    findings.push({ place, message, fix })
  }
  const result = OUTSIDE.test(text)
    ? fromOutside(text, sources, report)
    : fromEnvironment(/^\$(?:file|exec):/.test(text) ? text.slice(1) : text, sources, report)
  // SECURITY: a line break or a NUL in a name, a path or a token would end up in headers, logs and file names.
  if (/[\u0000-\u001f\u007f]/.test(result)) {
    report('the value holds a control character', 'write it on one line, without escapes such as \\n')
  }
  return result
}

type Report = (message: string, fix: string) => void

function fromOutside(text: string, sources: Sources, report: Report): string {
  const what = text.slice('file:'.length)
  const content = text.startsWith('file:') ? fromFile(what, sources, report) : fromCommand(what, sources, report)
  const value = content?.replace(/\r?\n$/, '') ?? ''
  if (value !== '' || content === null) return value
  if (text.startsWith('file:')) report(`the file ${JSON.stringify(what)} is empty`, 'write the value into it')
  else report(`the command ${JSON.stringify(what)} prints nothing`, 'have it print the value')
  return value
}

function fromFile(path: string, sources: Sources, report: Report): string | null {
  const content = sources.readFile(path)
  if (content === null)
    report(
      `the file ${JSON.stringify(path)} can not be read`,
      'create it; its path counts from the folder of this file',
    )
  return content
}

function fromCommand(command: string, sources: Sources, report: Report): string | null {
  const output = sources.runCommand(command)
  if (output.kind === 'ok') return output.text
  const isWhole = command.trimStart().startsWith('/')
  const fix = isWhole
    ? 'run it by hand, in the folder of this file'
    : 'write the whole path, as in exec:/usr/bin/pass show mcp'
  report(`the command ${JSON.stringify(command)}: ${output.why}`, fix)
  return null
}

function fromEnvironment(text: string, sources: Sources, report: Report): string {
  return text.replaceAll(/\$\$\{|\$\{([^{}]*)(\}?)/g, (written: string, name = '', end = '') => {
    // Nothing but the escape itself is taken: what follows it may be another one.
    if (written === '$${') return '${'
    if (end === '' || !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      report(`${JSON.stringify(written)} names no environment variable`, 'write ${NAME}, or $${ for the text itself')
      return ''
    }
    const value = sources.env[name]
    if (value === undefined || value === '') {
      report(`the environment variable ${name} is not set`, `set ${name} before starting, or write file:PATH`)
      return ''
    }
    return value
  })
}
