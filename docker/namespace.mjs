// Owns a network namespace: puts the redirection rules in force, gives up every privilege, and stays so that others can join.
// SECURITY: the owner installs the rules itself, so that a namespace made anew has them too; a one-shot beside it would have to
// be remembered. Guests must wait for its health check: before that, nothing holds them.
import { spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const MAIN = join(dirname(fileURLToPath(import.meta.url)), '../dist/cli/main.js')
const NOBODY = 65_534

for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => process.exit(0))

run(process.execPath, [MAIN, 'iptables', 'apply', ...process.argv.slice(2)])
// What the health check looks for; in a file system that is made anew with the container.
writeFileSync('/run/rules-in-force', '')

process.setgroups([])
process.setgid(NOBODY)
process.setuid(NOBODY)
const kept = /^CapEff:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
if (kept === undefined || BigInt(`0x${kept}`) !== 0n) {
  process.stderr.write(`namespace: privileges are still held (CapEff ${kept}): nobody may join\n`)
  process.exit(2)
}
process.stderr.write('namespace: the rules are in force\n')
setInterval(() => undefined, 2 ** 30)

function run(command, args) {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] })
  if (error === undefined && status === 0) return
  const why = error?.message ?? `exit code ${status}`
  process.stderr.write(`namespace: the rules are not in force (${command}: ${why}): nobody may join\n`)
  process.exit(status || 2)
}
