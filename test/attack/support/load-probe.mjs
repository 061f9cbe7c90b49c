// Loaded into a proxy under load by `node --import`: answers over IPC what its heap, its sockets and its event loop look like.
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'

const RESOLUTION_MS = 5
const NANOSECONDS = 1e6

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
delay.enable()

/** Heap and external bytes that are still reachable, and what the event loop holds open. */
async function memory() {
  // What a first collection finalizes is freed by a second.
  for (let round = 0; round < 3; round++) {
    globalThis.gc()
    await turn()
  }
  const { heapUsed, external } = process.memoryUsage()
  const resources = process.getActiveResourcesInfo()
  const sockets = resources.filter((name) => name === 'TCPSocketWrap').length
  return { reachable: heapUsed + external, sockets, timers: resources.filter((name) => name === 'Timeout').length }
}

/** How late the loop came round since it was asked last. */
function lateness() {
  const { max } = delay
  const p99 = delay.percentile(99)
  delay.reset()
  return { p99Ms: p99 / NANOSECONDS - RESOLUTION_MS, maxMs: max / NANOSECONDS - RESOLUTION_MS }
}

async function answer({ id, about }) {
  process.send({ id, answer: about === 'memory' ? await memory() : lateness() })
}

process.on('message', (question) => void answer(question))
// The channel must not keep alive a proxy that wants to end.
process.channel.unref()
// Nor may a proxy outlive the test that started it.
process.on('disconnect', () => process.exit())
