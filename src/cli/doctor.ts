// `mcp-egress doctor`: tries whether the CA holds in each runtime found here.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Command, Option } from 'commander'
import { type Report, verifyContainment, VerifyError, type VerifyOptions } from '../jail/verify/verify.ts'
import { openAuthority, readAuthorityCertificates } from '../tls/authority.ts'
import { AuthorityError, type AuthorityPaths, authorityPaths, fileExists } from '../tls/authority-files.ts'
import { bundleText } from '../tls/bundle.ts'
import { LeafCache } from '../tls/leaf-cache.ts'
import { truststore } from '../tls/pkcs12.ts'
import { runtimeEnvironment } from '../tls/runtime-env.ts'
import { PROBES, type Probe } from './doctor-probes.ts'
import { allHold, type Finding, findingsText } from './doctor-report.ts'
import { checkRelay, NAME, openOrigin, openRelay, type Target } from './doctor-target.ts'
import { type Examination, examine } from './doctor-verdict.ts'
import { EXIT, ExitError } from './exit.ts'
import { json, type Output, processOutput } from './output.ts'
import { reportText } from './verify.ts'

interface Flags {
  readonly config?: string
  readonly directory?: string
  readonly runtime?: readonly string[]
  readonly proxy?: string
  readonly containment?: VerifyOptions['mode']
  readonly json?: true
}

/** What the verb needs of the rest of the command. */
export interface DoctorGround {
  /** The CA's folder for the options given; a relative one counts from the working directory. */
  readonly resolveDirectory: (options: { readonly config?: string; readonly directory?: string }) => string
  readonly listeners: (config: string | undefined) => VerifyOptions['listeners']
  readonly verify?: (options: VerifyOptions) => Promise<Report>
}

/** How many runtimes are tried at once. */
const CONCURRENCY = 2

export function doctorCommand(ground: DoctorGround, output: Output = processOutput()): Command {
  return new Command('doctor')
    .description('does the CA hold in each runtime here; can anything get out past the proxy')
    .option('-c, --config <file>', 'configuration file that names ca.directory')
    .option('--directory <dir>', 'folder of the CA, or of what `ca export` wrote')
    .option('--runtime <name...>', `only these: ${PROBES.map(({ runtime }) => runtime).join(' ')}`)
    .option(
      '--proxy <url>',
      'take the certificates from this running proxy; default where there is no key: HTTPS_PROXY',
    )
    .addOption(
      new Option('--containment [mode]', 'also try every way out, as `iptables verify --mode` does')
        .choices(['output', 'prerouting'])
        .preset('output'),
    )
    .option('--json', 'print JSON')
    .action(async (flags: Flags) => {
      const probes = selected(flags.runtime)
      const paths = authorityPaths(resolve(ground.resolveDirectory(flags)))
      const findings = await withScratch((scratch) => diagnose(probes, paths, flags.proxy, scratch)).catch(fail)
      const containment = flags.containment === undefined ? null : await contain(ground, flags, paths).catch(fail)
      const holds = allHold(findings, flags.runtime !== undefined)
      if (flags.json) {
        const runtimes = findings.map(({ runtime, result }) => ({ runtime, ...result }))
        output.out(json({ holds, runtimes, ...(containment === null ? {} : { containment }) }))
      } else {
        output.out(findingsText(findings, holds, output))
        if (containment !== null) output.out(`\n${reportText(containment, output)}`)
      }
      if (!holds || containment?.contained === false) throw new ExitError(EXIT.no, '')
    })
}

function fail(error: unknown): never {
  if (error instanceof AuthorityError || error instanceof VerifyError) {
    throw new ExitError(EXIT.failure, error.message)
  }
  throw error
}

/** As the caller, from where the caller is: `iptables verify` asks for other users. */
function contain(
  { listeners, verify = verifyContainment }: DoctorGround,
  { config, containment = 'output' }: Flags,
  paths: AuthorityPaths,
): Promise<Report> {
  return verify({
    mode: containment,
    workloadUid: null,
    proxyUid: null,
    canary: {},
    listeners: listeners(config),
    ca: readFileSync(paths.ca, 'utf8'),
  })
}

