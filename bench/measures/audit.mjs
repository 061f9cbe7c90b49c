// What the audit trail costs: a request at each durability through the whole proxy, and reading the trail again by itself.
import { fileURLToPath } from 'node:url'
import { startPeers } from '../peers/index.mjs'
import { keptConnections } from './kept.mjs'
import { READERS, readingRows } from './reading.mjs'
import { interleave, subjectsOf } from './rounds.mjs'
import { isOurs, withSettings } from './variant.mjs'

const CONNECTIONS = 64
const DURABILITIES = ['os', 'sync']
const COLUMNS = [
  { key: 'cpu', title: 'CPU µs/request', digits: 1 },
  { key: 'rate', title: 'requests/s' },
  { key: 'p50', title: 'p50 ms', digits: 1 },
  { key: 'p99', title: 'p99 ms', digits: 1 },
]
const READING_COLUMNS = [{ key: 'rate', title: 'records/s' }]
/** Of the trail that is read. */
const RECORDS = 1_000_000
/** Making it takes longer than reading it. */
const READING_SECONDS = 300

const script = (name) => fileURLToPath(new URL(`../${name}.mjs`, import.meta.url))

async function writing(lab, peers, { quick, report, rounds }) {
  const size = { connections: CONNECTIONS, seconds: quick ? 0.8 : 4 }
  const variants = peers.flatMap((peer) =>
    DURABILITIES.map((durability) =>
      withSettings(peer, durability, (yaml) => yaml.replace('\naudit:\n', `$&  durability: ${durability}\n`)),
    ),
  )
  const started = await startPeers(lab, variants)
  try {
    const subjects = subjectsOf(started, () => true)
    for (const { served } of subjects)
      if (served !== undefined) await keptConnections(lab, served, size).catch(() => {})
    const rows = await interleave(subjects, { rounds, report }, ({ served }) => keptConnections(lab, served, size))
    const note = `${CONNECTIONS} kept connections, GET, 308 bytes back; the trail on the disk of the temporary folder`
    return { key: 'durability', title: 'Writing it, by durability', note, columns: COLUMNS, rows }
  } finally {
    await started.stop()
  }
}

async function reading(lab, { report }) {
  const rows = []
  for (const name of READERS) {
    report(name)
    const place = { cpu: lab.cpus.proxy, uid: lab.uids.proxy, deadline: READING_SECONDS }
    rows.push(...readingRows(name, await lab.run([process.execPath, script(name), String(RECORDS)], place)))
  }
  const note = `${RECORDS.toLocaleString('en-US')} records; a query counts from the start of the command`
  return { key: 'reading', title: 'Reading it', note, columns: READING_COLUMNS, rows }
}

export const measure = {
  name: 'audit',
  title: 'The audit trail',
  rounds: ({ quick }) => (quick ? 1 : 5),
  async run(lab, peers, { quick, report }) {
    const ours = peers.filter(isOurs)
    if (ours.length === 0) return { tables: [] }
    const options = { quick, report, rounds: this.rounds({ quick }) }
    const written = await writing(lab, ours, options)
    // Making a trail that is worth reading takes longer than a quick run has.
    return { tables: quick ? [written] : [written, await reading(lab, options)] }
  },
}
