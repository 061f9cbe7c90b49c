// Runs the probes of a job in this process, which first becomes the workload's user when it is told to.

import { constants, accessSync } from 'node:fs'
import { connect } from 'node:net'
import type { Findings, Job, NetworkProbe, Observation, UnixSocket } from './probe.ts'
import { privilegesOf } from './probe-kernel.ts'
import { loadLibc } from './libc.ts'
import { probeBound } from './probe-bound.ts'
import { probeProtocol } from './probe-libc.ts'
import { probeTcp } from './probe-tcp.ts'
import { askDns, probeUdp } from './probe-udp.ts'

/** This very module, for a process of its own to load. */
export const PROBE_MODULE: string = import.meta.url

/** Handshakes at once: few enough to be done in time on a slow machine. */
const TCP_CONCURRENCY = 16
/** Datagrams, and whatever is mostly waiting, at once. */
const WAITING_CONCURRENCY = 64
const UNIX_TIMEOUT_MS = 1_000

/** Never rejects for anything the network or the workload's rights can cause. */
export async function runJob(job: Job): Promise<Findings> {
  loadLibc()
  if (job.user !== null) become(job.user)
  const self = privilegesOf('self')
  if (self === null) throw new Error('/proc/self/status can not be read')
  const observations: Record<string, Observation> = {}
  const run = async (probes: readonly NetworkProbe[], concurrency: number): Promise<void> => {
    const waiting = [...probes]
    const worker = async (): Promise<void> => {
      for (let probe = waiting.shift(); probe !== undefined; probe = waiting.shift()) {
        observations[probe.id] = await observe(probe, job)
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
  }
  // What is bound to an interface gets no handshake where the rules are right.
  const shakesHands = ({ transport, bound }: NetworkProbe): boolean => transport === 'tcp' && bound === null
  await Promise.all([
    run(job.probes.filter(shakesHands), TCP_CONCURRENCY),
    run(
      job.probes.filter((probe) => !shakesHands(probe)),
      WAITING_CONCURRENCY,
    ),
  ])
  const references = await Promise.all(job.dns.map(({ address, port }) => askDns(address, port, job.question)))
  return {
    observations,
    self,
    sockets: await Promise.all(job.sockets.map((path) => reach(path))),
    dnsReferences: references.filter((answer) => answer !== null),
  }
}

/** SECURITY: groups first, then the group, then the user: after setuid the others are refused, and would stay root's. */
function become(user: NonNullable<Job['user']>): void {
  process.setgroups?.([...user.groups])
  process.setgid?.(user.gid)
  process.setuid?.(user.uid)
  if (process.getuid?.() !== user.uid || process.geteuid?.() !== user.uid) {
    throw new Error(`this process could not become uid ${user.uid}`)
  }
}

function observe(probe: NetworkProbe, job: Job): Promise<Observation> {
  if (probe.bound !== null) return probeBound(probe, probe.bound, job)
  if (probe.transport === 'tcp') return probeTcp(probe, job)
  if (probe.transport === 'udp') return probeUdp(probe, job)
  return probeProtocol(probe, job.nearHops)
}

/** Whether somebody behind the socket would take our word. Not there, or closed to us: no. */
function reach(path: string): Promise<UnixSocket> {
  try {
    accessSync(path, constants.W_OK)
  } catch {
    return Promise.resolve({ path, reached: false })
  }
  return new Promise((resolve) => {
    const socket = connect({ path })
    const settle = (reached: boolean): void => {
      socket.destroy()
      resolve({ path, reached })
    }
    socket.setTimeout(UNIX_TIMEOUT_MS, () => settle(true))
    socket.once('connect', () => settle(true))
    socket.once('error', () => settle(false))
  })
}
