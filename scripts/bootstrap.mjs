// Makes a fresh clone ready: `start` installs and builds what is missing, `test` also the system packages the suite uses.
// Plain Node without dependencies, and silent when there is nothing to do; stdout belongs to the command that follows.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const NODE_MINIMUM = [20, 19]
const MARKER = 'node_modules/.bootstrap'
const SKIPPED = 'node_modules/.bootstrap-skipped.json'
const POLICY_RC = '/usr/sbin/policy-rc.d'
const FOLDERS = [...(process.env.PATH ?? '').split(':'), '/usr/sbin', '/sbin', '/usr/bin', '/bin']

/** What tests run besides Node: the Debian package, a file or command that shows it is there, and what is skipped without it. */
const SYSTEM_PACKAGES = [
  {
    package: 'iptables',
    present: command('iptables', 'ip6tables'),
    skips: 'redirection: rules in a kernel, the transparent door',
  },
  { package: 'iproute2', present: command('ip', 'ss'), skips: 'everything in a network namespace' },
  { package: 'nftables', present: command('nft'), skips: 'checks that read the rules as the kernel has them' },
  { package: 'procps', present: command('ps', 'sysctl'), skips: 'checks of memory and of kernel settings' },
  { package: 'curl', present: command('curl'), skips: 'curl as a client' },
  { package: 'openssl', present: command('openssl'), skips: 'certificates checked by openssl' },
  {
    package: 'ca-certificates',
    present: file('/etc/ssl/certs/ca-certificates.crt'),
    skips: 'the trust store of the system',
  },
  { package: 'nginx-light', present: command('nginx'), skips: 'nginx as an origin' },
  { package: 'python3', present: file('/usr/bin/python3'), skips: 'Python as a client' },
  {
    package: 'python3-requests',
    present: file('/usr/lib/python3/dist-packages/requests'),
    skips: 'requests as a client',
  },
  { package: 'rsyslog', present: command('rsyslogd'), skips: 'shipping to a real syslog server' },
  {
    package: 'rsyslog-gnutls',
    present: () =>
      ['x86_64', 'aarch64'].some((machine) => existsSync(`/usr/lib/${machine}-linux-gnu/rsyslog/lmnsd_gtls.so`)),
    skips: 'shipping to a real syslog server over TLS',
  },
  { package: 'docker-compose', present: command('docker-compose'), skips: 'the Compose layouts in a Docker engine' },
  { package: 'python3-httpx', present: file('/usr/lib/python3/dist-packages/httpx'), skips: 'httpx as a client' },
  { package: 'nghttp2-client', present: command('nghttp', 'h2load'), skips: 'nghttp and h2load as clients' },
  { package: 'python3-h2', present: file('/usr/lib/python3/dist-packages/h2'), skips: 'Python h2 as a client' },
  {
    package: 'python3-h11',
    present: file('/usr/lib/python3/dist-packages/h11'),
    skips: 'h11 as a second reader of HTTP',
  },
  { package: 'python3-grpcio', present: file('/usr/lib/python3/dist-packages/grpc'), skips: 'gRPC from Python' },
  {
    package: 'python3-websockets',
    present: file('/usr/lib/python3/dist-packages/websockets'),
    skips: 'WebSocket from Python',
  },
  { package: 'slowhttptest', present: command('slowhttptest'), skips: 'slow requests by slowhttptest' },
  { package: 'valgrind', present: command('valgrind'), skips: 'the guard of what a request costs in instructions' },
]

/** Too big to install unasked. */
const OPTIONAL_TOOLS = [
  { package: 'a Java runtime (keytool)', present: command('keytool'), skips: 'Java trust stores' },
]

function command(...names) {
  return () => names.every((name) => FOLDERS.some((folder) => existsSync(join(folder, name))))
}

function file(path) {
  return () => existsSync(path)
}

function say(text) {
  process.stderr.write(`${text}\n`)
}

function fail(text) {
  say(`bootstrap: ${text}`)
  process.exit(1)
}

/** Runs a command whose output is diagnostics. */
function run(what, name, args, env = {}) {
  const { status, error } = spawnSync(name, args, { stdio: ['ignore', 2, 2], env: { ...process.env, ...env } })
  return error === undefined && status === 0 ? null : `${what} failed (${error?.message ?? `exit code ${status}`})`
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major > NODE_MINIMUM[0] || (major === NODE_MINIMUM[0] && minor >= NODE_MINIMUM[1])) return
  fail(
    `mcp-egress needs Node ${NODE_MINIMUM.join('.')} or newer and this is ${process.versions.node}: https://nodejs.org/en/download`,
  )
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return {}
  }
}

function remember(facts) {
  writeFileSync(MARKER, JSON.stringify({ ...readJson(MARKER), ...facts }))
}

