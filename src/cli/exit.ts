// How a verb ends: the exit codes of CONTRACT §1, and the one exception that carries one of them to main.ts.

export const EXIT = { done: 0, usage: 1, failure: 2, no: 3 } as const

/** Thrown by a verb to end the process with `code`; `message` goes to stderr as it is. */
export class ExitError extends Error {
  readonly code: number
  constructor(code: number, message: string) {
    super(message)
    this.name = 'ExitError'
    this.code = code
  }
}
