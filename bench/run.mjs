// npm run bench [-- --quick] [--only keep-alive,bulk] [--peers mcp-egress,squid] [--soak N]: mcp-egress beside its peers.
// Prints tables; a whole run writes results/latest.{json,md,svg}, any other results/partial.{json,md,svg}; `decide` draws results/policy-cost.svg.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { openLab } from './lab.mjs'
import { measures } from './measures/index.mjs'
import { peers } from './peers/index.mjs'
import { markdown, picture } from './report.mjs'

const TREE = fileURLToPath(new URL('..', import.meta.url))
const RESULTS = fileURLToPath(new URL('./results/', import.meta.url))

const OPTIONS = {
  quick: { type: 'boolean', default: false },
  only: { type: 'string' },
  peers: { type: 'string' },
  soak: { type: 'string' },
}

/** Those of the list, in their own order; throws on a name that nobody has. `mcp-egress` means its other versions of Node.js too. */
function chosen(all, list, what) {
  if (list === undefined) return all
  const names = list.split(',')
  const has = (one, name) => one.name === name || one.name.split('@')[0] === name
  const unknown = names.find((name) => !all.some((one) => has(one, name)))
  if (unknown !== undefined)
    throw new Error(`no ${what} ${unknown}; there are ${all.map(({ name }) => name).join(', ')}`)
  return all.filter((one) => names.some((name) => has(one, name)))
}

function newest(folder) {
  return Math.max(...readdirSync(folder, { recursive: true }).map((path) => statSync(join(folder, path)).mtimeMs))
}

function buildIfStale() {
  const built = join(TREE, 'dist/cli/main.js')
  if (existsSync(built) && statSync(built).mtimeMs > newest(join(TREE, 'src'))) return
  process.stderr.write('building dist/\n')
  const { status } = spawnSync(process.execPath, ['scripts/build.mjs'], { cwd: TREE, stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error('the build failed')
}

const note = (line) => process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`)

/** A measure that fails as a whole is one line of the report, and the others go on. */
async function measureAll(lab, wanted, subjects, options) {
  const results = {}
  for (const measure of wanted) {
    note(measure.title)
    const began = performance.now()
    const report = (line) => note(`${measure.name}: ${line}`)
    let found
    try {
      found = await measure.run(lab, subjects, { ...options, report })
    } catch (error) {
      report(error.stack)
      found = { tables: [], failed: error.message }
    }
    const seconds = Math.round((performance.now() - began) / 1e3)
    results[measure.name] = { title: measure.title, rounds: measure.rounds(options), seconds, ...found }
    note(`${measure.name} took ${seconds} s`)
  }
  return results
}

const taken = (rounds) =>
  rounds === 1 ? 'One round.' : `${rounds} rounds; medians ± half the distance of the extremes.`

/** Of those that are here. */
function versions(subjects) {
  return subjects
    .filter((peer) => peer.missing() === null)
    .map(({ name, version }) => `${name} ${version()}`)
    .join(', ')
}

function document(head, results) {
  const sections = Object.values(results).map(({ title, rounds, tables, failed }) =>
    [`## ${title}`, failed === undefined ? taken(rounds) : `Failed: ${failed}`]
      .concat(tables.map(markdown))
      .join('\n\n'),
  )
  return `${[head, ...sections].join('\n\n')}\n`
}

/** Says where. Only a whole run replaces what the documents show. */
function publish(results, { whole, quick, machine, subjects }) {
  const named = versions(subjects)
  const text = document(`${machine}\n\n${named}`, results)
  process.stdout.write(text)
  mkdirSync(RESULTS, { recursive: true })
  const path = (ending) => join(RESULTS, `${whole ? 'latest' : 'partial'}.${ending}`)
  const data = { at: new Date().toISOString(), machine, quick, versions: named, results }
  // Pictures are files of their own.
  const figures = JSON.stringify(data, (key, value) => (key === 'pictures' ? undefined : value), 2)
  writeFileSync(path('json'), `${figures}\n`)
  writeFileSync(path('md'), text)
  const drawn = picture(results['keep-alive']?.tables ?? [], machine)
  if (drawn !== null) writeFileSync(path('svg'), drawn)
  for (const { pictures = {} } of Object.values(results)) {
    for (const [name, svg] of Object.entries(pictures)) writeFileSync(join(RESULTS, `${name}.svg`), svg)
  }
  return path('{json,md,svg}')
}

async function main() {
  const { values } = parseArgs({ options: OPTIONS })
  const { quick } = values
  const wanted = chosen(measures, values.only, 'measure')
  const subjects = chosen(peers, values.peers, 'peer')
  const soak = values.soak === undefined ? null : Number(values.soak)
  buildIfStale()
  const began = performance.now()
  const cpu = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}, load ${loadavg()[0].toFixed(1)} at the start`
  const machine = `${cpu}, Node ${process.version}, ${quick ? 'quick' : 'full'} run`
  const lab = await openLab({ quick })
  let results
  try {
    results = await measureAll(lab, wanted, subjects, { quick, soak, machine })
  } finally {
    await lab.close()
  }
  const whole = !quick && wanted.length === measures.length && subjects.length === peers.length
  const where = publish(results, { whole, quick, machine, subjects })
  note(`took ${Math.round((performance.now() - began) / 1e3)} s; written to ${where}`)
}

main().catch((error) => {
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 1
})
