// Adds one CA to the roots that this process trusts by default.

import { readFileSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import tls from 'node:tls'

/** The functions of Node.js 22.19 and 24.5; older ones lack them. */
interface DefaultCertificates {
  readonly getCACertificates?: (type: 'default') => string[]
  readonly setDefaultCACertificates?: (certificates: readonly string[]) => void
}

/** A sentence about why it could not be done, or null. What an application passes as `ca` stays as it is. */
export function trustAlso(file: string): string | null {
  let pem: string
  try {
    pem = readFileSync(file, 'utf8')
    tls.createSecureContext({ ca: pem })
  } catch (error) {
    return `MCP_EGRESS_CA=${file}: ${error instanceof Error ? error.message : String(error)}: it is not trusted`
  }
  if (!pem.includes('-----BEGIN CERTIFICATE-----')) return `MCP_EGRESS_CA=${file}: no PEM certificate in it`
  const { getCACertificates, setDefaultCACertificates } = tls as DefaultCertificates
  if (getCACertificates !== undefined && setDefaultCACertificates !== undefined) {
    setDefaultCACertificates([...getCACertificates('default'), pem])
  } else {
    addToEveryContext(pem)
  }
  return null
}

/** Every TLS client of Node.js, undici too, takes its context from this function unless it is given one. */
function addToEveryContext(pem: string): void {
  const createSecureContext = tls.createSecureContext
  tls.createSecureContext = (options) => {
    const made = createSecureContext(options)
    // `ca` replaces the default roots, and what replaces them is the application's choice. An empty value replaces nothing.
    if (!options?.ca) (made.context as { addCACert(pem: string): void }).addCACert(pem)
    return made
  }
  // For whoever imports the function by its name.
  syncBuiltinESMExports()
}
