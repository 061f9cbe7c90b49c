// What an observation proves, by tables: nothing is called closed without a proof that could not be had from an open net.

import { Buffer } from 'node:buffer'
import { encode } from 'dns-packet'
import { describe, expect, it } from 'vitest'
import { reportText } from '../../src/cli/verify.ts'
import type { NetworkProbe, Observation, Privileges } from '../../src/jail/verify/probe.ts'
import { planProbes } from '../../src/jail/verify/probe-plan.ts'
import type { Report } from '../../src/jail/verify/verify.ts'
import type { Count } from '../../src/jail/verify/accounting.ts'
import { judge, type Known } from '../../src/jail/verify/verdict.ts'
import { judgeCapabilities, judgeNewPrivileges, judgeSocket, judgeUser } from '../../src/jail/verify/workload.ts'

const PROBE: NetworkProbe = {
  id: 'p0',
  topic: 'tcp',
  name: 'TCP 443',
  family: 'v4',
  address: '1.0.0.1',
  port: 443,
  transport: 'tcp',
  method: 'tls',
  place: 'outside',
  bound: null,
  serverName: 'nobody.invalid',
  payload: '',
}
const KNOWN: Known = {
  mode: 'output',
  proven: new Set(['127.0.0.1:15001']),
  dnsReferences: [],
  dnsIsOurs: null,
  authority: true,
}
const GATEWAY: Known = { ...KNOWN, mode: 'prerouting', proven: new Set() }
const STAYED: Count = { made: 1, left: 0 }
const LEFT: Count = { made: 1, left: 1 }
const NEVER_MADE: Count = { made: 0, left: 0 }

const answer = (rcode: number, records: number): string =>
  encode({
    type: 'response',
    id: 7,
    flags: rcode,
    questions: [{ type: 'A', name: 'x.example' }],
    answers: Array.from({ length: records }, () => ({ type: 'A' as const, name: 'x.example', data: '203.0.113.1' })),
  }).toString('base64')
const NXDOMAIN = answer(3, 0)
const ADDRESS = answer(0, 1)

type Row = [string, Partial<NetworkProbe>, Observation, Count | null, Known, 'closed' | 'open' | 'unknown']

