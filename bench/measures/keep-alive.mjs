// Small requests on kept connections, as many as go: CPU time of the proxy for each, through each door and over HTTP/2.
import { startPeers, through } from '../peers/index.mjs'
import { errorsOf, interleave, subjectsOf } from './rounds.mjs'

const CONNECTIONS = 64
const H2 = { connections: 16, streams: 4 }
const TITLES = {
  transparent: 'Kept connections, transparent',
  connect: 'Kept connections, CONNECT',
  h2: 'Kept connections, transparent, HTTP/2 from the client',
}
const COLUMNS = [
  { key: 'cpu', title: 'CPU µs/request', digits: 1, ratio: true },
  { key: 'rate', title: 'requests/s', ratio: true },
  { key: 'busy', title: 'proxy CPU %' },
  { key: 'p50', title: 'p50 ms', digits: 1 },
  { key: 'p99', title: 'p99 ms', digits: 1 },
]
const times = ({ quick }) =>
  quick ? { seconds: 0.8, warm: 5, warmSeconds: 0.4 } : { seconds: 4, warm: 20, warmSeconds: 3 }

async function oneRound(lab, served, door, { seconds, warm }) {
  const target = through(lab, served, door)
  const given = [
    'keepalive',
    ...target,
    '--path',
    '/v1/item',
    '--connections',
    CONNECTIONS,
    '--seconds',
    seconds,
    '--warm',
    warm,
  ]
  const counted = await lab.load(given, { pids: served.pids() })
  return {
    rate: counted.requests / counted.seconds,
    cpu: (counted.cpuSeconds / counted.requests) * 1e6,
    busy: (counted.cpuSeconds / counted.seconds) * 100,
    p50: counted.p50_us / 1e3,
    p99: counted.p99_us / 1e3,
    remark: errorsOf(counted),
  }
}

/** h2load verifies no certificate; that is the client's work, not the proxy's. Its 16 handshakes are in the CPU time. */
async function h2Round(lab, served, { seconds }) {
  through(lab, served, 'transparent')
  const url = `https://${lab.host}/v1/item`
  const size = ['-c', String(H2.connections), '-m', String(H2.streams), '-D', String(Math.ceil(seconds))]
  const before = lab.cpuSeconds(served.pids())
  const { status, stdout, stderr } = await lab.run(['h2load', ...size, '--npn-list=h2', url])
  const cpuSeconds = lab.cpuSeconds(served.pids()) - before
  const done = Number(/(\d+) succeeded/.exec(stdout)?.[1] ?? 0)
  if (status !== 0 || done === 0)
    throw new Error(/^No protocol.*|^.*rror.*/m.exec(stdout + stderr)?.[0] ?? 'no request succeeded')
  const failed = Number(/, (\d+) failed/.exec(stdout)?.[1] ?? 0)
  return {
    rate: done / Math.ceil(seconds),
    cpu: (cpuSeconds / done) * 1e6,
    busy: (cpuSeconds / Math.ceil(seconds)) * 100,
    remark: failed > 0 ? `${failed} failed` : null,
  }
}

export const measure = {
  name: 'keep-alive',
  title: 'Small requests on kept connections',
  rounds: ({ quick }) => (quick ? 2 : 5),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const time = times({ quick })
    const started = await startPeers(lab, peers)
    const tables = []
    try {
      for (const door of ['transparent', 'connect']) {
        const subjects = subjectsOf(started, (peer) => peer.doors.includes(door))
        for (const { served } of subjects) {
          if (served !== undefined)
            await oneRound(lab, served, door, { ...time, seconds: time.warmSeconds }).catch(() => {})
        }
        const rows = await interleave(
          subjects,
          { rounds, report: (line) => report(`${door}: ${line}`) },
          ({ served }) => oneRound(lab, served, door, time),
        )
        tables.push({
          key: door,
          title: TITLES[door],
          note: `${CONNECTIONS} connections, GET, 308 bytes back`,
          columns: COLUMNS,
          rows,
        })
      }
      const subjects = subjectsOf(started, (peer) => peer.h2 === true)
      const rows = await interleave(subjects, { rounds, report: (line) => report(`h2: ${line}`) }, ({ served }) =>
        h2Round(lab, served, time),
      )
      const note = `h2load, ${H2.connections} connections with ${H2.streams} streams each; to the origin it is HTTP/1.1`
      tables.push({ key: 'h2', title: TITLES.h2, note, columns: COLUMNS.slice(0, 3), rows })
    } finally {
      await started.stop()
    }
    return { tables }
  },
}