function installDependencies() {
  const lock = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')
  if (readJson(MARKER).lock === lock) return
  if (!installedAsLocked()) {
    // `npm ci` refuses a lock file that was written where some platform's optional packages could not be had.
    const verb = lockNamesEveryPlatform() ? ['ci'] : ['install', '--no-save']
    say(`bootstrap: installing dependencies (npm ${verb.join(' ')})`)
    const npm = process.env.npm_execpath?.endsWith('.js') ? [process.execPath, process.env.npm_execpath] : ['npm']
    // No install scripts: nothing here needs one, and a dependency's would run with the rights of whoever starts us.
    const flags = ['--ignore-scripts', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
    const problem = run(`npm ${verb[0]}`, npm[0], [...npm.slice(1), ...verb, ...flags])
    const byHand = `npm ${verb.join(' ')} --ignore-scripts`
    if (problem !== null) fail(`${problem}: is the package registry reachable? Try it by hand: ${byHand}`)
    if (!installedAsLocked())
      fail(`npm installed other versions than package-lock.json names: rm -r node_modules, then ${byHand}`)
  }
  remember({ lock })
}

/** True when what is in node_modules is what the lock file says, whoever put it there; other platforms' packages aside. */
function installedAsLocked() {
  const wanted = readJson('package-lock.json').packages ?? {}
  const there = readJson('node_modules/.package-lock.json').packages
  if (there === undefined) return false
  const names = Object.keys(wanted).filter((name) => name !== '' && wanted[name].optional !== true)
  return names.every((name) => there[name]?.version === wanted[name].version && existsSync(name))
}

function lockNamesEveryPlatform() {
  const locked = readJson('package-lock.json').packages ?? {}
  return Object.entries(locked).every(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).every((name) =>
      [`node_modules/${name}`, `${path}/node_modules/${name}`].some((place) => locked[place] !== undefined),
    ),
  )
}

function build() {
  const sources = newest(['src', 'tsconfig.json', 'tsconfig.build.json', 'scripts/build.mjs'])
  if (existsSync('dist/cli/main.js') && readJson(MARKER).sources === sources) return
  say('bootstrap: building')
  const problem = run('the build', process.execPath, ['scripts/build.mjs'])
  if (problem !== null) fail(`${problem}: the errors are above`)
  remember({ sources })
}

/** The latest change below `paths`; folders count, so that a deleted file is a change. */
function newest(paths) {
  let latest = 0
  for (const path of paths) {
    const found = statSync(path, { throwIfNoEntry: false })
    if (found === undefined) continue
    latest = Math.max(latest, found.mtimeMs)
    if (found.isDirectory()) latest = Math.max(latest, newest(readdirSync(path).map((name) => join(path, name))))
  }
  return latest
}

/** The lab's certificates, so that `npm start -- -c examples/lab/mcp-egress.yaml` finds what its configuration names. */
async function prepareLab() {
  const path = 'examples/lab/prepare.mjs'
  if (!existsSync(path)) return
  try {
    const { prepareLab: prepare } = await import(pathToFileURL(path).href)
    await prepare()
  } catch (error) {
    say(`bootstrap: the lab in examples/lab has no certificates, everything else works: ${error.message}`)
  }
}

function installSystemPackages() {
  const missing = SYSTEM_PACKAGES.filter(({ present }) => !present())
  if (missing.length === 0 || process.getuid?.() !== 0 || !command('apt-get')()) return
  const names = missing.map((entry) => entry.package)
  say(`bootstrap: installing system packages (apt-get): ${names.join(' ')}`)
  // A freshly installed nginx must not take port 80 of a machine that only wants to run tests.
  const guard = !existsSync(POLICY_RC)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  try {
    if (guard) writeFileSync(POLICY_RC, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
    const updated = run('apt-get update', 'apt-get', ['update', '-qq'], env)
    if (updated !== null) say(`bootstrap: ${updated}; trying the lists that are here`)
    const install = ['install', '-y', '-qq', '--no-install-recommends']
    if (run('apt-get install', 'apt-get', [...install, ...names], env) === null) return
    // One package that can not be had must not cost the others.
    for (const name of names) run(name, 'apt-get', [...install, name], env)
  } finally {
    if (guard) rmSync(POLICY_RC, { force: true })
  }
}

/** Says what will not be tested and why, and leaves it for the tests to read: `{ skipped: [{ suite, because }] }`. */
function reportSkipped() {
  const skipped = [...SYSTEM_PACKAGES, ...OPTIONAL_TOOLS]
    .filter(({ present }) => !present())
    .map((entry) => ({ suite: entry.skips, because: `${entry.package} is not installed` }))
  if (process.getuid?.() !== 0) {
    skipped.push({
      suite: 'redirection and everything else in a network namespace',
      because: 'the tests do not run as root',
    })
  }
  mkdirSync(dirname(SKIPPED), { recursive: true })
  writeFileSync(SKIPPED, `${JSON.stringify({ skipped }, null, 2)}\n`)
  if (skipped.length === 0) return
  const line = '='.repeat(78)
  say(
    [
      line,
      'SKIPPED, and so NOT tested here:',
      ...skipped.map(({ suite, because }) => `  - ${suite}: ${because}`),
      line,
    ].join('\n'),
  )
}

const stage = process.argv[2]
if (stage !== 'start' && stage !== 'test') fail('usage: node scripts/bootstrap.mjs start|test')
checkNode()
process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'))
installDependencies()
build()
await prepareLab()
if (stage === 'test') {
  installSystemPackages()
  reportSkipped()
}
