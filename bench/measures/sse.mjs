// How much later an event of a stream arrives behind a proxy: one event every 10 ms, from when it is written to when it is read.
import { fileURLToPath } from 'node:url'
import { startPeers, through } from '../peers/index.mjs'
import { errorsOf, interleave, subjectsOf } from './rounds.mjs'

const ORIGIN = fileURLToPath(new URL('./sse-origin.mjs', import.meta.url))
const COLUMNS = [
  { key: 'addedP50', title: 'added p50 µs', ratio: true },
  { key: 'p50', title: 'p50 µs' },
  { key: 'p99', title: 'p99 µs' },
  { key: 'worst', title: 'worst µs' },
]

/** The lab's origin is nginx, which makes no events: what the proxies dial there is led to ours. */
async function leadProxies(lab, port) {
  const match = ['-p', 'tcp', '-d', lab.origin.address, '--dport', String(lab.origin.port)]
  const owner = ['-m', 'owner', '--uid-owner', String(lab.uids.proxy)]
  const rule = ['-w', '-t', 'nat', '-A', 'OUTPUT', ...match, ...owner, '-j', 'REDIRECT', '--to-ports', String(port)]
  const { status, stderr } = await lab.run(['iptables', ...rule], { uid: 0 })
  if (status !== 0) throw new Error(`iptables: ${stderr}`)
}

async function events(lab, served, port, count) {
  // `through` sets the client's rule and clears all others.
  const target =
    served === null
      ? [...through(lab, null).slice(0, -1), `127.0.0.1:${port}`]
      : through(lab, served, served.peer.doors[0])
  if (served !== null) await leadProxies(lab, port)
  const counted = await lab.load(['sse', ...target, '--path', '/events', '--events', count], { deadline: 30 })
  return { p50: counted.p50_us, p99: counted.p99_us, worst: counted.max_us, remark: errorsOf(counted) }
}

export const measure = {
  name: 'sse',
  title: 'Events of a stream',
  rounds: ({ quick }) => (quick ? 1 : 5),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const [count, first] = quick ? [50, 5] : [300, 30]
    const port = lab.port()
    const { key, certificate } = lab.leaf
    const origin = await lab.spawn([process.execPath, ORIGIN, String(port), key, certificate], {
      cpu: lab.cpus.load,
      uid: lab.uids.origin,
      ready: [port],
    })
    const started = await startPeers(lab, peers, { slow: !quick })
    try {
      const subjects = [{ name: 'direct', label: 'no proxy', served: null }, ...subjectsOf(started, () => true)]
      let beside = null
      const rows = await interleave(subjects, { rounds, report }, async ({ served }) => {
        // The first stream compiles and dials.
        await events(lab, served, port, first)
        const figures = await events(lab, served, port, count)
        if (served === null) beside = figures
        return served === null || beside === null ? figures : { ...figures, addedP50: figures.p50 - beside.p50 }
      })
      const note = `${count} events, one every 10 ms; p99 rests on the ${Math.ceil(count / 100)} worst of each round`
      return { tables: [{ key: 'sse', title: 'Event streams', note, columns: COLUMNS, rows }] }
    } finally {
      lab.redirectTo(null)
      await started.stop()
      await origin.stop()
    }
  },
}
