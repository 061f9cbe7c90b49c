// One window of small requests on kept connections, for the measures that look at them from more sides than `keep-alive` does.
import { through } from '../peers/index.mjs'
import { errorsOf } from './rounds.mjs'

/**
 * CPU µs a request, requests a second, and milliseconds, by the first door that the peer has.
 * @param {import('../peers/index.mjs').Served & { peer: import('../peers/index.mjs').Peer }} served
 * @param {{ connections: number, seconds: number, warm?: number }} size
 */
export async function keptConnections(lab, served, { connections, seconds, warm = 20 }) {
  const target = through(lab, served, served.peer.doors[0])
  const size = ['--connections', connections, '--seconds', seconds, '--warm', warm]
  const counted = await lab.load(['keepalive', ...target, '--path', '/v1/item', ...size], { pids: served.pids() })
  return {
    requests: counted.requests,
    cpu: (counted.cpuSeconds / counted.requests) * 1e6,
    rate: counted.requests / counted.seconds,
    p50: counted.p50_us / 1e3,
    p99: counted.p99_us / 1e3,
    remark: errorsOf(counted),
  }
}
