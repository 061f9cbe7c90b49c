// Makes a CA of our own: its certificate profile, and files that appear as one pair however many processes start at once.

import { createHash, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto'
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { AuthorityError, type AuthorityPaths, errorCode, fileExists, publishFile } from './authority-files.ts'
import { distinguishedName, extension, issueCertificate, publicKeyBits, signatureScheme } from './certificate.ts'
import { bitString, octetString, sequence, smallInteger, trueValue } from './der.ts'

const HOUR_MS = 3_600_000
const DAY_MS = 24 * HOUR_MS

/**
 * 825 days is the longest validity Apple's clients accept below a root that a user added, so no client expects more of a local
 * CA. It outlives a yearly rotation with room to spare, and a key copied out of an old image stops working by itself.
 */
export const CA_LIFETIME_DAYS = 825

const PAIR_WAIT_MS = 1000
const PAIR_POLL_MS = 10

/**
 * Creates the CA unless it is there. The key is created exclusively and so elects one creator; `ca.pem` is renamed into place
 * after the key is complete, so whoever sees `ca.pem` may read both. Throws an AuthorityError when only one of the two is there.
 */
export function createMissingAuthority(paths: AuthorityPaths, now: Date): void {
  if (!fileExists(paths.ca) && !fileExists(paths.key)) createPair(paths, now)
  requirePair(paths)
}

function createPair(paths: AuthorityPaths, now: Date): void {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const certificate = selfSigned(privateKey, publicKey, now)
  try {
    // Under a umask of 077 the public files would lie in a folder that no workload can enter.
    if (mkdirSync(paths.directory, { recursive: true }) !== undefined) chmodSync(paths.directory, 0o755)
    mkdirSync(paths.privateDirectory, { recursive: true, mode: 0o700 })
    if (writeKeyExclusively(paths.key, privateKey)) publishCertificate(paths, certificate)
  } catch (error) {
    throw new AuthorityError(
      `${paths.directory}: the CA can not be created there (${errorCode(error)}). ` +
        'Fix: make the folder writable for the user that runs mcp-egress, or name another as ca.directory',
    )
  }
}

function publishCertificate(paths: AuthorityPaths, certificate: string): void {
  try {
    publishFile(paths.ca, certificate)
  } catch (error) {
    // A key alone would be refused at every later start, also after the disk has room again.
    rmSync(paths.key, { force: true })
    throw error
  }
}

/** False when another process was first. */
function writeKeyExclusively(path: string, key: KeyObject): boolean {
  const descriptor = openExclusively(path)
  if (descriptor === null) return false
  try {
    writeFileSync(descriptor, key.export({ type: 'pkcs8', format: 'pem' }))
    fsyncSync(descriptor)
  } catch (error) {
    rmSync(path, { force: true })
    throw error
  } finally {
    closeSync(descriptor)
  }
  return true
}

function openExclusively(path: string): number | null {
  try {
    // SECURITY: the mode is given at creation; a chmod afterwards would leave a moment in which the key can be opened.
    return openSync(path, 'wx', 0o600)
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return null
    throw error
  }
}

function requirePair(paths: AuthorityPaths): void {
  if (!waitForCertificate(paths)) {
    throw new AuthorityError(
      `${paths.key}: there is a key but no ${paths.ca}. Fix: restore the certificate, ` +
        `or make a new CA: rm ${paths.key} && mcp-egress ca init --directory ${paths.directory}`,
    )
  }
  if (fileExists(paths.key)) return
  throw new AuthorityError(
    `${paths.ca}: there is a certificate but no ${paths.key}. Fix: restore the key, ` +
      `or make a new CA: rm ${paths.ca} && mcp-egress ca init --directory ${paths.directory}`,
  )
}

/** A key without a certificate may be another process in the middle of creating both: bounded patience before it is an error. */
function waitForCertificate(paths: AuthorityPaths): boolean {
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let waited = 0; waited < PAIR_WAIT_MS; waited += PAIR_POLL_MS) {
    if (fileExists(paths.ca)) return true
    Atomics.wait(pause, 0, 0, PAIR_POLL_MS)
  }
  return fileExists(paths.ca)
}

function selfSigned(privateKey: KeyObject, publicKey: KeyObject, now: Date): string {
  const scheme = signatureScheme(privateKey)
  if (scheme === null) throw new TypeError('not a key to sign certificates with')
  const publicKeyDer = publicKey.export({ type: 'spki', format: 'der' })
  // Clients find an issuer by its name: two installations must not share one, or each breaks the other's chains.
  const name = distinguishedName({
    organization: 'mcp-egress',
    commonName: `mcp-egress CA ${randomBytes(4).toString('hex')}`,
  })
  return issueCertificate(
    {
      issuerDer: name,
      subjectDer: name,
      notBefore: new Date(now.getTime() - HOUR_MS),
      notAfter: new Date(now.getTime() + CA_LIFETIME_DAYS * DAY_MS),
      publicKeyDer,
      extensions: [
        // Critical, or Python 3.13 and every other strict verifier refuses the chain (RFC 5280 §4.2.1.9); no CA below this one.
        extension('2.5.29.19', true, sequence(trueValue(), smallInteger(0))),
        // keyCertSign and cRLSign: bits 5 and 6, the last bit of the byte unused.
        extension('2.5.29.15', true, bitString(Uint8Array.of(0x06), 1)),
        extension('2.5.29.14', false, octetString(subjectKeyIdentifier(publicKeyDer))),
      ],
    },
    privateKey,
    scheme,
  )
}

/** RFC 7093 §2, method 1: the leftmost 160 bits of the key's SHA-256. */
function subjectKeyIdentifier(publicKeyDer: Buffer): Buffer {
  return createHash('sha256').update(publicKeyBits(publicKeyDer)).digest().subarray(0, 20)
}
