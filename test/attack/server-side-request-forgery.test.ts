// Addresses nobody may reach through the proxy, however they are written and whatever name hides them.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchangeOn, httpsVia, reasonOf, tcp } from '../support/clients.ts'
import { startLab, type Lab } from '../support/lab.ts'
import { ALLOWED, ask, type Standard, startStandard } from '../support/standard.ts'

let lab: Lab
let standard: Standard
beforeAll(async () => {
  lab = await startLab({
    upstreamAllow: [],
    rules: `  - id: everything-literal
    allow:
      hosts: [169.254.169.254, "[fd00:ec2::254]", 100.100.100.200, 192.0.0.192, 168.63.129.16, 127.0.0.1, 127.255.255.255, 0.0.0.0, "[::]", "[::1]", "[::ffff:127.0.0.1]", 10.0.0.1, 172.16.0.1, 192.168.0.1, 100.64.0.1, "[fc00::1]", "[fe80::1]", 224.0.0.1, 255.255.255.255, 192.0.2.1, 198.18.0.1, 240.0.0.1, "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]"]
      schemes: [http, https]
      ports: [80, 443]
  - { id: names, allow: { hosts: ["**.names.test", metadata.google.internal, localhost, x.localhost], schemes: [http, https] } }
`,
    names: {
      'private.names.test': ['10.0.0.7'],
      'mixed.names.test': ['93.184.216.34', '127.0.0.1'],
      'v6.names.test': ['93.184.216.34', 'fd00::7'],
      'many.names.test': Array.from({ length: 60 }, (_v, index) => `93.184.216.${index}`).concat('169.254.169.254'),
      'metadata.google.internal': ['169.254.169.254'],
      localhost: ['127.0.0.1'],
      'x.localhost': ['127.0.0.1'],
    },
  })
  standard = await startStandard()
})
afterAll(async () => {
  await lab.close()
  await standard.close()
})

async function absolute(host: string, path = '/latest/meta-data/'): Promise<Awaited<ReturnType<typeof exchangeOn>>> {
  const socket = await tcp(lab.proxyPort)
  const answer = await exchangeOn(socket, `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
  socket.destroy()
  return answer
}

describe('literal addresses, even if a rule names them', () => {
  it.each([
    ['[E01] AWS metadata', '169.254.169.254'],
    ['[E01] AWS metadata, v6', '[fd00:ec2::254]'],
    ['[E01] Alibaba metadata', '100.100.100.200'],
    ['[E01] Oracle metadata', '192.0.0.192'],
    ['[E01] Azure wire server', '168.63.129.16'],
    ['[E02] loopback', '127.0.0.1'],
    ['[E02] the end of loopback', '127.255.255.255'],
    ['[E02] unspecified', '0.0.0.0'],
    ['[E02] unspecified, v6', '[::]'],
    ['[E02] loopback, v6', '[::1]'],
    ['[E02] loopback, v4-mapped', '[::ffff:127.0.0.1]'],
    ['[E06] 10/8', '10.0.0.1'],
    ['[E06] 172.16/12', '172.16.0.1'],
    ['[E06] 192.168/16', '192.168.0.1'],
    ['[E06] CGNAT', '100.64.0.1'],
    ['[E06] ULA', '[fc00::1]'],
    ['[E06] link-local', '[fe80::1]'],
    ['[E06] multicast', '224.0.0.1'],
    ['[E06] broadcast', '255.255.255.255'],
    ['[E06] TEST-NET-1', '192.0.2.1'],
    ['[E06] benchmarking', '198.18.0.1'],
    ['[E06] 240/4', '240.0.0.1'],
    ['metadata through NAT64', '[64:ff9b::a9fe:a9fe]'],
    ['loopback through 6to4', '[2002:7f00:1::]'],
  ])('%s', async (_name, host) => {
    const answer = await absolute(host)
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
    expect(lab.recordsOf('request.decided').at(-1)).toMatchObject({ decision: 'deny', reason: 'address_denied' })
  })

  it.each([
    ['[E02] short', '127.1'],
    ['[E02] zero', '0'],
    ['[E02] hex', '0x7f.0.0.1'],
    ['[E02] octal', '0177.0.0.1'],
    ['[E02] decimal', '2130706433'],
  ])('%s spellings of an address are 400', async (_name, host) => {
    const answer = await absolute(host)
    expect([answer.status, reasonOf(answer)]).toEqual([400, 'host_not_canonical'])
  })
})

describe('names that resolve to forbidden addresses', () => {
  it.each([
    ['[E01] the metadata name', 'metadata.google.internal'],
    ['[E02] localhost', 'localhost'],
    ['[E02] under localhost', 'x.localhost'],
    ['[E07] a private address', 'private.names.test'],
    ['[E07] one public and one private answer', 'mixed.names.test'],
    ['[E07] a public A and a private AAAA', 'v6.names.test'],
    ['[E12] the forbidden one behind sixty others', 'many.names.test'],
  ])('%s', async (_name, host) => {
    const answer = await absolute(host)
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
    const decided = lab.recordsOf('request.decided').at(-1)
    expect(decided).toMatchObject({ decision: 'allow', rule: 'names' })
    const ends = await lab.waitFor('request.completed', lab.recordsOf('request.decided').length)
    expect(ends.find((end) => end.request_id === decided?.request_id)).toMatchObject({
      outcome: 'refused',
      reason: 'address_denied',
    })
  })

  it('a name that does not resolve is 502 dns_failed', async () => {
    const answer = await absolute('nowhere.names.test')
    expect([answer.status, reasonOf(answer)]).toEqual([502, 'dns_failed'])
  })
})

describe('[E14] our own listeners', () => {
  it.each(['proxyPort', 'transparentPort', 'adminPort'] as const)('%s by literal address', async (port) => {
    const target = `127.0.0.1:${standard.lab[port]}`
    const socket = await tcp(standard.lab.proxyPort)
    const answer = await exchangeOn(socket, `GET http://${target}/metrics HTTP/1.1\r\nHost: ${target}\r\n\r\n`)
    socket.destroy()
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'self'])
  })
})

it('[E15] the admin listener does not answer to a rebound name', async () => {
  const socket = await tcp(standard.lab.adminPort)
  const answer = await exchangeOn(socket, 'GET /health HTTP/1.1\r\nHost: evil.test\r\n\r\n')
  socket.destroy()
  expect(answer.status).toBe(421)
})

it('[E19] another port of an allowed host', async () => {
  const answer = await ask(standard.lab, 'connect', `${ALLOWED}:22`)
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
})

it('[E20] a denied name is never resolved', async () => {
  standard.lab.resolved.length = 0
  const answer = await ask(standard.lab, 'connect', 'c2VjcmV0.evil.test:443')
  expect(answer.status).toBe(403)
  expect(standard.lab.resolved).toEqual([])
})

it('[H21] plain http to a host that is allowed for https', async () => {
  const socket = await tcp(standard.lab.proxyPort)
  const answer = await exchangeOn(socket, `GET http://${ALLOWED}/ HTTP/1.1\r\nHost: ${ALLOWED}\r\n\r\n`)
  socket.destroy()
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
})

it('a tunnel to an address that no rule names is denied inside, with a certificate for the address', async () => {
  const socket = await httpsVia(standard.lab, '93.184.216.34:443', { servername: '', address: '93.184.216.34' })
  const answer = await exchangeOn(socket, 'GET / HTTP/1.1\r\nHost: 93.184.216.34\r\n\r\n')
  socket.destroy()
  expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
})
