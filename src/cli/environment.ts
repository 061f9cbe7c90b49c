// Refuses to start in an environment that would quietly undo what the proxy promises.

import { EXIT, ExitError } from './exit.ts'

interface Hazard {
  readonly variable: string
  readonly undoes: (value: string) => boolean
  readonly why: string
}

const HAZARDS: readonly Hazard[] = [
  {
    variable: 'NODE_TLS_REJECT_UNAUTHORIZED',
    undoes: (value) => value === '0',
    why: 'it switches off the verification of upstream certificates',
  },
  {
    variable: 'NODE_OPTIONS',
    // Node.js takes an underscore for a dash in the name of any option.
    undoes: (value) =>
      /--(?:tls-keylog|trace-tls|inspect|tls-min-v1\.[01]|tls-cipher-list|(?:experimental-)?(?:loader|require|import))|(?:^|\s)-r\s/.test(
        value.replaceAll('_', '-'),
      ),
    why: 'it loads code, opens a debugger or weakens TLS in the proxy',
  },
  { variable: 'SSLKEYLOGFILE', undoes: (value) => value !== '', why: 'it would write TLS secrets to a file' },
]

/** Throws an ExitError that names the variable and the fix. */
export function refuseHazards(environment: NodeJS.ProcessEnv): void {
  for (const { variable, undoes, why } of HAZARDS) {
    const value = environment[variable]
    if (value !== undefined && undoes(value)) {
      throw new ExitError(EXIT.usage, `${variable} is set: ${why}\n  fix: unset ${variable} for mcp-egress`)
    }
  }
}
