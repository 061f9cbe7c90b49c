// What to do about a client that ended TLS because of our certificate: the sentence that its record carries.

import type { TlsRejectionCause } from './event.ts'

/** By cause, what the client did. Every other cause is about something else than the certificate. */
const WHAT_IT_DID: ReadonlyMap<TlsRejectionCause, string> = new Map([
  ['certificate_rejected', 'the client did not accept our certificate'],
  ['closed_without_request', 'the client left without a request, as if it did not accept our certificate'],
  ['closed', 'the client left in the handshake, as if it did not accept our certificate'],
  ['reset', 'the client left in the handshake, as if it did not accept our certificate'],
])

export interface Rejection {
  readonly cause: TlsRejectionCause
  /** Redacted: the sentence goes into a record. */
  readonly host: string
  /** How often this happened for the host, this time included. */
  readonly times: number
  /** Whether a rule lets this client ask anything of the host. */
  readonly permitted: boolean
  /** Whether the client sent a server name: without one nothing can be passed through. */
  readonly named: boolean
}

/** Whether the client said, or let it be seen, that it did not accept our certificate: it pins another, or lacks our CA. */
export function isAboutCertificate(cause: TlsRejectionCause): boolean {
  return WHAT_IT_DID.has(cause)
}

/** Null for a cause that is not about our certificate. */
export function rejectionHint({ cause, host, times, permitted, named }: Rejection): string | null {
  const what = WHAT_IT_DID.get(cause)
  if (what === undefined) return null
  const said = `${what} for ${host}, ${times === 1 ? 'once' : `${times} times`}: trust the CA (docs/ca.md)`
  // SECURITY: no advice to open, undecrypted, what no rule allows: anybody can try names until somebody follows it.
  if (!permitted) return `${said} to read the refusal, no rule allows this host`
  return named ? `${said} or add \`passthrough: { hosts: [${host}] }\`` : said
}