describe('a verdict', () => {
  it.each<Row>([
    [
      'a refusal that nothing came of',
      {},
      { kind: 'refused', code: 'ECONNREFUSED', near: null },
      STAYED,
      KNOWN,
      'closed',
    ],
    [
      'a refusal nobody knows the place of',
      {},
      { kind: 'refused', code: 'ECONNREFUSED', near: null },
      null,
      KNOWN,
      'unknown',
    ],
    [
      'a refusal that was made far away',
      {},
      { kind: 'refused', code: 'ECONNREFUSED', near: false },
      null,
      KNOWN,
      'unknown',
    ],
    [
      'a refusal that was made nearby',
      {},
      { kind: 'refused', code: 'ECONNREFUSED', near: true },
      null,
      KNOWN,
      'closed',
    ],
    ['a refusal of what left', {}, { kind: 'refused', code: 'EPERM', near: true }, LEFT, KNOWN, 'open'],
    [
      'a refusal at the gateway of what left for it',
      {},
      { kind: 'refused', code: 'ECONNREFUSED', near: true },
      LEFT,
      GATEWAY,
      'closed',
    ],
    [
      'a refusal behind the gateway',
      {},
      { kind: 'refused', code: 'ECONNREFUSED', near: null },
      LEFT,
      GATEWAY,
      'unknown',
    ],
    [
      'a refusal by the host in question',
      { place: 'named' },
      { kind: 'refused', code: 'ECONNREFUSED', near: null },
      null,
      KNOWN,
      'closed',
    ],
    ['silence that nothing left for', {}, { kind: 'silent' }, STAYED, KNOWN, 'closed'],
    ['silence without counters', {}, { kind: 'silent' }, null, KNOWN, 'unknown'],
    ['silence whose packets the counters never saw made', {}, { kind: 'silent' }, NEVER_MADE, KNOWN, 'unknown'],
    ['silence after leaving', {}, { kind: 'silent' }, LEFT, KNOWN, 'open'],
    ['silence after leaving for the gateway', {}, { kind: 'silent' }, LEFT, GATEWAY, 'unknown'],
    [
      'silence of a stub, which asks for itself',
      { topic: 'dns', place: 'here' },
      { kind: 'silent' },
      STAYED,
      KNOWN,
      'unknown',
    ],
    ['no route', {}, { kind: 'no-route', code: 'ENETUNREACH' }, null, KNOWN, 'closed'],
    ['no such socket', {}, { kind: 'not-offered', code: 'EACCES' }, null, KNOWN, 'closed'],
    ['not tried', {}, { kind: 'not-tried', why: 'no tool' }, STAYED, KNOWN, 'unknown'],
    [
      'our certificate',
      {},
      { kind: 'proven', status: 403, reason: 'no_matching_rule', landing: null },
      null,
      KNOWN,
      'closed',
    ],
    [
      'a resolver that policy allows',
      { topic: 'doh' },
      { kind: 'proven', status: 200, reason: null, landing: null },
      null,
      KNOWN,
      'open',
    ],
    [
      'the listener itself',
      { topic: 'self', place: 'here' },
      { kind: 'proven', status: 403, reason: 'self', landing: null },
      null,
      KNOWN,
      'closed',
    ],
    [
      'the listener forwarding to itself',
      { topic: 'self', place: 'here' },
      { kind: 'proven', status: 200, reason: null, landing: null },
      null,
      KNOWN,
      'open',
    ],
    [
      'an alert of a listener that proved itself',
      {},
      { kind: 'accepted', said: 'TLS alert access_denied', landing: '127.0.0.1:15001' },
      null,
      KNOWN,
      'closed',
    ],
    [
      'other bytes on the port of a listener that proved itself',
      {},
      { kind: 'accepted', said: 'bytes that are no TLS', landing: '127.0.0.1:15001' },
      null,
      KNOWN,
      'open',
    ],
    [
      'an alert of another listener',
      {},
      { kind: 'accepted', said: 'TLS alert access_denied', landing: '127.0.0.1:15002' },
      null,
      KNOWN,
      'unknown',
    ],
    [
      'an alert from outside',
      {},
      { kind: 'accepted', said: 'TLS alert access_denied', landing: null },
      LEFT,
      KNOWN,
      'open',
    ],
    [
      'a foreign certificate',
      {},
      { kind: 'accepted', said: 'a certificate of "x"', landing: '127.0.0.1:15002' },
      STAYED,
      KNOWN,
      'open',
    ],
    ['somebody silent here', {}, { kind: 'accepted', said: '', landing: '127.0.0.1:15002' }, STAYED, KNOWN, 'unknown'],
    ['somebody silent outside', {}, { kind: 'accepted', said: '', landing: null }, null, KNOWN, 'open'],
    ['somebody silent behind the gateway', {}, { kind: 'accepted', said: '', landing: null }, LEFT, GATEWAY, 'unknown'],
    [
      'somebody, and no CA to know him by',
      {},
      { kind: 'accepted', said: 'x', landing: null },
      null,
      { ...KNOWN, authority: false },
      'unknown',
    ],
    [
      'the admin listener',
      { topic: 'admin', place: 'here' },
      { kind: 'accepted', said: '', landing: '127.0.0.1:15001' },
      null,
      KNOWN,
      'open',
    ],
    ['an echo', { topic: 'udp' }, { kind: 'answered', what: '5 bytes', dns: null }, STAYED, KNOWN, 'open'],
    ['an address', { topic: 'dns' }, { kind: 'answered', what: '', dns: ADDRESS }, STAYED, KNOWN, 'open'],
    ['a no by somebody', { topic: 'dns' }, { kind: 'answered', what: '', dns: NXDOMAIN }, STAYED, KNOWN, 'open'],
    [
      'the very no of our own door',
      { topic: 'dns' },
      { kind: 'answered', what: '', dns: NXDOMAIN },
      STAYED,
      { ...KNOWN, dnsReferences: [NXDOMAIN], dnsIsOurs: true },
      'closed',
    ],
    [
      'the same no, of a door that is not ours',
      { topic: 'dns' },
      { kind: 'answered', what: '', dns: NXDOMAIN },
      STAYED,
      { ...KNOWN, dnsReferences: [NXDOMAIN], dnsIsOurs: false },
      'open',
    ],
    [
      'an address, also from our own door',
      { topic: 'dns' },
      { kind: 'answered', what: '', dns: ADDRESS },
      STAYED,
      { ...KNOWN, dnsReferences: [ADDRESS], dnsIsOurs: true },
      'open',
    ],
  ])('%s', (_what, probe, seen, count, known, expected) => {
    const verdict = judge({ ...PROBE, ...probe }, seen, count, known)
    const fix = verdict.verdict === 'closed' ? 'none needed' : verdict.fix
    expect([verdict.verdict, verdict.evidence === '', fix === '']).toEqual([expected, false, false])
  })
})

