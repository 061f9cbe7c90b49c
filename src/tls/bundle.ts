// `bundle.pem`: the roots of this system plus our CA, for the many clients whose one variable replaces their trust store.

import type { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type AuthorityPaths, errorCode, publishFile } from './authority-files.ts'
import { systemRoots } from './trust.ts'

/** The text of the bundle. Ours come first: a reader that stops after one certificate still has the one it meets. */
export function bundleText(authority: readonly X509Certificate[], roots: readonly string[] = systemRoots()): string {
  const ours = authority.map((certificate) => certificate.toString())
  return [...new Set([...ours, ...roots])].join('')
}

/** Rewrites `bundle.pem` when it is missing or stale; a sentence about it when that is not possible, else null. */
export function refreshBundle(paths: AuthorityPaths, authority: readonly X509Certificate[]): string | null {
  const text = bundleText(authority)
  if (currentText(paths.bundle) === text) return null
  try {
    publishFile(paths.bundle, text)
    return null
  } catch (error) {
    // An imported CA may be mounted read-only: the proxy needs no bundle, its clients do.
    return `${paths.bundle}: stale or missing, and it can not be written (${errorCode(error)}). Fix: mcp-egress ca export to a writable folder`
  }
}

function currentText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}
