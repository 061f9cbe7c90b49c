// What is wrong with a configuration, where, and what would put it right.

/** A place in the configuration: member names and list indexes from the root. */
export type Place = readonly (string | number)[]

/** One fault. `line` and `column` count from 1; null where the fault is not in the file's text. */
export interface Problem {
  readonly line: number | null
  readonly column: number | null
  /** The place as people write it (`rules[2].allow.hosts[0]`), or a command line option; empty for the file as a whole. */
  readonly at: string
  readonly message: string
  /** What to write instead; empty where nothing can be suggested. */
  readonly fix: string
}

/** A fault found at a place, before that place is looked up in the text. */
export interface Finding {
  readonly place: Place
  readonly message: string
  readonly fix: string
  /** The fault is the name of the last member of `place`, not its value. */
  readonly onKey?: boolean
}

/** Prints `['rules', 2, 'allow']` as `rules[2].allow`. */
export function formatPlace(place: Place): string {
  return place.map((step, index) => (typeof step === 'number' ? `[${step}]` : index === 0 ? step : `.${step}`)).join('')
}

/** Reads `allow.hosts[0]` back into steps. */
export function parsePlace(at: string): Place {
  return at
    .split(/[.[\]]+/)
    .filter((step) => step !== '')
    .map((step) => (/^\d+$/.test(step) ? Number(step) : step))
}

/** A problem as people read it: position, message, the line it is in with a caret, the fix. */
export function formatProblem(problem: Problem, sourceLines: readonly string[], file: string | null): string {
  const position = problem.line === null ? '' : `:${problem.line}:${problem.column ?? 1}`
  const where = file === null ? [] : [`${file}${position}`]
  const subject = problem.at === '' ? [] : [problem.at]
  const head = [...where, ...subject, problem.message].map(printable).join(': ')
  const fix = problem.fix === '' ? [] : [`  fix: ${printable(problem.fix)}`]
  return [head, ...excerpt(problem, sourceLines), ...fix].join('\n')
}

/** Columns. */
const EXCERPT_LENGTH = 120

function excerpt(problem: Problem, sourceLines: readonly string[]): string[] {
  const line = problem.line === null ? undefined : sourceLines[problem.line - 1]
  if (line === undefined || line.trim() === '') return []
  // SECURITY: a value on a line of its own, below its key.
  if (/(?:^|\.)token$/.test(problem.at) && !/\btoken\b/.test(line)) return []
  const number = String(problem.line).padStart(5)
  const column = (problem.column ?? 1) - 1
  // Of a line that no terminal shows whole, the part around the fault.
  const start = column < EXCERPT_LENGTH ? 0 : column - EXCERPT_LENGTH / 2
  const shown = printable(withoutSecret(line)).slice(start, start + EXCERPT_LENGTH)
  return [`${number} | ${shown}`, `${' '.repeat(number.length)} | ${' '.repeat(column - start)}^`]
}

/** SECURITY: a token written into the file by mistake must not reach a terminal or a build log through our own report. */
function withoutSecret(line: string): string {
  const key = /\btoken["']?\s*:\s*/.exec(line)
  if (key === null) return line
  const value = key.index + key[0].length
  return /^["']?(?:\$\{|file:)/.test(line.slice(value)) ? line : `${line.slice(0, value)}***`
}

/** SECURITY: a configuration may hold terminal control characters; one character stays one column, so that the caret is right. */
export function printable(text: string): string {
  return text
    .replaceAll('\t', ' ')
    .replaceAll(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, '\uFFFD')
}
