// One worker and two, both CPUs free for proxy, origin and load.
import { readFileSync } from 'node:fs'
import { startPeers } from '../peers/index.mjs'
import { keptConnections } from './kept.mjs'
import { interleave, subjectsOf } from './rounds.mjs'
import { isOurs, withSettings } from './variant.mjs'

const CONNECTIONS = 64
const WORKERS = [1, 2]
const SCHEMA = new URL('../../schemas/config.schema.json', import.meta.url)
const COLUMNS = [
  { key: 'cpu', title: 'CPU µs/request', digits: 1 },
  { key: 'rate', title: 'requests/s' },
  { key: 'p50', title: 'p50 ms', digits: 1 },
  { key: 'p99', title: 'p99 ms', digits: 1 },
]

/** Two processes on two ports would not be the same: who distributes the connections, and who writes the one trail? */
const hasWorkers = () => JSON.parse(readFileSync(SCHEMA, 'utf8')).properties.workers !== undefined

function variants(peers) {
  const ours = peers.filter(isOurs)
  if (hasWorkers())
    return ours.flatMap((peer) =>
      WORKERS.map((count) => withSettings(peer, `workers: ${count}`, (yaml) => `${yaml}workers: ${count}\n`)),
    )
  return ours.map((peer) => ({ ...peer, missing: () => 'not built yet: the configuration has no `workers`' }))
}

export const measure = {
  name: 'workers',
  title: 'Workers',
  rounds: ({ quick }) => (quick ? 1 : 5),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const size = { connections: CONNECTIONS, seconds: quick ? 0.8 : 4 }
    const started = await startPeers(lab, variants(peers), { cpu: `${lab.cpus.proxy},${lab.cpus.load}` })
    try {
      const subjects = subjectsOf(started, () => true)
      for (const { served } of subjects)
        if (served !== undefined) await keptConnections(lab, served, size).catch(() => {})
      const rows = await interleave(subjects, { rounds, report }, ({ served }) => keptConnections(lab, served, size))
      const note = `${CONNECTIONS} connections, GET, 308 bytes back; origin and load on the second of the same two CPUs`
      return { tables: [{ key: 'workers', title: 'Workers', note, columns: COLUMNS, rows }] }
    } finally {
      await started.stop()
    }
  },
}
