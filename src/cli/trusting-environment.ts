// The variables by which a command trusts the CA, with the files that they name made where they are missing.

import { errorCode, fileExists, publishFile, type AuthorityPaths } from '../tls/authority-files.ts'
import { readAuthorityCertificates } from '../tls/authority.ts'
import { bundleText } from '../tls/bundle.ts'
import { truststore } from '../tls/pkcs12.ts'
import { runtimeEnvironment } from '../tls/runtime-env.ts'
import { EXIT, ExitError } from './exit.ts'

/** Throws an ExitError (2) for a file that can not be written, and an AuthorityError for a CA that can not be read. */
export function trustingEnvironment(paths: AuthorityPaths, proxyUrl?: string): Record<string, string> {
  const certificates = readAuthorityCertificates(paths)
  // Both follow from the certificates: what the proxy or `init` has not made yet is made here, so that every path named is there.
  if (!fileExists(paths.bundle)) publish(paths.bundle, bundleText(certificates))
  if (!fileExists(paths.truststore)) publish(paths.truststore, truststore(certificates))
  return runtimeEnvironment({ ...paths, ...(proxyUrl === undefined ? {} : { proxyUrl }) })
}

/** Writes a public file of the CA whole or not at all. Throws an ExitError (2) with the fix. */
export function publish(path: string, content: string | Uint8Array): void {
  try {
    publishFile(path, content)
  } catch (error) {
    throw new ExitError(
      EXIT.failure,
      `${path}: can not be written (${errorCode(error)}). Fix: mcp-egress ca export to a writable folder`,
    )
  }
}
