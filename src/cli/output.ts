// Where a verb writes: results to one stream, diagnostics to the other, colour only where somebody sees it.

/** Texts are written as they are, newlines included. */
export interface Output {
  /** Results. */
  out(text: string): void
  /** Diagnostics. */
  err(text: string): void
  /** Whether `out` is a terminal that shows colours. */
  readonly colour: boolean
}

/** The streams of this process. `NO_COLOR`, when set and not empty, turns colour off (no-color.org). */
export function processOutput(): Output {
  const noColour = process.env['NO_COLOR'] ?? ''
  return {
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    colour: process.stdout.isTTY && noColour === '',
  }
}

export function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

const GREEN = '\u001b[32m'
const RED = '\u001b[31m'
const RESET = '\u001b[0m'

/** `text` in green for a yes and in red for a no, where the output shows colours. */
export function verdict(output: Output, text: string, yes: boolean): string {
  return output.colour ? `${yes ? GREEN : RED}${text}${RESET}` : text
}
