// The key that signs checkpoints: its files, what is signed, and the public keys that check it.

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto'
import fs, { constants } from 'node:fs'
import { basename, dirname, join } from 'node:path'

export interface SigningKey {
  /** First 16 hex digits of SHA-256 of the public key's SPKI DER. */
  readonly keyId: string
  /** SPKI. */
  readonly publicKeyPem: string
  /** Ed25519 (RFC 8032) over the ASCII bytes of `statement`, base64. */
  sign(statement: string): string
}

/** What a checkpoint vouches for: record `seq` of `instance` stands on the record whose hash is `prevHash`. */
export function checkpointStatement(instance: string, seq: number, prevHash: string): string {
  return `mcp-egress.audit/1 checkpoint\n${instance}\n${seq}\n${prevHash}\n`
}

/** What a tombstone vouches for: the records up to `lastSeq`, whose hash was `lastHash`, were pruned by their owner. */
export function prunedStatement(instance: string, lastSeq: number, lastHash: string): string {
  return `mcp-egress.audit/1 pruned\n${instance}\n${lastSeq}\n${lastHash}\n`
}

function publicKeyPath(directory: string): string {
  return join(directory, 'audit.pub')
}

/**
 * The key in `directory`/private/audit.key (PKCS#8, 0600), made at the first call, with its public half in `directory`/audit.pub (0644).
 * A public key of another key that is there already is kept as audit.<its id>.pub: it checks the older checkpoints. Throws an
 * Error that says what to do for a key that others can read, or that is none.
 */
export function openSigningKey(directory: string): SigningKey {
  const file = join(directory, 'private', 'audit.key')
  const key = read(file) ?? create(file)
  const publicKey = createPublicKey(key)
  const publicKeyPem = String(publicKey.export({ type: 'spki', format: 'pem' }))
  const keyId = keyIdOf(publicKey)
  publish(publicKeyPath(directory), publicKeyPem, keyId)
  return {
    keyId,
    publicKeyPem,
    sign: (statement) => sign(null, Buffer.from(statement, 'ascii'), key).toString('base64'),
  }
}

function keyIdOf(publicKey: KeyObject): string {
  const der = publicKey.export({ type: 'spki', format: 'der' })
  return createHash('sha256').update(der).digest('hex').slice(0, 16)
}

/** The public keys in PEM `files`, by their ids. Throws an Error that names the file which is missing or holds no Ed25519 key. */
export function readPublicKeys(files: readonly string[]): ReadonlyMap<string, KeyObject> {
  const keys = new Map<string, KeyObject>()
  for (const file of files) {
    const blocks = fs.readFileSync(file, 'latin1').match(PUBLIC_PEM) ?? []
    if (blocks.length === 0)
      throw refused(file, 'holds no public key in PEM', 'give the file audit.pub of the CA folder')
    for (const block of blocks) {
      const key = parsePublic(file, block)
      keys.set(keyIdOf(key), key)
    }
  }
  return keys
}

/** Every public key of a CA folder: the present one and those it had before. */
export function publicKeysOf(directory: string): string[] {
  if (!fs.existsSync(directory)) return []
  const names = fs.readdirSync(directory).filter((name) => /^audit(?:\.[0-9a-f]{16})?\.pub$/.test(name))
  return names.toSorted().map((name) => join(directory, name))
}

const PUBLIC_PEM = /-----BEGIN PUBLIC KEY-----[A-Za-z0-9+/=\s]{1,4096}-----END PUBLIC KEY-----/g
const MAX_KEY_BYTES = 4_096

function parsePublic(file: string, pem: string): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey(pem)
  } catch (error) {
    throw refused(file, 'holds a public key that can not be read', 'give the file audit.pub of the CA folder', error)
  }
  if (key.asymmetricKeyType === 'ed25519') return key
  throw refused(file, `holds a key of type ${key.asymmetricKeyType}`, 'give the file audit.pub of the CA folder')
}

function read(file: string): KeyObject | null {
  let fd: number
  try {
    fd = fs.openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return null
    if (code === 'ELOOP') throw refused(file, 'is a symbolic link', 'put the file itself there')
    throw refused(file, `can not be read (${code})`, 'give it to the user that runs mcp-egress', error)
  }
  try {
    const stat = fs.fstatSync(fd)
    if (!stat.isFile())
      throw refused(file, 'is not a regular file', 'move it away; a new key is made at the next start')
    // SECURITY: whoever reads the key can sign a trail of his own.
    if ((stat.mode & 0o077) !== 0) throw refused(file, 'can be read or written by others', `chmod 600 ${file}`)
    return parsePrivate(file, stat.size > MAX_KEY_BYTES ? '' : fs.readFileSync(fd, 'latin1'))
  } finally {
    fs.closeSync(fd)
  }
}

function parsePrivate(file: string, pem: string): KeyObject {
  try {
    const key = createPrivateKey(pem)
    if (key.asymmetricKeyType === 'ed25519') return key
  } catch {
    // Said below: the parser's own words name neither file nor fix.
  }
  throw refused(file, 'is no Ed25519 key in PKCS#8 PEM', 'move it away; a new key is made at the next start')
}

/** SECURITY: link(2) makes the whole key appear at once and only if there is none, so two starts at a time agree on one. */
function create(file: string): KeyObject {
  fs.mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  const pem = String(generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const temporary = write(file, pem, 0o600)
  try {
    fs.linkSync(temporary, file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    fs.rmSync(temporary, { force: true })
  }
  const made = read(file)
  if (made === null) throw refused(file, 'was removed while it was made', 'see who else writes there')
  return made
}

function publish(file: string, pem: string, keyId: string): void {
  const there = fs.existsSync(file) ? fs.readFileSync(file, 'latin1') : null
  if (there === pem) return
  if (there !== null) keep(file, there, keyId)
  const temporary = write(file, pem, 0o644)
  // The mode of open(2) is less the umask; a reader of another user must be able to check.
  fs.chmodSync(temporary, 0o644)
  fs.renameSync(temporary, file)
}

function keep(file: string, pem: string, keyId: string): void {
  for (const block of pem.match(PUBLIC_PEM) ?? []) {
    const id = keyIdOf(parsePublic(file, block))
    const kept = join(dirname(file), `audit.${id}.pub`)
    if (id !== keyId && !fs.existsSync(kept)) fs.writeFileSync(kept, `${block}\n`, { mode: 0o644, flag: 'wx' })
  }
}

/** A new file beside `file`, on disk; returns its name. */
function write(file: string, content: string, mode: number): string {
  const temporary = join(dirname(file), `.${basename(file)}.${randomBytes(8).toString('hex')}`)
  const fd = fs.openSync(temporary, 'wx', mode)
  try {
    fs.writeFileSync(fd, content)
    fs.fsyncSync(fd)
  } finally {
    fs.closeSync(fd)
  }
  return temporary
}

function refused(file: string, why: string, fix: string, cause?: unknown): Error {
  return new Error(`signing key ${file} ${why}: ${fix}`, { cause })
}