function selected(names: readonly string[] | undefined): readonly Probe[] {
  if (names === undefined) return PROBES
  const unknown = names.filter((name) => !PROBES.some(({ runtime }) => runtime === name))
  if (unknown.length === 0) return PROBES.filter(({ runtime }) => names.includes(runtime))
  const known = PROBES.map(({ runtime }) => runtime).join(' ')
  throw new ExitError(EXIT.usage, `--runtime ${unknown.join(' ')}: not known\n  fix: choose of ${known}`)
}

async function diagnose(
  probes: readonly Probe[],
  paths: AuthorityPaths,
  proxy: string | undefined,
  scratch: string,
): Promise<Finding[]> {
  if (!fileExists(paths.ca)) {
    throw new AuthorityError(`${paths.ca}: there is no CA. Fix: mcp-egress ca init --directory ${paths.directory}`)
  }
  const certificates = readAuthorityCertificates(paths)
  const handed = authorityPaths(join(scratch, 'ca'))
  mkdirSync(handed.directory)
  writeFileSync(handed.ca, readFileSync(paths.ca))
  writeFileSync(handed.bundle, bundleText(certificates))
  writeFileSync(handed.truststore, truststore(certificates))
  const examination: Examination = {
    environment: process.env,
    caVariables: runtimeEnvironment(handed),
    files: paths,
    scratch,
    ours: await ownTargets(paths, proxy),
    foreign: localTargets(join(scratch, 'foreign')),
  }
  const findings: Finding[] = []
  const waiting = [...probes.entries()]
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [index, probe] = next
      findings[index] = { runtime: probe.runtime, result: await examine(probe, examination) }
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return findings
}

/** From the CA's key where it is at hand; a workload has none, and there the running proxy makes the leaf. */
async function ownTargets(paths: AuthorityPaths, proxy: string | undefined): Promise<() => Promise<Target>> {
  if (proxy === undefined && hasKey(paths)) return localTargets(paths.directory)
  const url = proxyUrl(paths, proxy ?? process.env['https_proxy'] ?? process.env['HTTPS_PROXY'] ?? '')
  await checkRelay(url, readFileSync(paths.ca, 'utf8'))
  return () => openRelay(url)
}

function hasKey(paths: AuthorityPaths): boolean {
  try {
    return fileExists(paths.key)
  } catch {
    // A folder of another user: as good as none.
    return false
  }
}

function localTargets(directory: string): () => Promise<Target> {
  const leaves = new LeafCache(openAuthority(directory, new Date()), { now: () => Date.now() })
  return () => openOrigin(leaves.get({ kind: 'name', text: NAME }))
}

function proxyUrl(paths: AuthorityPaths, text: string): URL {
  if (text === '') {
    throw new ExitError(
      EXIT.usage,
      `${paths.key}: there is no key here, which is right in a workload, and no proxy is named\n  fix: --proxy http://127.0.0.1:3128`,
    )
  }
  const url = URL.canParse(text) ? new URL(text) : null
  if (url?.protocol === 'http:' && url.hostname !== '') return url
  throw new ExitError(EXIT.usage, '--proxy: not an http:// URL\n  fix: write it as http://127.0.0.1:3128')
}

/** The folder is gone afterwards, also when the user has seen enough. */
async function withScratch<T>(run: (scratch: string) => Promise<T>): Promise<T> {
  const scratch = mkdtempSync(join(tmpdir(), 'mcp-egress-doctor-'))
  const remove = (): void => rmSync(scratch, { recursive: true, force: true })
  const stop = (signal: NodeJS.Signals): void => {
    remove()
    process.exit(128 + constants.signals[signal])
  }
  process.once('SIGINT', stop).once('SIGTERM', stop)
  try {
    return await run(scratch)
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
    remove()
  }
}
