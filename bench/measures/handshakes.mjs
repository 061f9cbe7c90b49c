// New connections to a host that the proxy knows: connect, TLS handshake, one request, close; in full and with sessions offered again.
import { startPeers, through } from '../peers/index.mjs'
import { errorsOf, interleave, subjectsOf } from './rounds.mjs'

const IN_PARALLEL = 16
const TITLES = { transparent: 'New connections, transparent', connect: 'New connections, CONNECT' }
const COLUMNS = [
  { key: 'cpu', title: 'CPU µs/connection', ratio: true },
  { key: 'rate', title: 'connections/s', ratio: true },
  { key: 'p99', title: 'p99 ms', digits: 1 },
  { key: 'resumedCpu', title: 'resumption offered: CPU µs', ratio: true },
  { key: 'resumedRate', title: 'connections/s' },
  { key: 'resumed', title: 'resumed %' },
]

async function connections(lab, served, door, seconds, ...more) {
  const given = [
    'handshakes',
    ...through(lab, served, door),
    '--path',
    '/v1/item',
    '--connections',
    IN_PARALLEL,
    '--seconds',
    seconds,
  ]
  return lab.load([...given, ...more], { pids: served.pids() })
}

const micros = ({ cpuSeconds, connections: made }) => (cpuSeconds / made) * 1e6

async function oneRound(lab, served, door, seconds) {
  const full = await connections(lab, served, door, seconds)
  const offered = await connections(lab, served, door, seconds, '--resume')
  return {
    cpu: micros(full),
    rate: full.connections / full.seconds,
    p99: full.p99_us / 1e3,
    resumedCpu: micros(offered),
    resumedRate: offered.connections / offered.seconds,
    resumed: (offered.resumed / offered.connections) * 100,
    remark: errorsOf(full) ?? errorsOf(offered),
  }
}

export const measure = {
  name: 'handshakes',
  title: 'New connections on a known host',
  rounds: ({ quick }) => (quick ? 1 : 3),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const seconds = quick ? 0.6 : 2.5
    const started = await startPeers(lab, peers, { slow: !quick })
    const tables = []
    try {
      for (const door of ['transparent', 'connect']) {
        const subjects = subjectsOf(started, (peer) => peer.doors.includes(door))
        for (const { served } of subjects)
          if (served !== undefined)
            await connections(lab, served, door, quick ? seconds / 2 : 2 * seconds).catch(() => {})
        const told = { rounds, report: (line) => report(`${door}: ${line}`) }
        const rows = await interleave(subjects, told, ({ served }) => oneRound(lab, served, door, seconds))
        tables.push({
          key: door,
          title: TITLES[door],
          note: `${IN_PARALLEL} in parallel, one request on each`,
          columns: COLUMNS,
          rows,
        })
      }
    } finally {
      await started.stop()
    }
    return { tables }
  },
}
