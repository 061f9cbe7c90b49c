// Certificates of every bad kind for origins of tests, written with the product's own DER and signed as badly as asked for.

import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { certificatePem, distinguishedName, extension } from '../../src/tls/certificate.ts'
import {
  bitString,
  encode,
  encoded,
  explicit,
  implicit,
  integer,
  type Node,
  objectIdentifier,
  sequence,
  smallInteger,
  time,
  trueValue,
} from '../../src/tls/der.ts'

const DAY_MS = 24 * 3_600_000
const PURPOSE = { serverAuth: '1.3.6.1.5.5.7.3.1', clientAuth: '1.3.6.1.5.5.7.3.2' } as const
const ECDSA_WITH = { sha1: '1.2.840.10045.4.1', sha256: '1.2.840.10045.4.3.2' } as const

/** What is not asked for is as it should be. */
export interface CertificateSpec {
  readonly commonName?: string
  /** dNSNames, latin1: no check is made of them. Null: no subjectAltName. */
  readonly names?: readonly string[] | null
  /** Below this one; its own signature where there is none. */
  readonly issuer?: Issued
  readonly ca?: boolean
  readonly notBefore?: Date
  readonly notAfter?: Date
  /** ECDSA with this hash. */
  readonly hash?: keyof typeof ECDSA_WITH
  readonly rsaBits?: number
  readonly purpose?: keyof typeof PURPOSE
  readonly more?: readonly Node[]
}

export interface Issued {
  /** This certificate, then those above it, less the self-signed one. */
  readonly cert: string
  readonly pem: string
  readonly key: string
  readonly privateKey: KeyObject
  readonly subjectDer: Buffer
  readonly root: boolean
}

export function issue(spec: CertificateSpec): Issued {
  const { privateKey, publicKey } =
    spec.rsaBits === undefined
      ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
      : generateKeyPairSync('rsa', { modulusLength: spec.rsaBits })
  const subjectDer = distinguishedName({ commonName: spec.commonName ?? `test ${randomBytes(4).toString('hex')}` })
  const hash = spec.hash ?? 'sha256'
  const algorithm = sequence(objectIdentifier(ECDSA_WITH[hash]))
  const toBeSigned = encode(
    sequence(
      explicit(0, smallInteger(2)),
      integer(Buffer.concat([Buffer.of(0x40), randomBytes(15)])),
      algorithm,
      encoded(spec.issuer?.subjectDer ?? subjectDer),
      sequence(
        time(spec.notBefore ?? new Date(Date.now() - DAY_MS)),
        time(spec.notAfter ?? new Date(Date.now() + DAY_MS)),
      ),
      encoded(subjectDer),
      encoded(publicKey.export({ type: 'spki', format: 'der' })),
      explicit(3, sequence(...extensionsOf(spec))),
    ),
  )
  const signature = bitString(sign(hash, toBeSigned, spec.issuer?.privateKey ?? privateKey))
  const pem = certificatePem(encode(sequence(encoded(toBeSigned), algorithm, signature)))
  return {
    cert: pem + (spec.issuer === undefined || spec.issuer.root ? '' : spec.issuer.cert),
    pem,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    privateKey,
    subjectDer,
    root: spec.issuer === undefined,
  }
}

function extensionsOf(spec: CertificateSpec): Node[] {
  const names = (spec.names ?? []).map((name) => implicit(2, Buffer.from(name, 'latin1')))
  return [
    extension('2.5.29.19', true, spec.ca === true ? sequence(trueValue()) : sequence()),
    ...(spec.ca === true
      ? []
      : [extension('2.5.29.37', false, sequence(objectIdentifier(PURPOSE[spec.purpose ?? 'serverAuth'])))]),
    ...(names.length === 0 ? [] : [extension('2.5.29.17', false, sequence(...names))]),
    ...(spec.more ?? []),
  ]
}

/** A subjectAltName of one IPv4 address and no name. */
export function addressName(...bytes: readonly number[]): Node {
  return extension('2.5.29.17', false, sequence(implicit(7, Uint8Array.from(bytes))))
}

/** nameConstraints (RFC 5280 §4.2.1.10) that permit one DNS subtree. */
export function permittedSubtree(name: string): Node {
  return extension('2.5.29.30', true, sequence(explicit(0, sequence(implicit(2, Buffer.from(name))))))
}

/** Where a checker that asks about revocation would ask: authorityInfoAccess (OCSP) and cRLDistributionPoints. */
export function revocationPointers(url: string): Node[] {
  const uri = implicit(6, Buffer.from(url))
  return [
    extension('1.3.6.1.5.5.7.1.1', false, sequence(sequence(objectIdentifier('1.3.6.1.5.5.7.48.1'), uri))),
    extension('2.5.29.31', false, sequence(sequence(explicit(0, explicit(0, implicit(6, Buffer.from(url))))))),
  ]
}
