// Ends the client's TLS with a leaf of ours, and names the cause when a client does not go along.

import type { Socket } from 'node:net'
import { type SecureContext, TLSSocket } from 'node:tls'
import type { TlsRejectionCause } from '../core/record.ts'

const HANDSHAKE_DEADLINE_MS = 10_000

export type Terminated =
  | { readonly kind: 'secure'; readonly socket: TLSSocket; readonly protocol: 'h2' | 'http/1.1' }
  | { readonly kind: 'rejected'; readonly cause: TlsRejectionCause }

/** By error code of Node.js; alerts that the client sent by their own name. */
const CAUSE_BY_CODE: ReadonlyMap<string, TlsRejectionCause> = new Map([
  ['ALERT_UNKNOWN_CA', 'certificate_rejected'],
  ['ALERT_CERTIFICATE_UNKNOWN', 'certificate_rejected'],
  ['ALERT_BAD_CERTIFICATE', 'certificate_rejected'],
  ['ALERT_CERTIFICATE_EXPIRED', 'certificate_rejected'],
  ['ALERT_CERTIFICATE_REVOKED', 'certificate_rejected'],
  ['ALERT_UNSUPPORTED_CERTIFICATE', 'certificate_rejected'],
  ['ALERT_ACCESS_DENIED', 'certificate_rejected'],
  ['ALERT_DECRYPT_ERROR', 'certificate_rejected'],
  ['ALERT_PROTOCOL_VERSION', 'protocol_version'],
  ['ERR_SSL_NO_SHARED_CIPHER', 'no_shared_cipher'],
  ['ERR_SSL_NO_SUITABLE_SIGNATURE_ALGORITHM', 'no_shared_cipher'],
  ['ERR_SSL_NO_SHARED_GROUP', 'no_shared_cipher'],
  ['ERR_SSL_NO_SUITABLE_KEY_SHARE', 'no_shared_cipher'],
  ['ERR_SSL_NO_APPLICATION_PROTOCOL', 'no_application_protocol'],
  ['ERR_SSL_UNSUPPORTED_PROTOCOL', 'protocol_version'],
  ['ERR_SSL_WRONG_VERSION_NUMBER', 'protocol_version'],
  ['ERR_SSL_VERSION_TOO_LOW', 'protocol_version'],
  ['ERR_SSL_INAPPROPRIATE_FALLBACK', 'protocol_version'],
  ['ECONNRESET', 'reset'],
  ['EPIPE', 'reset'],
])
/** In which version an alert came up; OpenSSL 3.2 renamed the first to the second. */
const ALERT_PREFIX = /^ERR_SSL_(?:SSLV3|SSL\/TLS|TLSV1|TLSV13)_(?=ALERT_)/

/** In our order of preference. A client that insists on anything else gets `no_application_protocol`, never a guess. curl --http1.0 asks for the last. */
const ALPN_PROTOCOLS = ['h2', 'http/1.1', 'http/1.0']

export function terminate(
  socket: Socket,
  context: SecureContext,
  deadlineMs: number = HANDSHAKE_DEADLINE_MS,
): Promise<Terminated> {
  return new Promise((resolve) => {
    const tls = new TLSSocket(socket, { isServer: true, secureContext: context, ALPNProtocols: ALPN_PROTOCOLS })
    const timer = setTimeout(() => reject('handshake_timeout'), deadlineMs)
    let settled = false
    const settle = (result: Terminated): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      tls.removeListener('close', onClosed)
      tls.removeListener('end', onClosed)
      resolve(result)
    }
    const reject = (cause: TlsRejectionCause): void => {
      // Destroyed in any case: with a listener of ours nobody else will (an alert answered by a half-open peer).
      if (!settled) tls.destroy()
      settle({ kind: 'rejected', cause })
    }
    const onError = (error: NodeJS.ErrnoException): void => reject(causeOf(error))
    const onClosed = (): void => reject('closed')
    // The first two stay for the life of the socket: an error without a listener would end the process.
    tls.on('error', onError)
    tls.on('_tlsError', onError)
    tls.on('close', onClosed)
    tls.on('end', onClosed)
    tls.once('secure', () => {
      settle({ kind: 'secure', socket: tls, protocol: tls.alpnProtocol === 'h2' ? 'h2' : 'http/1.1' })
    })
  })
}

function causeOf(error: NodeJS.ErrnoException): TlsRejectionCause {
  return CAUSE_BY_CODE.get((error.code ?? '').replace(ALERT_PREFIX, '')) ?? 'handshake_failed'
}

const ALERT_LEVEL_FATAL = 2

/** Ends a TLS connection before any handshake with a fatal alert in the clear (RFC 8446 §6). */
export function alertAndClose(
  socket: Socket,
  description: 'access_denied' | 'unrecognized_name' | 'decode_error',
): void {
  const code = { access_denied: 49, unrecognized_name: 112, decode_error: 50 }[description]
  socket.end(Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, ALERT_LEVEL_FATAL, code]))
}
