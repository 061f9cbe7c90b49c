// Whether the certificate that an origin showed is for the host that was judged (RFC 9525).

import { checkServerIdentity, type DetailedPeerCertificate } from 'node:tls'

/**
 * `host`: a name, or an address without brackets; `subjectaltname`: as Node.js writes it, undefined where there is none. An error, with
 * a `reason`, where the certificate is for another.
 *
 * SECURITY: the common name is no name of a host (RFC 9525 §2). Node.js takes it for one where subjectAltName has no DNS name, so
 * it is shown a certificate that has none.
 */
export function checkIdentity(host: string, subjectaltname: string | undefined): Error | undefined {
  if (subjectaltname !== undefined) return checkServerIdentity(host, { ...noDetails(), subjectaltname })
  return Object.assign(new Error('no name'), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    reason: 'it has no subjectAltName',
  })
}

/**
 * To stand for `getPeerCertificate` of a socket that is checked here: Node.js asks for the whole chain as objects, which costs
 * 0.2 ms, only to hand it to `checkServerIdentity`. (`getPeerX509Certificate` is cheaper still, but in Node 20 it takes the certificate out of the
 * chain: who asks twice, as in a renegotiation, is shown the issuer's.)
 */
export function noDetails(): DetailedPeerCertificate {
  return { subject: {} } as DetailedPeerCertificate
}
