// The origin: a test root, a wildcard certificate and one for each name never seen, and the nginx of origin.conf.
import { generateKeyPairSync } from 'node:crypto'
import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { command } from './namespace.mjs'
import { fill } from './template.mjs'

export const ADDRESS = '127.0.0.2'
export const PORT = 443
const LARGE_BYTES = 100_000_000
const ITEM_BYTES = 308
const NAMES = 'subjectAltName=DNS:bench.example,DNS:*.bench.example,DNS:*.cold.bench.example'
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
const LIFETIME = ['-days', '30']

function item() {
  const [before, after] = ['{"id":42,"name":"', '"}\n']
  return before + 'x'.repeat(ITEM_BYTES - before.length - after.length) + after
}

/** A CA with a P-256 key. `key` and `certificate` are the paths it is written to. */
export function makeAuthority(name, { key, certificate }) {
  const made = [
    '-keyout',
    key,
    '-out',
    certificate,
    '-subj',
    `/CN=${name}`,
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ]
  command('openssl', 'req', '-x509', ...NEW_KEY, ...made, ...LIFETIME)
}

function makeWildcard(folder, root) {
  const [key, request, certificate] = ['leaf.key', 'leaf.csr', 'leaf.pem'].map((name) => join(folder, name))
  command(
    'openssl',
    'req',
    '-new',
    ...NEW_KEY,
    '-keyout',
    key,
    '-out',
    request,
    '-subj',
    '/CN=bench.example',
    '-addext',
    NAMES,
  )
  const signed = [
    '-CA',
    root.certificate,
    '-CAkey',
    root.key,
    '-CAcreateserial',
    '-copy_extensions',
    'copy',
    ...LIFETIME,
  ]
  command('openssl', 'x509', '-req', '-in', request, '-out', certificate, ...signed)
  return { key, certificate }
}

/** The minting of the built product: openssl, a process for each certificate, would take a minute. */
async function openMint(folder) {
  const [{ openAuthority }, { mintLeaf }, { parseServerName }] = await Promise.all([
    import('../dist/tls/authority.js'),
    import('../dist/tls/leaf.js'),
    import('../dist/core/address.js'),
  ])
  const directory = join(folder, 'root')
  const authority = openAuthority(directory, new Date())
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  writeFileSync(join(folder, 'cold.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }))
  const cold = join(folder, 'cold')
  mkdirSync(cold)
  return {
    root: { certificate: join(directory, 'ca.pem'), key: join(directory, 'private', 'ca.key') },
    certify(names) {
      const now = new Date()
      for (const name of names) {
        writeFileSync(
          join(cold, `${name}.pem`),
          mintLeaf(authority, publicKey, parseServerName(name), now).certificatePem,
        )
      }
    },
  }
}

/**
 * Writes what the origin needs; `command` runs it. `root` is the path of the test root, `leaf` the wildcard certificate with its key.
 * @param {string} folder
 */
export async function prepareOrigin(folder) {
  mkdirSync(folder)
  const { root, certify } = await openMint(folder)
  const leaf = makeWildcard(folder, root)
  const large = openSync(join(folder, 'large'), 'w')
  ftruncateSync(large, LARGE_BYTES)
  closeSync(large)
  const conf = join(folder, 'nginx.conf')
  fill(new URL('./origin.conf', import.meta.url), conf, { FOLDER: folder, ITEM: item() })
  return {
    root: root.certificate,
    leaf,
    certify,
    command: ['nginx', '-p', folder, '-c', conf],
  }
}
