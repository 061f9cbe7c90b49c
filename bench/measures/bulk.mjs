// Large bodies: 100 MB down and up, on two connections at once.
import { startPeers, through } from '../peers/index.mjs'
import { errorsOf, interleave, subjectsOf } from './rounds.mjs'

const MEGABYTE = 1e6
const COLUMNS = [
  { key: 'downRate', title: 'down MB/s', ratio: true },
  { key: 'downCpu', title: 'CPU ms/MB', digits: 2 },
  { key: 'upRate', title: 'up MB/s', ratio: true },
  { key: 'upCpu', title: 'CPU ms/MB', digits: 2 },
]

/** A transfer that broke off has no speed: its figures are null, and `remark` says what happened. */
async function transfer(lab, served, mode, args) {
  try {
    const given = [mode, ...through(lab, served, served.peer.doors[0]), ...args]
    const moved = await lab.load(given, { pids: served.pids() })
    const remark = errorsOf(moved)
    if (remark !== null) return { rate: null, cpu: null, remark: `${mode}: ${remark}` }
    const megabytes = moved.bytes / MEGABYTE
    return { rate: megabytes / moved.seconds, cpu: (moved.cpuSeconds * 1e3) / megabytes, remark: null }
  } catch (error) {
    return { rate: null, cpu: null, remark: error.message }
  }
}

async function oneRound(lab, served, { connections, upload }) {
  const down = await transfer(lab, served, 'download', ['--connections', connections, '--path', '/large'])
  const up = await transfer(lab, served, 'upload', [
    '--connections',
    connections,
    '--path',
    '/upload',
    '--bytes',
    upload,
  ])
  const remark = down.remark ?? up.remark
  return { downRate: down.rate, downCpu: down.cpu, upRate: up.rate, upCpu: up.cpu, remark }
}

export const measure = {
  name: 'bulk',
  title: 'Large bodies',
  rounds: ({ quick }) => (quick ? 1 : 5),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const size = quick ? { connections: 1, upload: 50 * MEGABYTE } : { connections: 2, upload: 100 * MEGABYTE }
    const started = await startPeers(lab, peers, { slow: !quick })
    try {
      const subjects = subjectsOf(started, () => true)
      // The first hundred megabytes of a process are those that it compiles its code by.
      for (const { served } of quick ? [] : subjects) if (served !== undefined) await oneRound(lab, served, size)
      const rows = await interleave(subjects, { rounds, report }, ({ served }) => oneRound(lab, served, size))
      const note = `${size.connections} at once; 100 MB down, ${size.upload / MEGABYTE} MB up each`
      return { tables: [{ key: 'bulk', title: 'Large bodies', note, columns: COLUMNS, rows }] }
    } finally {
      await started.stop()
    }
  },
}
