// The network inside a jail: a loopback, a wire that ends in itself, and the addresses by which a jailed command is known.

import { spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'

/** The command's own addresses: benchmarking ranges (RFC 2544, RFC 5180), which no network routes. */
export const JAIL_ADDRESSES = { v4: '198.18.0.2', v6: '2001:2::2' } as const

const COMMAND_TIMEOUT_MS = 10_000

/**
 * Both ends of the wire are in the jail: a packet that no rule redirects or refuses goes nowhere. Without a default route
 * connect(2) would fail before REDIRECT could see a packet. Throws with what `ip` said.
 */
export function buildJailNetwork(withV6: boolean): void {
  if (withV6) enableV6()
  ip([
    'link set lo up',
    'link add mcp-egress type veth peer name mcp-egress-end',
    `addr add ${JAIL_ADDRESSES.v4}/15 dev mcp-egress`,
    // Without nodad an IPv6 address can not be used for its first second or so.
    ...(withV6 ? [`addr add ${JAIL_ADDRESSES.v6}/48 dev mcp-egress nodad`] : []),
    'link set mcp-egress up',
    'link set mcp-egress-end up',
    'route add default dev mcp-egress',
    ...(withV6 ? ['route add ::/0 dev mcp-egress'] : []),
  ])
}

/** A new namespace may start with IPv6 off, as the host has set it for new interfaces. */
function enableV6(): void {
  for (const which of ['all', 'default', 'lo']) {
    try {
      writeFileSync(`/proc/sys/net/ipv6/conf/${which}/disable_ipv6`, '0')
    } catch {
      // The addresses below will say so.
    }
  }
}

function ip(lines: readonly string[]): void {
  const { error, status, stderr } = spawnSync('ip', ['-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
  })
  if (error !== undefined) {
    const missing = 'code' in error && error.code === 'ENOENT'
    throw new Error(missing ? 'ip is not installed: apt-get install iproute2' : `ip: ${error.message}`)
  }
  if (status !== 0) throw new Error(`ip: ${stderr.trim()}`)
}
