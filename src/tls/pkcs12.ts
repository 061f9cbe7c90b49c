// A PKCS #12 trust store (RFC 7292) for Java, whose own setting replaces its roots: the system's roots plus our CA.

import { createHash, createHmac, type X509Certificate } from 'node:crypto'
import forge from 'node-forge'
import { certificateDer } from './certificate.ts'
import {
  bmpString,
  encode,
  explicit,
  type Node,
  nullValue,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
  smallInteger,
} from './der.ts'
import { systemRoots } from './trust.ts'

/** Java's customary one. It guards nothing: the certificates are public and lie in the store unencrypted. */
export const TRUSTSTORE_PASSWORD = 'changeit'

const OWN_ALIAS = 'mcp-egress'
const MAC_ITERATIONS = 2048
const MAC_KEY_BYTES = 32
/** RFC 7292 appendix B.3: the derived bytes are a MAC key. */
const MAC_KEY_PURPOSE = 3

const OID = {
  data: objectIdentifier('1.2.840.113549.1.7.1'),
  certBag: objectIdentifier('1.2.840.113549.1.12.10.1.3'),
  x509Certificate: objectIdentifier('1.2.840.113549.1.9.22.1'),
  friendlyName: objectIdentifier('1.2.840.113549.1.9.20'),
  trustedKeyUsage: objectIdentifier('2.16.840.1.113894.746875.1.1'),
  anyExtendedKeyUsage: objectIdentifier('2.5.29.37.0'),
  sha256: objectIdentifier('2.16.840.1.101.3.4.2.1'),
}

/** The bytes of the store: the same for the same certificates, so that an unchanged file can be told from a stale one. */
export function truststore(authority: readonly X509Certificate[], roots: readonly string[] = systemRoots()): Buffer {
  // An alias names one entry, whatever its case: a second entry under it would silently replace the first.
  const ours = authority.map((certificate, index) =>
    certificateBag(index === 0 ? OWN_ALIAS : `${OWN_ALIAS}-issuer-${index}`, certificate.raw),
  )
  const theirs = roots.map((root, index) => certificateBag(`system-${index + 1}`, certificateDer(root)))
  const authSafe = encode(sequence(dataContent(encode(sequence(...ours, ...theirs)))))
  return encode(sequence(smallInteger(3), dataContent(authSafe), macData(authSafe)))
}

function dataContent(content: Buffer): Node {
  return sequence(OID.data, explicit(0, octetString(content)))
}

function certificateBag(alias: string, der: Buffer): Node {
  return sequence(
    OID.certBag,
    explicit(0, sequence(OID.x509Certificate, explicit(0, octetString(der)))),
    setOf(
      sequence(OID.friendlyName, setOf(bmpString(alias))),
      // Without Oracle's attribute Java reads the entry but does not trust it.
      sequence(OID.trustedKeyUsage, setOf(OID.anyExtendedKeyUsage)),
    ),
  )
}

/** RFC 7292 §4: an integrity check by password. Java refuses a store without one when it is given a password. */
function macData(content: Buffer): Node {
  const salt = createHash('sha256').update(content).digest().subarray(0, 16)
  const key = forge.pkcs12.generateKey(
    TRUSTSTORE_PASSWORD,
    forge.util.createBuffer(salt.toString('latin1')),
    MAC_KEY_PURPOSE,
    MAC_ITERATIONS,
    MAC_KEY_BYTES,
    forge.md.sha256.create(),
  )
  const mac = createHmac('sha256', Buffer.from(key.getBytes(), 'latin1')).update(content).digest()
  return sequence(
    sequence(sequence(OID.sha256, nullValue()), octetString(mac)),
    octetString(salt),
    smallInteger(MAC_ITERATIONS),
  )
}
