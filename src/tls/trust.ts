// Whom the proxy believes upstream: the configured roots, less our own CA.

import { constants, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, DEFAULT_CIPHERS, rootCertificates, type SecureContext } from 'node:tls'
import { errorCode } from './authority-files.ts'
import { certificateBlocks } from './certificate.ts'

/**
 * Where systems keep their roots as one PEM file. `SSL_CERT_FILE` is not asked: what an environment says must not widen whom the
 * proxy believes.
 */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt', // Debian, Ubuntu, Alpine, Arch
  '/etc/pki/tls/certs/ca-bundle.crt', // Fedora, RHEL, Amazon Linux
  '/etc/ssl/ca-bundle.pem', // openSUSE
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem', // RHEL 7 and later
  '/etc/ssl/cert.pem', // macOS, BSD, Alpine
]

/** A source of `upstream.trust` can not be used; `message` names it and how to put it right. */
export class TrustError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'TrustError'
  }
}

/** The roots of this system, one PEM text each: of the first bundle that has any, else those that Node.js came with. */
export function systemRoots(bundles: readonly string[] = SYSTEM_BUNDLES): string[] {
  for (const path of bundles) {
    const roots = readIfPresent(path)
    if (roots !== null && roots.length > 0) return roots.map((root) => root.toString())
  }
  return rootCertificates.map((root) => `${root.trimEnd()}\n`)
}

/**
 * The roots that upstream certificates are checked against, PEM.
 * @param sources `system`, or absolute paths of PEM files.
 * @param ownCertificatePem the certificate of our CA.
 */
export function upstreamTrust(sources: readonly string[], ownCertificatePem: string): { ca: string[] } {
  const own = new X509Certificate(ownCertificatePem)
  const trusted = sources.flatMap(readSource)
  // SECURITY: `ca install` puts our CA into the system's store. Were it believed upstream, whoever gets hold of the key, or loops
  // our own port back to us, could stand in for every destination. The key is compared too: it may be in a second certificate.
  const foreign = trusted.filter((root) => !isOwn(root, own))
  return { ca: [...new Set(foreign.map((root) => root.toString()))] }
}

/** One context for all upstream connections. Without `rejectUnauthorized: false` Node.js enforces it; nothing here may turn that off. */
export function upstreamContext(roots: { readonly ca: string[] }): SecureContext {
  return createSecureContext({
    ...roots,
    minVersion: 'TLSv1.2',
    // Level 2 refuses RSA keys under 2048 bits and SHA-1 signatures anywhere in the chain; Node.js 20 starts at level 1.
    ciphers: `${DEFAULT_CIPHERS}:@SECLEVEL=2`,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  })
}

function isOwn(root: X509Certificate, own: X509Certificate): boolean {
  return root.fingerprint256 === own.fingerprint256 || root.publicKey.equals(own.publicKey)
}

function readSource(source: string): X509Certificate[] {
  if (source === 'system') return systemRoots().map((root) => new X509Certificate(root))
  const roots = readIfPresent(source)
  if (roots === null) throw new TrustError(`${source}: no such file. Fix: correct the path in upstream.trust`)
  if (roots.length > 0) return roots
  throw new TrustError(
    `${source}: no PEM certificate in it. Fix: convert it, openssl x509 -inform DER -in ${source} -out extra-ca.pem`,
  )
}

function readIfPresent(path: string): X509Certificate[] | null {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return null
    throw new TrustError(`${path}: can not be read (${errorCode(error)}). Fix: chmod a+r ${path}`)
  }
  return certificateBlocks(text).map((block, index) => parse(path, block, index + 1))
}

function parse(path: string, block: string, position: number): X509Certificate {
  try {
    return new X509Certificate(block)
  } catch {
    throw new TrustError(
      `${path}: certificate ${position} in it can not be parsed. Fix: remove that block, or write it anew as PEM`,
    )
  }
}
