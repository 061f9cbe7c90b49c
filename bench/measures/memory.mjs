// Memory of the whole process tree: idle, after load, and with 2,000 idle connections; and with --soak, over millions of requests.
import { readFileSync } from 'node:fs'
import { processTree } from '../cpu.mjs'
import { startPeers, through } from '../peers/index.mjs'
import { keptConnections } from './kept.mjs'
import { errorsOf, interleave } from './rounds.mjs'
import { trendOf } from './trend.mjs'
import { isOurs } from './variant.mjs'

const MIB = 1_024
const LOAD_CONNECTIONS = 64
/** One twentieth of a soak, unless that would take longer than a load may. */
const SAMPLES = 20
const MAX_SAMPLE_SECONDS = 100
const COLUMNS = [
  { key: 'idle', title: 'idle MiB', ratio: true },
  { key: 'loaded', title: 'after load MiB', ratio: true },
  { key: 'held', title: 'with idle connections MiB' },
  { key: 'each', title: 'KiB/connection', digits: 1, ratio: true },
]
const SOAK_COLUMNS = [
  { key: 'requests', title: 'million requests', digits: 2 },
  { key: 'first', title: 'RSS MiB after 5 %', digits: 1 },
  { key: 'middle', title: 'after 50 %', digits: 1 },
  { key: 'last', title: 'after 100 %', digits: 1 },
  { key: 'slope', title: '2nd half: KiB a million requests' },
  { key: 'verdict', title: 'verdict' },
]

/** Of the trees, in KiB. Shared pages count by the share of each (Pss); a process that has ended counts nothing. */
function kibibytes(pids, field) {
  return processTree(pids).reduce((sum, pid) => sum + Number(fieldOf(pid, field) ?? 0), 0)
}

function fieldOf(pid, field) {
  try {
    return new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1]
  } catch {
    return undefined
  }
}

/** KiB while so many connections are open that have each had one answer. */
async function whileHeld(lab, served, connections) {
  let held = null
  const onStderr = (text, child) => {
    if (!text.includes('ready')) return
    held = kibibytes(served.pids(), 'Pss')
    child.stdin.end()
  }
  const target = through(lab, served, served.peer.doors[0])
  const given = ['idle', ...target, '--path', '/v1/item', '--connections', connections]
  const counted = await lab.load(given, { input: 'pipe', onStderr })
  return { held, remark: errorsOf(counted) }
}

/** A peer is started for it alone, so that `idle` is what it takes before anybody came. */
async function oneRound(lab, peer, { connections, seconds }) {
  const started = await startPeers(lab, [peer])
  const [served] = started.running
  if (served === undefined) throw new Error(started.absent[0].why)
  try {
    const pss = () => kibibytes(served.pids(), 'Pss')
    const idle = pss()
    const { remark } = await keptConnections(lab, served, { connections: LOAD_CONNECTIONS, seconds })
    const loaded = pss()
    const { held, remark: lost } = await whileHeld(lab, served, connections)
    const figures = { idle: idle / MIB, loaded: loaded / MIB }
    // A connection that was lost has no memory, so the figure would be about another number.
    if (held === null || lost !== null) return { ...figures, remark: lost ?? 'the connections were not all opened' }
    return { ...figures, held: held / MIB, each: (held - loaded) / connections, remark }
  } finally {
    await started.stop()
  }
}

async function soak(lab, peer, millions, report) {
  const started = await startPeers(lab, [peer])
  const [served] = started.running
  if (served === undefined) throw new Error(started.absent[0].why)
  try {
    const size = { connections: LOAD_CONNECTIONS, seconds: 2 }
    const { rate } = await keptConnections(lab, served, size)
    const seconds = Math.min(MAX_SAMPLE_SECONDS, Math.max(1, (millions * 1e6) / SAMPLES / rate))
    const samples = []
    for (let done = 0; done < millions; ) {
      const { requests } = await keptConnections(lab, served, { ...size, seconds, warm: 1 })
      done += requests / 1e6
      samples.push({ x: done, y: kibibytes(served.pids(), 'Rss') })
      report(`${peer.label}: ${done.toFixed(2)} million requests, ${(samples.at(-1).y / MIB).toFixed(1)} MiB`)
    }
    const { slope, flat } = trendOf(samples)
    const at = (share) => samples[Math.min(samples.length - 1, Math.floor(samples.length * share))].y / MIB
    const verdict = flat ? 'flat' : 'grows'
    return { requests: samples.at(-1).x, first: at(0), middle: at(0.5), last: at(1), slope, verdict }
  } finally {
    await started.stop()
  }
}

/** Rows of their own: a verdict is a word, and there is one round. */
async function soakTable(lab, peers, millions, report) {
  const rows = []
  for (const peer of peers.filter(isOurs)) {
    const { name, label } = peer
    rows.push(
      await soak(lab, peer, millions, report).then(
        (cells) => ({ name, label, cells }),
        (error) => ({ name, label, cells: {}, remark: error.message }),
      ),
    )
  }
  const note = `RSS of the tree over ${millions} million requests on ${LOAD_CONNECTIONS} kept connections, and the straight line through the second half`
  return { key: 'soak', title: 'Memory over many requests', note, columns: SOAK_COLUMNS, rows }
}

export const measure = {
  name: 'memory',
  title: 'Memory',
  rounds: ({ quick }) => (quick ? 1 : 3),
  async run(lab, peers, { quick, report, soak: millions = null }) {
    const rounds = this.rounds({ quick })
    const size = quick ? { connections: 500, seconds: 0.5 } : { connections: 2_000, seconds: 8 }
    const subjects = peers.map((peer) => {
      const why = peer.missing() ?? (quick && peer.slow === true ? 'left out of a quick run' : null)
      return { name: peer.name, label: peer.label, peer, ...(why === null ? {} : { why }) }
    })
    const rows = await interleave(subjects, { rounds, report }, ({ peer }) => oneRound(lab, peer, size))
    const note = `PSS of the whole tree; ${size.connections} connections with one answer each; what the kernel holds for sockets is not in it`
    const table = { key: 'memory', title: 'Memory', note, columns: COLUMNS, rows }
    return { tables: millions === null ? [table] : [table, await soakTable(lab, peers, millions, report)] }
  },
}
