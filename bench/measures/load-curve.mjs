// What a request costs when few ask and when many do: from 1 to 512 kept connections.
import { startPeers } from '../peers/index.mjs'
import { spread } from '../quantities.mjs'
import { keptConnections } from './kept.mjs'
import { interleave, subjectsOf } from './rounds.mjs'
import { isOurs } from './variant.mjs'

const QUICK = [1, 16, 64, 256]
const CONNECTIONS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
/** From here on the curve is to be flat. */
const MANY = 16
const BESIDE = ['squid', 'nginx']
const columnsFor = (sizes) => [
  ...sizes.map((connections) => ({ key: `c${connections}`, title: String(connections), digits: 1 })),
  { key: 'swing', title: `from ${MANY} on: ± %`, digits: 1 },
]

async function curve(lab, served, { sizes, seconds }) {
  const figures = {}
  const remarks = []
  for (const connections of sizes) {
    const { cpu, remark } = await keptConnections(lab, served, { connections, seconds, warm: 5 })
    figures[`c${connections}`] = cpu
    if (remark !== null) remarks.push(`${connections} connections: ${remark}`)
  }
  const many = sizes.filter((connections) => connections >= MANY).map((connections) => figures[`c${connections}`])
  return { ...figures, swing: spread(many), remark: remarks[0] ?? null }
}

export const measure = {
  name: 'load-curve',
  title: 'Cost of a request against the number of connections',
  rounds: ({ quick }) => (quick ? 1 : 3),
  async run(lab, peers, { quick, report }) {
    const rounds = this.rounds({ quick })
    const size = quick ? { sizes: QUICK, seconds: 0.5 } : { sizes: CONNECTIONS, seconds: 2 }
    const wanted = peers.filter((peer) => isOurs(peer) || BESIDE.includes(peer.name))
    const started = await startPeers(lab, wanted)
    try {
      const subjects = subjectsOf(started, () => true)
      for (const { served } of subjects)
        if (served !== undefined)
          await keptConnections(lab, served, { connections: 64, seconds: size.seconds }).catch(() => {})
      const rows = await interleave(subjects, { rounds, report }, ({ served }) => curve(lab, served, size))
      const note =
        'CPU µs a request by the number of kept connections, each of which asks again as soon as it is answered'
      return { tables: [{ key: 'load-curve', title: 'Load', note, columns: columnsFor(size.sizes), rows }] }
    } finally {
      await started.stop()
    }
  },
}
