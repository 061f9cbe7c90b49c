// Makes the lab's own root and the certificate of its origin in .run/, unless they are there and good for another day.
import { generateKeyPairSync, randomBytes, X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const DAY_MS = 86_400_000
const LIFETIME_DAYS = 30

export const RUN_FOLDER = join(dirname(fileURLToPath(import.meta.url)), '.run')
export const FILES = {
  root: join(RUN_FOLDER, 'root.pem'),
  certificate: join(RUN_FOLDER, 'origin.pem'),
  key: join(RUN_FOLDER, 'origin.key'),
}

/** Idempotent. The root's key is thrown away once the origin's certificate is signed, so nothing else can be made with it. */
export async function prepareLab() {
  if (fresh()) return
  const { default: forge } = await import('node-forge')
  const root = keyPair(forge)
  const origin = keyPair(forge)
  const rootName = [
    { shortName: 'O', value: 'mcp-egress lab' },
    { shortName: 'CN', value: 'mcp-egress lab root' },
  ]
  const rootId = randomBytes(20)

  const rootCertificate = certificate(forge, root.publicKey, rootName, rootName, [
    { name: 'basicConstraints', critical: true, cA: true, pathLenConstraint: 0 },
    { name: 'keyUsage', critical: true, keyCertSign: true, cRLSign: true },
    identifier(forge, '2.5.29.14', (bytes) => octets(forge, bytes), rootId),
  ])
  rootCertificate.sign(root.privateKey, forge.md.sha256.create())

  const originCertificate = certificate(
    forge,
    origin.publicKey,
    rootName,
    [{ shortName: 'CN', value: 'api.lab.test' }],
    [
      { name: 'basicConstraints', critical: true, cA: false },
      { name: 'keyUsage', critical: true, digitalSignature: true, keyEncipherment: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [
          { type: 2, value: 'api.lab.test' },
          { type: 7, ip: '127.0.0.1' },
        ],
      },
      // The authority key identifier, copied from the root's (RFC 5280, section 4.2.1.1): strict clients insist on it.
      identifier(forge, '2.5.29.35', (bytes) => sequence(forge, bytes), rootId),
    ],
  )
  originCertificate.sign(root.privateKey, forge.md.sha256.create())

  mkdirSync(RUN_FOLDER, { recursive: true, mode: 0o755 })
  writeFileSync(FILES.key, origin.pem, { mode: 0o600 })
  writeFileSync(FILES.certificate, forge.pki.certificateToPem(originCertificate))
  writeFileSync(FILES.root, forge.pki.certificateToPem(rootCertificate))
}

function fresh() {
  if (!Object.values(FILES).every((file) => existsSync(file))) return false
  try {
    return Date.parse(new X509Certificate(readFileSync(FILES.root)).validTo) > Date.now() + DAY_MS
  } catch {
    return false
  }
}

/** RSA, because node-forge signs with nothing else; made by Node, which is a hundred times faster at it. */
function keyPair(forge) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' })
  const key = forge.pki.privateKeyFromPem(pem)
  return { pem, privateKey: key, publicKey: forge.pki.rsa.setPublicKey(key.n, key.e) }
}

function certificate(forge, publicKey, issuer, subject, extensions) {
  const made = forge.pki.createCertificate()
  made.publicKey = publicKey
  // Positive and not zero (RFC 5280, section 4.1.2.2).
  made.serialNumber = `01${randomBytes(15).toString('hex')}`
  made.validity.notBefore = new Date(Date.now() - DAY_MS)
  made.validity.notAfter = new Date(Date.now() + LIFETIME_DAYS * DAY_MS)
  made.setIssuer(issuer)
  made.setSubject(subject)
  made.setExtensions(extensions)
  return made
}

function identifier(forge, id, encode, bytes) {
  return { id, critical: false, value: forge.asn1.toDer(encode(bytes.toString('binary'))).getBytes() }
}

function octets(forge, bytes) {
  const { asn1 } = forge
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.OCTETSTRING, false, bytes)
}

function sequence(forge, bytes) {
  const { asn1 } = forge
  return asn1.create(asn1.Class.UNIVERSAL, asn1.Type.SEQUENCE, true, [
    asn1.create(asn1.Class.CONTEXT_SPECIFIC, 0, false, bytes),
  ])
}
