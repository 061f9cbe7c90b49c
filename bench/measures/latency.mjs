// What a proxy adds to the waiting when there is little to do: 200 requests a second at fixed times, beside the origin without a proxy.
import { startPeers, through } from '../peers/index.mjs'
import { keptConnections } from './kept.mjs'
import { errorsOf, interleave, subjectsOf } from './rounds.mjs'

const RATE = 200
const CONNECTIONS = 16
const COLUMNS = [
  { key: 'addedP50', title: 'added p50 µs', ratio: true },
  { key: 'addedP99', title: 'added p99 µs', ratio: true },
  { key: 'p50', title: 'p50 µs' },
  { key: 'p99', title: 'p99 µs' },
  { key: 'worst', title: 'worst µs' },
]

async function openLoop(lab, served, seconds) {
  const target = through(lab, served, served?.peer.doors[0])
  const given = [
    'open',
    ...target,
    '--path',
    '/v1/item',
    '--connections',
    CONNECTIONS,
    '--rate',
    RATE,
    '--seconds',
    seconds,
  ]
  const counted = await lab.load(given)
  return { p50: counted.p50_us, p99: counted.p99_us, worst: counted.max_us, remark: errorsOf(counted) }
}

export const measure = {
  name: 'latency',
  title: 'Latency added at 200 requests a second',
  rounds: ({ quick }) => (quick ? 1 : 5),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const seconds = quick ? 1.2 : 4
    const started = await startPeers(lab, peers, { slow: !quick })
    try {
      const direct = { name: 'direct', label: 'no proxy', served: null }
      const subjects = [direct, ...subjectsOf(started, () => true)]
      // Four seconds of 200 are not what a process is like that has been up for a day: it would be measured while it compiles.
      const warm = { connections: CONNECTIONS, seconds: quick ? 0.5 : 4 }
      for (const { served } of subjects)
        if (served !== undefined && served !== null) await keptConnections(lab, served, warm).catch(() => {})
      let beside = null
      const rows = await interleave(subjects, { rounds, report }, async ({ served }) => {
        const figures = await openLoop(lab, served, seconds)
        // The origin by itself is the first of each round, so every difference is one within a round.
        if (served === null) beside = figures
        if (served === null || beside === null) return figures
        return { ...figures, addedP50: figures.p50 - beside.p50, addedP99: figures.p99 - beside.p99 }
      })
      const note = `Open loop over ${CONNECTIONS} kept connections, counted from when a request was due; p99 rests on the ${Math.round((RATE * seconds) / 100)} worst of a round`
      return { tables: [{ key: 'latency', title: 'Latency', note, columns: COLUMNS, rows }] }
    } finally {
      await started.stop()
    }
  },
}
