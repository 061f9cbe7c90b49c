// node bench/guard/run.mjs [--accept]: whether a request costs more instructions than it did when bench/baseline.json was accepted.
// Ends with 1 when something grew by more than 15 %, and with 0 where nothing can be counted or nothing was accepted.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { countPhases, obstacle } from './callgrind.mjs'
import { compare, ratios, report } from './compare.mjs'
import { drive, startOrigin } from './exchanges.mjs'
import { EXCHANGES, instructionsEach, STEPS } from './phases.mjs'

const BASELINE = fileURLToPath(new URL('../baseline.json', import.meta.url))
/** Half a minute on an idle machine. */
const DEADLINE_SECONDS = 300
/** Other engines and instruction sets do other work for the same code. */
const ENGINE = `node ${process.versions.node.split('.')[0]}, ${process.arch}`

const STEPS_SCRIPT = fileURLToPath(new URL('./steps.mjs', import.meta.url))
const PROXY_SCRIPT = fileURLToPath(new URL('./proxy.mjs', import.meta.url))

async function countSteps() {
  const { ended } = countPhases(STEPS_SCRIPT, { seconds: DEADLINE_SECONDS })
  return instructionsEach(STEPS, await ended)
}

async function countExchanges(folder) {
  const origin = await startOrigin(folder)
  try {
    const args = [origin.root, String(origin.port)]
    const { child, ended, stop } = countPhases(PROXY_SCRIPT, { args, seconds: DEADLINE_SECONDS })
    // A subject that ends by itself has failed, and its own words say more than what its client met.
    await Promise.race([drive(child, origin.port).finally(stop), ended])
    return instructionsEach(EXCHANGES, await ended)
  } finally {
    origin.close()
  }
}

async function count() {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-guard-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const [steps, exchanges] = await Promise.all([countSteps(), countExchanges(folder)])
  return new Map([...steps, ...exchanges])
}

async function main() {
  const missing = obstacle()
  if (missing !== null) {
    process.stderr.write(`guard: nothing was counted: ${missing}\n`)
    return 0
  }
  const counts = await count()
  const now = ratios(counts)
  const accepted = JSON.parse(readFileSync(BASELINE, 'utf8'))
  if (process.argv.includes('--accept')) {
    writeFileSync(BASELINE, `${JSON.stringify({ ...accepted, [ENGINE]: now }, null, 2)}\n`)
    process.stdout.write(`${report(counts, compare(now, now), ENGINE)}guard: accepted as the baseline of ${ENGINE}\n`)
    return 0
  }
  const compared = compare(now, accepted[ENGINE] ?? null)
  process.stdout.write(report(counts, compared, ENGINE))
  return compared.some(({ verdict }) => verdict === 'grew' || verdict === 'unknown') ? 1 : 0
}

process.once('SIGINT', () => process.exit(130)).once('SIGTERM', () => process.exit(143))
try {
  process.exit(await main())
} catch (error) {
  process.stderr.write(`guard: FAILED: ${error.message}\n`)
  process.exit(1)
}
