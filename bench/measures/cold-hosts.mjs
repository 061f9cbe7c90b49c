// Hosts that were never asked for: the proxy makes a certificate, shakes hands with the client and with the origin, and forwards one request.
import { startPeers, through } from '../peers/index.mjs'
import { errorsOf, interleave, subjectsOf } from './rounds.mjs'

const IN_PARALLEL = 16
/** It makes an RSA key for each host, a quarter of a second: fewer hosts tell as much. */
const FEWER = { 'http-mitm-proxy': { full: 30, quick: 10 } }
const COLUMNS = [
  { key: 'cpu', title: 'CPU µs/host', ratio: true },
  { key: 'rate', title: 'hosts/s', ratio: true },
  { key: 'p50', title: 'one at a time: p50 ms', digits: 1, ratio: true },
  { key: 'p99', title: 'p99 ms', digits: 1 },
  { key: 'worst', title: 'worst ms', digits: 1 },
]

async function hosts(lab, { served, name }, door, { prefix, suffix, hosts: count }, inParallel) {
  const few = FEWER[name]?.[lab.quick ? 'quick' : 'full'] ?? count
  const names = ['--hosts', Math.min(count, few), '--prefix', prefix, '--suffix', suffix]
  const given = ['cold', ...through(lab, served, door), '--path', '/v1/item', ...names, '--connections', inParallel]
  return lab.load(given, { pids: served.pids() })
}

async function oneRound(lab, subject, { single, parallel }) {
  const { served } = subject
  const door = served.peer.doors[0]
  const one = await hosts(lab, subject, door, single, 1)
  const many = await hosts(lab, subject, door, parallel, IN_PARALLEL)
  return {
    cpu: (many.cpuSeconds / many.hosts) * 1e6,
    rate: many.hosts / many.seconds,
    p50: one.p50_us / 1e3,
    p99: one.p99_us / 1e3,
    worst: one.max_us / 1e3,
    remark:
      errorsOf(one) ??
      errorsOf(many) ??
      (many.hosts < parallel.hosts ? `${many.hosts} hosts, as each takes so long` : null),
  }
}

export const measure = {
  name: 'cold-hosts',
  title: 'Hosts never seen',
  rounds: ({ quick }) => (quick ? 1 : 3),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const started = await startPeers(lab, peers)
    try {
      const subjects = subjectsOf(started, () => true).map((subject) =>
        subject.served?.peer.doors[0] === 'connect' ? { ...subject, label: `${subject.label}, CONNECT` } : subject,
      )
      // The first connection of all is not what is measured: it compiles code and dials for the first time.
      for (const { served } of subjects) {
        const warm = ['keepalive', '--path', '/v1/item', '--connections', 4, '--seconds', quick ? 0.3 : 2, '--warm', 5]
        if (served !== undefined)
          await lab.load([...warm, ...through(lab, served, served.peer.doors[0])]).catch(() => {})
      }
      const names = Array.from({ length: rounds }, () => ({ single: lab.coldSeries(), parallel: lab.coldSeries() }))
      const rows = await interleave(subjects, { rounds, report }, (subject, round) =>
        oneRound(lab, subject, names[round]),
      )
      const count = names[0].single.hosts
      const note = `${count} hosts a round, ${IN_PARALLEL} at a time, then as many others one at a time (to the first byte of the answer)`
      return { tables: [{ key: 'cold', title: 'Hosts never seen', note, columns: COLUMNS, rows }] }
    } finally {
      await started.stop()
    }
  },
}
