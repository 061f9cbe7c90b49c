// `mcp-egress ca`: make the local CA, show it, and hand it out to the workloads that are to trust it.

import type { X509Certificate } from 'node:crypto'
import { chmodSync, mkdirSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { Command } from 'commander'
import { openAuthority, readAuthorityCertificates } from '../tls/authority.ts'
import { AuthorityError, type AuthorityPaths, authorityPaths, errorCode, fileExists } from '../tls/authority-files.ts'
import { bundleText } from '../tls/bundle.ts'
import { truststore } from '../tls/pkcs12.ts'
import { TrustError } from '../tls/trust.ts'
import { EXIT, ExitError } from './exit.ts'
import { publish, trustingEnvironment } from './trusting-environment.ts'

/** What says where the CA is: a configuration file, or its folder itself. */
export interface DirectoryOptions {
  readonly config?: string
  readonly directory?: string
}

const DEFAULT_DIRECTORY = 'certs'
const DAY_MS = 86_400_000

/** @param resolveDirectory the CA's folder for the options given; relative results count from the working directory. */
export function caCommand(resolveDirectory: (options: DirectoryOptions) => string = defaultDirectory): Command {
  const command = new Command('ca').description('make, print and hand out the local CA')
  const paths = (options: DirectoryOptions): AuthorityPaths => authorityPaths(resolve(resolveDirectory(options)))

  verb(command, 'init', 'create the CA unless it is there, with the bundle and the Java trust store')
    .option('--json', 'print JSON')
    .action((options: DirectoryOptions & { json?: true }) =>
      reportFailure(() => init(paths(options), options.json === true)),
    )
  verb(command, 'show', 'print what the CA is and until when it holds')
    .option('--json', 'print JSON')
    .action((options: DirectoryOptions & { json?: true }) =>
      reportFailure(() => show(paths(options), options.json === true)),
    )
  verb(command, 'env', 'print the variables that make runtimes trust the CA, for a shell to evaluate')
    .option('--proxy <url>', 'also point them at this proxy, for where nothing redirects their traffic')
    .option('--json', 'print JSON')
    .action((options: DirectoryOptions & { proxy?: string; json?: true }) =>
      reportFailure(() => environment(paths(options), options.proxy, options.json === true)),
    )
  verb(command, 'bundle', 'print the roots of this system plus the CA, PEM').action((options: DirectoryOptions) =>
    reportFailure(() => print(bundleText(readAuthorityCertificates(existing(paths(options)))))),
  )
  verb(command, 'export', 'copy what a workload needs, never the key, world-readable into a folder')
    .argument('<dir>', 'folder, created when missing')
    .option('--json', 'print JSON')
    .action((target: string, options: DirectoryOptions & { json?: true }) =>
      reportFailure(() => exportTo(paths(options), resolve(target), options.json === true)),
    )
  return command
}

function verb(parent: Command, name: string, description: string): Command {
  return parent
    .command(name)
    .description(description)
    .option('-c, --config <file>', 'configuration file that names ca.directory')
    .option('--directory <dir>', 'folder of the CA')
}

function defaultDirectory(options: DirectoryOptions): string {
  return options.directory ?? DEFAULT_DIRECTORY
}

function init(paths: AuthorityPaths, json: boolean): void {
  const created = !fileExists(paths.ca)
  const authority = openAuthority(paths.directory, new Date())
  for (const warning of authority.warnings) warn(warning)
  publish(paths.truststore, truststore(readAuthorityCertificates(paths)))
  warn(created ? `created a CA in ${paths.directory}` : `there is a CA in ${paths.directory} already; kept`)
  show(paths, json)
}

function show(paths: AuthorityPaths, json: boolean): void {
  const [certificate] = readAuthorityCertificates(existing(paths))
  const notAfter = new Date(certificate.validTo)
  const facts = {
    subject: certificate.subject.replaceAll('\n', ', '),
    key: keyName(certificate),
    fingerprint256: certificate.fingerprint256,
    not_before: new Date(certificate.validFrom).toISOString(),
    not_after: notAfter.toISOString(),
    days_left: Math.floor((notAfter.getTime() - Date.now()) / DAY_MS),
    certificate: paths.ca,
    bundle: paths.bundle,
    truststore: paths.truststore,
  }
  if (json) return printJson(facts)
  for (const [name, value] of Object.entries(facts)) print(`${name.padEnd(14)}  ${value}\n`)
}

function environment(paths: AuthorityPaths, proxyUrl: string | undefined, json: boolean): void {
  const variables = trustingEnvironment(existing(paths), proxyUrl === undefined ? undefined : checkProxy(proxyUrl))
  if (json) return printJson(variables)
  for (const [name, value] of Object.entries(variables)) print(`export ${name}=${shellQuoted(value)}\n`)
}

function exportTo(paths: AuthorityPaths, target: string, json: boolean): void {
  const certificates = readAuthorityCertificates(existing(paths))
  const exported = authorityPaths(target)
  mkdir(target)
  publish(exported.ca, readFileSync(paths.ca))
  publish(exported.bundle, bundleText(certificates))
  publish(exported.truststore, truststore(certificates))
  const files = [exported.ca, exported.bundle, exported.truststore]
  if (json) return printJson({ files })
  for (const file of files) print(`${file}\n`)
}

function existing(paths: AuthorityPaths): AuthorityPaths {
  if (fileExists(paths.ca)) return paths
  throw new AuthorityError(`${paths.ca}: there is no CA. Fix: mcp-egress ca init --directory ${paths.directory}`)
}

function checkProxy(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '') return text
  throw new ExitError(EXIT.usage, `--proxy ${text}: not a proxy URL. Fix: write it as http://127.0.0.1:3128`)
}

function keyName(certificate: X509Certificate): string {
  const { asymmetricKeyType, asymmetricKeyDetails } = certificate.publicKey
  return `${asymmetricKeyType} ${asymmetricKeyDetails?.namedCurve ?? asymmetricKeyDetails?.modulusLength}`
}

function mkdir(path: string): void {
  try {
    // Whoever mounts the folder has to be able to enter it, whatever the umask here.
    if (mkdirSync(path, { recursive: true }) !== undefined) chmodSync(path, 0o755)
  } catch (error) {
    throw new ExitError(EXIT.failure, `${path}: can not be created (${errorCode(error)})`)
  }
}

/** For POSIX shells: nothing is special between single quotes but the quote itself. */
function shellQuoted(value: string): string {
  return `'${value.replaceAll("'", String.raw`'\''`)}'`
}

function reportFailure(run: () => void): void {
  try {
    run()
  } catch (error) {
    if (error instanceof AuthorityError || error instanceof TrustError) throw new ExitError(EXIT.failure, error.message)
    throw error
  }
}

function print(text: string): void {
  process.stdout.write(text)
}

function printJson(value: unknown): void {
  print(`${JSON.stringify(value, null, 2)}\n`)
}

function warn(text: string): void {
  process.stderr.write(`${text}\n`)
}
