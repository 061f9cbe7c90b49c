// One leaf certificate for one host: the profile that every strict client accepts.

import { createPublicKey, type KeyObject } from 'node:crypto'
import { addressBytes, type Host } from '../core/address.ts'
import type { Authority } from './authority.ts'
import { AuthorityError } from './authority-files.ts'
import { distinguishedName, extension, issueCertificate } from './certificate.ts'
import { bitString, implicit, type Node, objectIdentifier, sequence } from './der.ts'

const BACKDATE_MS = 3_600_000
const LIFETIME_MS = 7 * 24 * 3_600_000

/** ub-common-name is 64 (RFC 5280, appendix A.1); some implementations count a terminating byte. */
const COMMON_NAME_LIMIT = 63

// keyUsage digitalSignature: bit 0, seven bits unused. The leaf key is ECDSA, which enciphers no keys.
const BASIC_CONSTRAINTS = extension('2.5.29.19', true, sequence())
const KEY_USAGE = extension('2.5.29.15', true, bitString(Uint8Array.of(0x80), 7))
const SERVER_AUTH = extension('2.5.29.37', false, sequence(objectIdentifier('1.3.6.1.5.5.7.3.1')))

export interface Leaf {
  readonly certificatePem: string
  readonly notBefore: Date
  readonly notAfter: Date
}

/**
 * Mints the leaf for `host`, and for it alone: a second name would let an HTTP/2 client reuse the connection for a host that was
 * not judged (RFC 9113 §9.1.1).
 * @param leafKey the key the server will hold, never the CA's: equal key identifiers break Windows clients.
 */
export function mintLeaf(authority: Authority, leafKey: KeyObject, host: Host, now: Date): Leaf {
  const notBefore = new Date(Math.max(now.getTime() - BACKDATE_MS, authority.notBefore.getTime()))
  const notAfter = new Date(Math.min(now.getTime() + LIFETIME_MS, authority.notAfter.getTime()))
  // A wrong clock or a CA that ended while the proxy ran: a certificate that no client accepts would only hide the cause.
  if (notAfter <= now) {
    throw new AuthorityError(
      `the CA expired on ${authority.notAfter.toISOString()}. Fix: replace it and restart the proxy`,
    )
  }
  const named = host.text.length <= COMMON_NAME_LIMIT
  const certificatePem = issueCertificate(
    {
      issuerDer: authority.subjectDer,
      subjectDer: distinguishedName(named ? { commonName: host.text } : {}),
      notBefore,
      notAfter,
      publicKeyDer: publicKeyInfo(leafKey),
      extensions: [
        BASIC_CONSTRAINTS,
        KEY_USAGE,
        SERVER_AUTH,
        // RFC 5280 §4.2.1.6: critical where the subject is empty.
        extension('2.5.29.17', !named, sequence(generalName(host))),
        ...authorityKeyIdentifier(authority),
      ],
    },
    authority.key,
    authority.signature,
  )
  return { certificatePem, notBefore, notAfter }
}

/** By key: one key serves all leaves, and writing it out took more than half of the time that a leaf took. */
const publicKeyInfos = new WeakMap<KeyObject, Buffer>()

/** SubjectPublicKeyInfo, DER. */
function publicKeyInfo(key: KeyObject): Buffer {
  const known = publicKeyInfos.get(key)
  if (known !== undefined) return known
  const publicKey = key.type === 'private' ? createPublicKey(key) : key
  const der = publicKey.export({ type: 'spki', format: 'der' })
  publicKeyInfos.set(key, der)
  return der
}

/** Copied, not computed: CAs derive their identifier in several ways, and strict clients compare the bytes (RFC 5280 §4.2.1.1). */
function authorityKeyIdentifier(authority: Authority): Node[] {
  if (authority.keyIdentifier === null) return []
  return [extension('2.5.29.35', false, sequence(implicit(0, authority.keyIdentifier)))]
}

function generalName(host: Host): Node {
  if (host.kind === 'name') return implicit(2, asciiName(host.text))
  const bytes = addressBytes(host.text)
  if (bytes === null) throw new TypeError(`not an address: ${JSON.stringify(host.text)}`)
  return implicit(7, Uint8Array.from(bytes))
}

/** SECURITY: cut to bytes, `ı` (U+0131) would become `1` and the leaf would be for another name. A-labels only (RFC 5280 §7.2). */
function asciiName(text: string): Buffer {
  if (!/^[!-~]+$/.test(text)) throw new TypeError(`not a canonical host name: ${JSON.stringify(text)}`)
  return Buffer.from(text, 'ascii')
}
