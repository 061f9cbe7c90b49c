// The local CA as the proxy uses it: opened from its folder, checked, and refused by name when anything is wrong with it.

import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs'
import { AuthorityError, type AuthorityPaths, authorityPaths, unreadable } from './authority-files.ts'
import { refreshBundle } from './bundle.ts'
import { certificateBlocks, readIssuerFields, type SignatureScheme, signatureScheme } from './certificate.ts'
import { createMissingAuthority } from './new-authority.ts'

export { AuthorityError } from './authority-files.ts'

/** A CA that may sign now. */
export interface Authority {
  readonly certificate: X509Certificate
  readonly certificatePem: string
  /** What a server sends after the leaf: empty below a self-signed CA, else the CA and what leads to its root. */
  readonly chainPem: string
  readonly key: KeyObject
  readonly signature: SignatureScheme
  /** The CA's subject, DER as found: the issuer of every leaf. */
  readonly subjectDer: Buffer
  /** The CA's subjectKeyIdentifier as found, of any length; null without one. */
  readonly keyIdentifier: Buffer | null
  readonly notBefore: Date
  readonly notAfter: Date
  /** SHA-256, upper-case hex with colons. */
  readonly fingerprint256: string
  /** What does not keep the proxy from working but an operator should know. */
  readonly warnings: readonly string[]
}

/**
 * Opens the CA of `directory`: `ca.pem` and `private/ca.key`, both created when neither is there, and brings `bundle.pem` up to
 * date. An imported CA may be RSA or EC (P-256, P-384), its key PKCS #8, PKCS #1 or SEC 1. Throws an AuthorityError.
 */
export function openAuthority(directory: string, now: Date): Authority {
  const paths = authorityPaths(directory)
  createMissingAuthority(paths, now)
  const key = readKey(paths)
  const [certificate, ...issuers] = readAuthorityCertificates(paths)
  const signature = checkKey(paths, certificate, key)
  checkValidity(paths, certificate, now)
  const chainPem = servedChain(paths, certificate, issuers)
  const staleBundle = refreshBundle(paths, [certificate, ...issuers])
  return {
    certificate,
    certificatePem: certificate.toString(),
    chainPem,
    key,
    signature,
    ...readIssuerFields(certificate.raw),
    notBefore: new Date(certificate.validFrom),
    notAfter: new Date(certificate.validTo),
    fingerprint256: certificate.fingerprint256,
    warnings: staleBundle === null ? [] : [staleBundle],
  }
}

/** Whether the CA ends less than `ms` after `now`: the moment to warn, since every client has to be given the next one. */
export function expiresWithin(authority: Pick<Authority, 'notAfter'>, ms: number, now: Date): boolean {
  return authority.notAfter.getTime() - now.getTime() < ms
}

/** The certificates of `ca.pem`, the CA first; its key is not looked at. Throws an AuthorityError. */
export function readAuthorityCertificates(paths: AuthorityPaths): [X509Certificate, ...X509Certificate[]] {
  const [certificate, ...issuers] = parseCertificates(paths.ca, readText(paths.ca))
  if (certificate === undefined) {
    throw new AuthorityError(`${paths.ca}: no PEM certificate in it. Fix: ${replaceHint(paths)}`)
  }
  if (!certificate.ca) {
    throw new AuthorityError(
      `${paths.ca}: not a CA certificate (it needs basicConstraints CA:TRUE, and keyCertSign where it has a keyUsage). ` +
        `Fix: ${replaceHint(paths)}`,
    )
  }
  return [certificate, ...issuers]
}

function parseCertificates(path: string, text: string): X509Certificate[] {
  try {
    return certificateBlocks(text).map((block) => new X509Certificate(block))
  } catch {
    throw new AuthorityError(
      `${path}: a certificate in it can not be parsed. Fix: write it as PEM, openssl x509 -in FILE`,
    )
  }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw unreadable(path, error)
  }
}

function readKey(paths: AuthorityPaths): KeyObject {
  const pem = readPrivateText(paths.key)
  try {
    return createPrivateKey(pem)
  } catch {
    throw new AuthorityError(
      `${paths.key}: not an unencrypted PEM private key. Fix: openssl pkey -in ${paths.key} -out ca.key && mv ca.key ${paths.key}`,
    )
  }
}

function readPrivateText(path: string): string {
  const descriptor = openForReading(path)
  try {
    // SECURITY: judged on the open file, so that what is judged is what is read. Whoever reads the key can impersonate every host
    // to every client of this CA.
    const mode = fstatSync(descriptor).mode & 0o777
    if ((mode & 0o077) !== 0) {
      throw new AuthorityError(
        `${path}: open to group or others (mode ${mode.toString(8).padStart(4, '0')}). Fix: chmod 600 ${path}`,
      )
    }
    return readFileSync(descriptor, 'utf8')
  } finally {
    closeSync(descriptor)
  }
}

function openForReading(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw unreadable(path, error)
  }
}

function checkKey(paths: AuthorityPaths, certificate: X509Certificate, key: KeyObject): SignatureScheme {
  if (!certificate.checkPrivateKey(key)) {
    throw new AuthorityError(`${paths.key}: not the key of ${paths.ca}. Fix: ${replaceHint(paths)}`)
  }
  const scheme = signatureScheme(key)
  if (scheme !== null) return scheme
  throw new AuthorityError(
    `${paths.key}: keys of this kind are not supported (RSA of 2048 bits or more, EC P-256 and P-384 are). Fix: ${replaceHint(paths)}`,
  )
}

function checkValidity(paths: AuthorityPaths, certificate: X509Certificate, now: Date): void {
  if (now.getTime() >= Date.parse(certificate.validTo)) {
    throw new AuthorityError(`${paths.ca}: expired on ${certificate.validTo}. Fix: ${replaceHint(paths)}`)
  }
  if (now.getTime() < Date.parse(certificate.validFrom)) {
    throw new AuthorityError(
      `${paths.ca}: not valid before ${certificate.validFrom}, and it is ${now.toISOString()}. Fix: set the clock, or ${replaceHint(paths)}`,
    )
  }
}

function servedChain(paths: AuthorityPaths, certificate: X509Certificate, issuers: readonly X509Certificate[]): string {
  if (isSelfIssued(certificate)) return ''
  const chain = [certificate]
  for (const issuer of issuers) {
    if (chain.at(-1)?.checkIssued(issuer) !== true) {
      throw new AuthorityError(
        `${paths.ca}: certificate ${chain.length + 1} in it did not issue certificate ${chain.length}. ` +
          'Fix: order them from the CA to its root',
      )
    }
    // The root stays out: a client either has it, or would not believe it from us (RFC 8446 §4.4.2).
    if (isSelfIssued(issuer)) break
    chain.push(issuer)
  }
  return chain.map((link) => link.toString()).join('')
}

function isSelfIssued(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer
}

function replaceHint(paths: AuthorityPaths): string {
  return `put a matching CA there, or make a new one: mv ${paths.directory} ${paths.directory}.old && mcp-egress ca init --directory ${paths.directory}`
}