describe('what the workload may do', () => {
  const process: Privileges = { who: 'pid 7 (sh)', uid: 5, capabilities: [], noNewPrivileges: true }

  it('is open by any capability that leads around the rules, and by fewer behind a gateway', () => {
    const holding = (...capabilities: string[]): Privileges[] => [process, { ...process, capabilities }]
    expect(judgeCapabilities([process], 'output').verdict).toBe('closed')
    expect(judgeCapabilities(holding('NET_RAW'), 'output')).toMatchObject({ verdict: 'open' })
    expect(judgeCapabilities(holding('NET_RAW'), 'output').evidence).toContain('CAP_NET_RAW sends raw frames')
    expect(judgeCapabilities(holding('NET_RAW', 'SETUID'), 'prerouting').verdict).toBe('closed')
    expect(judgeCapabilities(holding('SYS_ADMIN'), 'prerouting').verdict).toBe('open')
  })

  it('is not proven without no_new_privs, nor while the user of the proxy is not known', () => {
    expect(judgeNewPrivileges([process, { ...process, noNewPrivileges: false }]).verdict).toBe('unknown')
    expect(judgeNewPrivileges([process]).verdict).toBe('closed')
    expect(judgeUser(5, new Set()).verdict).toBe('unknown')
    expect(judgeUser(5, new Set([6])).verdict).toBe('closed')
    expect(judgeUser(5, new Set([6, 5])).verdict).toBe('open')
  })

  it('is open by a socket of an engine or a resolver, and not proven by a bus', () => {
    const reached = true
    expect(judgeSocket({ path: '/var/run/docker.sock', reached }).verdict).toBe('open')
    expect(judgeSocket({ path: '/run/user/7/podman/podman.sock', reached }).verdict).toBe('open')
    expect(judgeSocket({ path: '/run/systemd/resolve/io.systemd.Resolve', reached }).verdict).toBe('open')
    expect(judgeSocket({ path: '/run/dbus/system_bus_socket', reached }).verdict).toBe('unknown')
    expect(judgeSocket({ path: '/var/run/docker.sock', reached: false }).verdict).toBe('closed')
  })
})

describe('the plan', () => {
  const options = {
    families: ['v4', 'v6'],
    canary: {},
    interfaces: { v4: [], v6: [] },
    sourcePort: 20_000,
    gateways: { v4: ['192.0.2.1'], v6: ['2001:db8::1'] },
    resolvers: ['127.0.0.53', '192.0.2.53', '192.0.2.54', '192.0.2.55'],
    own: new Set<string>(),
    admin: [],
    transparent: [],
  } as const

  it('stays below the leaves that a proxy makes at once for denied names', () => {
    for (const family of options.families) {
      const handshakes = planProbes(options).filter(
        (probe) => probe.family === family && probe.transport === 'tcp' && probe.place !== 'here',
      )
      expect(handshakes.length).toBeLessThanOrEqual(20)
    }
  })

  it('dials the hosts of the operator in place of strangers', () => {
    const plan = planProbes({ ...options, canary: { v4: '198.51.100.9', v6: '2001:db8::9' } })
    const dialled = plan.filter(({ place }) => place === 'outside').map(({ address }) => address)
    expect(new Set(dialled)).toEqual(new Set(['198.51.100.9', '2001:db8::9']))
  })

  it('ties sockets to each interface, by source ports of their own', () => {
    const tied = planProbes({ ...options, interfaces: { v4: ['eth0', 'eth1'], v6: ['eth0'] } }).filter(
      ({ bound }) => bound !== null,
    )
    expect(tied.map(({ family, name, address, port }) => [family, name, address, port])).toEqual(
      [
        ['v4', 'eth0', '1.0.0.1'],
        ['v4', 'eth1', '1.0.0.1'],
        ['v6', 'eth0', '2606:4700:4700::1001'],
      ].flatMap(([family, device, address]) => [
        [family, `bound to ${device}: UDP 53`, address, 53],
        [family, `bound to ${device}: UDP 443`, address, 443],
        [family, `bound to ${device}: TCP 443`, address, 443],
      ]),
    )
    const ports = tied.flatMap(({ bound }) => (bound === null ? [] : [bound.sourcePorts.first, bound.sourcePorts.last]))
    expect(ports).toEqual([...new Set(ports)].sort((one, other) => one - other))
    expect(ports[0]).toBe(options.sourcePort)
  })
})

describe('the report', () => {
  it('names holes first, and each fix once', () => {
    const hole = { verdict: 'open', evidence: 'seen', fix: 'close it', way: 'UDP 443', target: '1.0.0.1 443' } as const
    const report: Report = {
      mode: 'output',
      uid: 5,
      accounting: 'nft',
      ways: [
        { way: 'TCP 443', family: 'v4', target: null, verdict: 'closed', how: 'proxy', evidence: 'a certificate' },
        { ...hole, family: 'v4' },
        { ...hole, family: 'v4' },
      ],
      notes: ['A note.'],
      summary: { closed: 1, open: 2, unknown: 0 },
      contained: false,
    }
    const lines = reportText(report, { out: () => undefined, err: () => undefined, colour: false }).split('\n')
    expect(lines).toEqual([
      'open     v4  UDP 443  1.0.0.1 443  seen',
      'open     v4  UDP 443  1.0.0.1 443  seen',
      'closed   v4  TCP 443               proxy: a certificate',
      '',
      'A note.',
      'hole: close it (UDP 443)',
      'Not contained: 2 open, 0 not proven closed, 1 closed for uid 5.',
      '',
    ])
    expect(Buffer.from(lines.join('')).every((byte) => byte < 0x80)).toBe(true)
  })
})
