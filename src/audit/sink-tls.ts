// How a sink reaches its receiver: names by the proxy's own resolver, and TLS that is always verified.

import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import type { LookupAddress } from 'node:dns'
import { isIPv6, type LookupFunction } from 'node:net'
import type { ConnectionOptions } from 'node:tls'

/** The addresses of a name. Rejects, saying why, when there are none. */
export type ResolveName = (name: string) => Promise<readonly string[]>

/** Files of PEM. */
export interface TlsFiles {
  /** Instead of the roots of the system. */
  readonly ca?: string
  /** The certificate with which the sink presents itself, and its key. */
  readonly cert?: string
  readonly key?: string
}

export interface Reach {
  readonly lookup: LookupFunction
  readonly tls: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'minVersion' | 'rejectUnauthorized'>
}

/** Throws an Error that names the file and the fix. `roots`: those of the system, PEM. */
export function reach(files: TlsFiles, roots: () => readonly string[], resolve: ResolveName): Reach {
  const ca = files.ca === undefined ? [...roots()] : [certificates(files.ca)]
  const cert = files.cert === undefined ? {} : { cert: certificates(files.cert) }
  const key = files.key === undefined ? {} : { key: readPem(files.key) }
  return {
    lookup: lookupBy(resolve),
    // SECURITY: said here although it is the default, which NODE_TLS_REJECT_UNAUTHORIZED=0 changes.
    tls: { ca, ...cert, ...key, minVersion: 'TLSv1.2', rejectUnauthorized: true },
  }
}

function certificates(path: string): string {
  const pem = readPem(path)
  if (isCertificate(pem)) return pem
  throw new Error(`${path}: no PEM certificate in it. Fix: openssl x509 -inform DER -in ${path} -out ca.pem`)
}

function isCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0
  } catch {
    return false
  }
}

function readPem(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch (cause) {
    throw new Error(`${path}: can not be read (${(cause as NodeJS.ErrnoException).code}). Fix: correct the path`, {
      cause,
    })
  }
}

/** SECURITY: never getaddrinfo(3). It takes one of libuv's four threads for as long as a name server hangs, and the trail writes by those. */
function lookupBy(resolve: ResolveName): LookupFunction {
  const look = async (...[name, options, callback]: Parameters<LookupFunction>): Promise<void> => {
    callback(...(await answer(name, options.all === true, resolve)))
  }
  return (...asked) => void look(...asked)
}

type Answer = [error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number]

async function answer(name: string, all: boolean, resolve: ResolveName): Promise<Answer> {
  try {
    const found = (await resolve(name)).map((address) => ({ address, family: isIPv6(address) ? 6 : 4 }))
    const [first] = found
    if (first === undefined) return [new Error(`${name} has no address`), '']
    return all ? [null, found] : [null, first.address, first.family]
  } catch (error) {
    return [error as NodeJS.ErrnoException, '']
  }
}
