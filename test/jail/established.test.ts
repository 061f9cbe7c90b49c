// Connections that are older than the rules, or than the stricter rules: what is refused on new ones is refused on them.

import { existsSync } from 'node:fs'

import { afterEach, beforeEach, describe, expect, it } from 'vitest'

import { applyRules } from '../../src/jail/rules/firewall.ts'
import { CLIENT, GATEWAY, type Namespace, networkTestsPossible } from '../support/netns.ts'
import {
  BACKENDS,
  createRuledNetwork,
  OPTIONS,
  OTHER,
  OUTSIDE,
  PATIENCE,
  planned,
  PROXY,
  PYTHON,
  type RuledNetwork,
  type Talker,
  WORKLOAD,
} from './support/ruled-network.ts'

const PORT = 8000
/** How long the outside waits for what must not come. */
const SILENCE_SECONDS = 1
const CLOSED_WITHIN_MS = 2_000
/** EPERM from the rule itself, ECONNREFUSED from the ICMP answer to the packet before. */
const REFUSED = /^(?:EPERM|ECONNREFUSED)$/
const EVERYBODY = { ...OPTIONS, workloadUids: [] }
/** More than the outside takes in before it reads, less than the workload's side of the connection holds. */
const MORE_THAN_FITS = 100_000

let ruled: RuledNetwork
let client: Namespace

async function open(name: string): Promise<void> {
  ruled = await createRuledNetwork(name)
  if (ruled.network.client === null) throw new Error('no client')
  client = ruled.network.client
}

describe.runIf(existsSync(PYTHON)).each(BACKENDS)(
  '[F18] with %s, a connection older than the rules',
  { timeout: PATIENCE },
  (backend) => {
    beforeEach(async () => {
      await open(`established-${backend}`)
    })

    afterEach(async () => {
      await ruled.close()
    })

    /** The workload has connected to the outside, and there are no rules. */
    async function connected(address: string): Promise<{ inside: Talker; outside: Talker }> {
      const outside = ruled.talker(client)
      const inside = ruled.talker(ruled.network, WORKLOAD)
      await outside.ask('listen', address, PORT)
      expect(await inside.ask('connect', address, PORT)).toBeNull()
      await outside.ask('accept')
      return { inside, outside }
    }

    it('carries nothing out, though the other side speaks first, and ends', async () => {
      const pairs = [await connected(CLIENT.v4), await connected(CLIENT.v6)]
      applyRules(planned(OPTIONS), backend)
      for (const { inside, outside } of pairs) {
        await outside.ask('send', 'hello')
        // The acknowledgement alone is refused already, so the end may come at any of these.
        const seen = [await inside.ask('receive', 10), await inside.ask('send', 'secret')]
        expect(await outside.ask('receive', SILENCE_SECONDS)).toBe('silence')
        expect([...seen, await inside.ask('receive', 10)]).toContain('ECONNRESET')
      }
    })

    it('carries nothing out, though the other side forges the opening of a new one', async () => {
      const { inside, outside } = await connected(CLIENT.v4)
      applyRules(planned(OPTIONS), backend)
      await outside.ask('syn', CLIENT.v4, PORT, GATEWAY.v4, Number(await inside.ask('port')))
      await outside.ask('send', 'hello')
      await inside.ask('receive', 10)
      await inside.ask('send', 'secret')
      expect(await outside.ask('receive', SILENCE_SECONDS)).toMatch(/^(?:silence|ECONNRESET)$/)
    })

    it.each([
      ['a named workload', OPTIONS],
      ['everybody', EVERYBODY],
    ])('does not empty what %s left in it', async (_who, options) => {
      const { inside, outside } = await connected(CLIENT.v4)
      expect(await inside.ask('fill', MORE_THAN_FITS, 'secret')).toBeNull()
      await inside.ask('close')
      applyRules(planned(options), backend)
      expect(await outside.ask('drain', SILENCE_SECONDS)).not.toContain('secret')
    })
  },
)

