// What the certificate tests share: folders, imported CAs made by openssl, and a TLS server that shows a context of ours.

import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type SecureContext, TLSSocket } from 'node:tls'
import { promisify } from 'node:util'
import { onTestFinished } from 'vitest'
import type { Host } from '../../src/core/address.ts'

export const run: (
  file: string,
  args: readonly string[],
  options?: object,
) => Promise<{ stdout: string; stderr: string }> = promisify(execFile)

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'mcp-egress-tls-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

export function openssl(args: readonly string[], input = ''): string {
  return execFileSync('openssl', args, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] })
}

/** Whether a program can be started; a test that needs it says so loudly when it is skipped. */
export function available(program: string, args: readonly string[]): boolean {
  try {
    execFileSync(program, args, { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`SKIPPED: ${program} is not on this machine, the tests that need it do not run`)
    return false
  }
}

export const EC_P256: readonly string[] = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256']
export const EC_P384: readonly string[] = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384']
export const RSA_2048: readonly string[] = ['-newkey', 'rsa:2048']

export interface ImportedCa {
  readonly key?: readonly string[]
  readonly days?: number
  /** Hex bytes, or `none`. */
  readonly keyIdentifier?: string
  readonly basicConstraints?: string
}

/** A CA folder as an operator would fill it, made by openssl. */
export function importedCa(spec: ImportedCa = {}): string {
  const directory = temporaryDirectory()
  mkdirSync(join(directory, 'private'), { mode: 0o700 })
  openssl([
    'req',
    '-x509',
    '-nodes',
    '-subj',
    '/O=Example/CN=Imported CA',
    '-days',
    String(spec.days ?? 30),
    ...(spec.key ?? EC_P256),
    '-keyout',
    join(directory, 'private/ca.key'),
    '-out',
    join(directory, 'ca.pem'),
    '-addext',
    `basicConstraints=${spec.basicConstraints ?? 'critical,CA:TRUE'}`,
    '-addext',
    `subjectKeyIdentifier=${spec.keyIdentifier ?? 'hash'}`,
    '-addext',
    'authorityKeyIdentifier=none',
    '-addext',
    'keyUsage=critical,keyCertSign,cRLSign',
  ])
  chmodSync(join(directory, 'private/ca.key'), 0o600)
  return directory
}

export function named(text: string): Host {
  return { kind: 'name', text }
}

/** Answers every TLS connection on loopback with a small HTTP response, under the context `choose` gives it. Resolves to its port. */
export async function serve(choose: () => SecureContext, address = '127.0.0.1'): Promise<number> {
  const sockets = new Set<TLSSocket>()
  const server = createServer((raw) => {
    const socket = new TLSSocket(raw, { isServer: true, secureContext: choose() })
    sockets.add(socket)
    socket.on('error', () => raw.destroy())
    socket.once('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok'))
  })
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

/** Writes `text` to a new file and returns its path. */
export function file(text: string | Uint8Array, name = 'file.pem'): string {
  const path = join(temporaryDirectory(), name)
  writeFileSync(path, text)
  return path
}

/** An environment without the proxies and trust stores of this machine. */
export function bareEnvironment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  return { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...extra }
}

/** Compiles src/tls for processes of their own, since Node.js 20 runs no TypeScript; returns the folder of the JavaScript. */
export function compiledRoom(): string {
  const directory = mkdtempSync(join(process.cwd(), 'node_modules/.tls-test-'))
  const root = process.cwd()
  execFileSync(process.execPath, [
    join(root, 'node_modules/typescript/bin/tsc'),
    '--ignoreConfig',
    '--outDir',
    directory,
    '--rootDir',
    join(root, 'src'),
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--types',
    'node',
    '--rewriteRelativeImportExtensions',
    '--skipLibCheck',
    '--strict',
    join(root, 'src/tls/authority.ts'),
    join(root, 'src/tls/trust.ts'),
  ])
  return directory
}
