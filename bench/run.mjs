// npm run bench [-- --quick]: mcp-egress beside http-mitm-proxy, in rounds that take turns; prints a table and writes results/latest.json.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { median, pinned, spread, start } from './child.mjs'

const quick = process.argv.includes('--quick')
const CONNECTIONS = 32
const ROUNDS = quick ? 3 : 7
const ROUND_MS = quick ? 1_500 : 5_000
const COLD_HOSTS = quick ? 10 : 30
const [PROXY_CPU, WORLD_CPU] = [0, 1]
const NAME = 'warm.bench.example'

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-bench-'))
const children = []
const child = async (...given) => {
  const started = await start(...given)
  children.push(started)
  return started
}

async function subjects(origin) {
  const proxies = []
  for (const [name, script] of [
    ['mcp-egress', './proxy-ours.mjs'],
    ['http-mitm-proxy', './proxy-mitm.mjs'],
  ]) {
    const own = join(folder, name)
    mkdirSync(own)
    const process = await child(script, PROXY_CPU, [own, origin.root, String(origin.port)])
    proxies.push({ name, process, proxy: process.first })
  }
  return [...proxies, { name: 'no proxy', process: null, proxy: null }]
}

async function keepAliveRound(world, { process, proxy }) {
  await world.ask({ task: 'prepare', connections: CONNECTIONS, name: NAME, proxy })
  const [before, worldBefore] = [process?.cpuSeconds() ?? 0, world.cpuSeconds()]
  const { requests, ms } = await world.ask({ task: 'measure', ms: ROUND_MS })
  const cpu = (process?.cpuSeconds() ?? 0) - before
  return {
    requestsPerSecond: requests / (ms / 1_000),
    cpuMicrosPerRequest: (cpu / requests) * 1e6,
    proxyBusy: (cpu / (ms / 1_000)) * 100,
    loadBusy: ((world.cpuSeconds() - worldBefore) / (ms / 1_000)) * 100,
  }
}

async function coldRound(world, { name, process, proxy }, round) {
  const names = Array.from({ length: COLD_HOSTS }, (_, index) => `h${index}.r${round}.${name}.bench.example`)
  const before = process.cpuSeconds()
  const { each } = await world.ask({ task: 'cold', names, proxy })
  return {
    medianMs: median(each),
    worstMs: Math.max(...each),
    cpuMsPerHost: ((process.cpuSeconds() - before) / COLD_HOSTS) * 1e3,
  }
}

/** Every subject once a round, so that whatever else this machine does falls on all of them alike. */
async function measureAll(world, all) {
  const rounds = { keepAlive: {}, cold: {} }
  for (let round = 0; round < ROUNDS; round++) {
    for (const subject of all) {
      process.stderr.write(`round ${round + 1} of ${ROUNDS}: ${subject.name}${' '.repeat(20)}\r`)
      ;(rounds.keepAlive[subject.name] ??= []).push(await keepAliveRound(world, subject))
      if (subject.process !== null) (rounds.cold[subject.name] ??= []).push(await coldRound(world, subject, round))
    }
  }
  process.stderr.write('\n')
  return rounds
}

function summary(rounds) {
  return Object.fromEntries(
    Object.entries(rounds).map(([name, list]) => [
      name,
      Object.fromEntries(
        Object.keys(list[0]).map((key) => {
          const values = list.map((one) => one[key])
          return [key, { median: median(values), spreadPercent: median(values) === 0 ? 0 : spread(values) }]
        }),
      ),
    ]),
  )
}

function table(header, rows) {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)))
  const line = (cells) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]) : cell.padStart(widths[column]))).join(' | ')} |`
  const rule = `|${widths.map((width, column) => (column === 0 ? '-'.repeat(width + 2) : `${'-'.repeat(width + 1)}:`)).join('|')}|`
  return `${[line(header), rule, ...rows.map(line)].join('\n')}\n`
}

const number = ({ median: value, spreadPercent }, digits = 0) =>
  `${value.toFixed(digits)} ± ${spreadPercent.toFixed(0)} %`

function report(results) {
  const keepAlive = Object.entries(results.keepAlive).map(([name, of]) => [
    name,
    number(of.requestsPerSecond),
    name === 'no proxy' ? '-' : number(of.cpuMicrosPerRequest),
    name === 'no proxy' ? '-' : of.proxyBusy.median.toFixed(0),
    of.loadBusy.median.toFixed(0),
  ])
  const cold = Object.entries(results.cold).map(([name, of]) => [
    name,
    number(of.medianMs, 1),
    number(of.worstMs, 1),
    number(of.cpuMsPerHost, 1),
  ])
  return [
    `Keep-alive: ${CONNECTIONS} connections by CONNECT, GET, a body of 308 bytes; medians of ${ROUNDS} rounds of ${ROUND_MS / 1_000} s\n\n`,
    table(['', 'requests/s', 'CPU µs/request', 'proxy CPU %', 'load CPU %'], keepAlive),
    `\nCold: a host never seen before, from connect to the first answer; medians of ${ROUNDS} rounds of ${COLD_HOSTS} hosts\n\n`,
    table(['', 'ms/host', 'worst ms of a round', 'CPU ms/host'], cold),
  ].join('')
}

try {
  const world = await child('./world.mjs', WORLD_CPU)
  const origin = await world.ask({ task: 'origin', directory: join(folder, 'root') })
  const rounds = await measureAll(world, await subjects(origin))
  const results = { keepAlive: summary(rounds.keepAlive), cold: summary(rounds.cold) }
  const machine = { cpu: cpus()[0]?.model ?? 'unknown', cpus: cpus().length, node: process.version, pinned, quick }
  process.stdout.write(
    `${machine.cpus} × ${machine.cpu}, Node ${machine.node}, ${pinned ? 'pinned' : 'NOT pinned'}\n\n${report(results)}`,
  )
  const out = fileURLToPath(new URL('./results/', import.meta.url))
  mkdirSync(out, { recursive: true })
  writeFileSync(
    join(out, 'latest.json'),
    `${JSON.stringify({ at: new Date().toISOString(), machine, ...results, rounds }, null, 2)}\n`,
  )
} finally {
  for (const one of children) one.stop()
  rmSync(folder, { recursive: true, force: true })
}