describe.runIf(existsSync(PYTHON) && networkTestsPossible)(
  '[F18] a flow older than stricter rules',
  { timeout: PATIENCE },
  () => {
    const backend = 'auto'

    beforeEach(async () => {
      await open('stricter')
    })

    afterEach(async () => {
      await ruled.close()
    })

    it('carries no datagram out', async () => {
      const outside = ruled.talker(client)
      const inside = ruled.talker(ruled.network, WORKLOAD)
      await outside.ask('bind', CLIENT.v4, 443)
      await inside.ask('udp', CLIENT.v4, 443)
      await inside.ask('send', 'first')
      expect(await outside.ask('meet', 10)).toBe('first')
      applyRules(planned(OPTIONS), backend)
      await outside.ask('send', 'more')
      expect(await inside.ask('receive', 10)).toBe('more')
      expect(await inside.ask('send', 'secret')).toMatch(REFUSED)
      expect(await outside.ask('receive', SILENCE_SECONDS)).toBe('silence')
    })

    it('to a resolver is refused once none may be asked, or only the proxy', async () => {
      const outside = ruled.talker(client)
      const inside = ruled.talker(ruled.network, WORKLOAD)
      applyRules(planned({ ...OPTIONS, dns: [CLIENT.v4] }), backend)
      await outside.ask('bind', CLIENT.v4, 53)
      await inside.ask('udp', CLIENT.v4, 53)
      expect(await inside.ask('send', 'question')).toBeNull()
      expect(await outside.ask('meet', 10)).toBe('question')
      for (const dns of ['reject', 'proxy'] as const) {
        applyRules(planned({ ...OPTIONS, dns }), backend)
        expect(await inside.ask('send', 'secret')).toMatch(REFUSED)
      }
      expect(await outside.ask('receive', SILENCE_SECONDS)).toBe('silence')
    })

    it('to a resolver over TCP is closed with the next thing it sends, at once', async () => {
      const outside = ruled.talker(client)
      const inside = ruled.talker(ruled.network, WORKLOAD)
      applyRules(planned({ ...OPTIONS, dns: [CLIENT.v4] }), backend)
      await outside.ask('listen', CLIENT.v4, 53)
      expect(await inside.ask('connect', CLIENT.v4, 53)).toBeNull()
      await outside.ask('accept')
      await inside.ask('send', 'question')
      expect(await outside.ask('receive', 10)).toBe('question')
      applyRules(planned({ ...OPTIONS, dns: 'reject' }), backend)
      const since = performance.now()
      expect([await inside.ask('send', 'secret'), await inside.ask('receive', 10)]).toContain('ECONNRESET')
      expect(performance.now() - since).toBeLessThan(CLOSED_WITHIN_MS)
      expect(await outside.ask('receive', SILENCE_SECONDS)).toBe('silence')
    })

    it('to a stub resolver on loopback is refused as well, though the stub speaks first', async () => {
      const stub = ruled.talker(ruled.network, OTHER)
      const inside = ruled.talker(ruled.network, WORKLOAD)
      // A user may bind port 53 in this namespace only; gone with it.
      await ruled.network.exec('sysctl', ['-qw', 'net.ipv4.ip_unprivileged_port_start=53'])
      expect(await stub.ask('bind', '127.0.0.53', 53)).toBeNull()
      await inside.ask('udp', '127.0.0.53', 53)
      await inside.ask('send', 'question')
      expect(await stub.ask('meet', 10)).toBe('question')
      applyRules(planned({ ...OPTIONS, dns: 'reject' }), backend)
      await stub.ask('send', 'answer')
      expect(await inside.ask('receive', 10)).toBe('answer')
      expect(await inside.ask('send', 'secret')).toMatch(REFUSED)
      applyRules(planned({ ...OPTIONS, dns: 'proxy' }), backend)
      expect(await inside.ask('send', 'secret')).toMatch(REFUSED)
      expect(await stub.ask('receive', SILENCE_SECONDS)).toBe('silence')
    })

    it('and led to the proxy stays with the proxy when fewer ports are', async () => {
      const proxy = ruled.talker(ruled.network, PROXY)
      const inside = ruled.talker(ruled.network, WORKLOAD)
      await proxy.ask('listen', '127.0.0.1', 15001)
      applyRules(planned(OPTIONS), backend)
      await inside.ask('connect', OUTSIDE.v4, 5432)
      await proxy.ask('accept')
      applyRules(planned({ ...OPTIONS, ports: [443] }), backend)
      await inside.ask('send', 'still here')
      expect(await proxy.ask('receive', 10)).toBe('still here')
    })

    it('and opened from outside goes on, whichever back end sets the rules again', async () => {
      const inside = ruled.talker(ruled.network, WORKLOAD)
      const outside = ruled.talker(client)
      applyRules(planned(OPTIONS), backend)
      await inside.ask('listen', GATEWAY.v4, PORT)
      expect(await outside.ask('connect', GATEWAY.v4, PORT)).toBeNull()
      await inside.ask('accept')
      for (const next of BACKENDS) {
        applyRules(planned(OPTIONS), next)
        await inside.ask('send', next)
        expect(await outside.ask('receive', 10)).toBe(next)
      }
    })
  },
)
