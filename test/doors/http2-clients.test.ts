// Clients of HTTP/2 that others wrote, through CONNECT and behind the real redirection, in front of origins of either version.

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CannedAnswer } from '../e2e/support/origin-process.ts'
import { GITHUB, type Machine, machinePossible, startMachine, WORKLOAD_UID } from '../e2e/support/machine.ts'
import { NEUTRAL, thisMachine } from '../e2e/support/spawner.ts'
import { assertAccounted } from '../support/accounting.ts'
import { unevenRequests, verifyFile } from '../support/audit-events.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { connectVia } from '../support/clients.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { HOST } from './support/bed.ts'
import { type ProtocolOrigin, startProtocolOrigin } from './support/protocol-origin.ts'
import {
  assertServed,
  attemptsOf,
  type Behind,
  behind,
  freePort,
  isWhole,
  ORIGINS,
  type OriginName,
  pathOf,
  type Place,
} from './support/protocol-place.ts'
import {
  askAtOnce,
  missing,
  run,
  type ScriptedClient,
  startHttp2Origin,
  startNginx,
} from './support/protocol-programs.ts'

const AT_ONCE = 20
const LOAD = 1_000
const TEST_TIMEOUT_MS = 90_000
const NO_NGINX = missing('nginx')
const SCRIPTED: readonly ScriptedClient[] = ['node:http2', 'httpx', 'python h2']

const isMissing = (origin: OriginName): boolean => origin === 'nginx' && NO_NGINX

/** A port on which each connection is led through a CONNECT of its own. */
async function openTunnels(lab: Lab, authority: string): Promise<{ port: number; close(): void }> {
  const lead = async (client: Socket): Promise<void> => {
    const { socket } = await connectVia(lab, authority)
    pipeline(client, socket, client, () => undefined)
  }
  const server = createServer((client) => void lead(client)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { port: (server.address() as AddressInfo).port, close: () => server.close() }
}

/** What every client does, in any place. */
function commonCases(place: () => Place): void {
  describe.each(ORIGINS)('in front of %s', (origin) => {
    const url = (path: string): string => `https://${place().name}:${behind(place(), origin).port}${path}`

    describe.skipIf(isMissing(origin) || missing('curl'))('curl --http2', () => {
      it('asks three times on one connection', { timeout: TEST_TIMEOUT_MS }, async () => {
        const { spawner, options } = place()
        const path = pathOf('curl', origin)
        const args = ['-sS', '--http2', '-w', '%{http_version} %{http_code} %{num_connects}\n']
        const times = [1, 2, 3].flatMap(() => ['-o', '/dev/null', url(path)])
        const { stdout } = await run(spawner, 'curl', [...args, ...times], options)
        expect(stdout).toMatch(/^2 200 [12]\n2 200 0\n2 200 0\n$/)
        await assertServed(place(), origin, path, { times: 3, connections: 1 })
      })
    })

    describe.each(SCRIPTED)('%s', (client) => {
      it.skipIf(isMissing(origin) || missing(client))(
        `asks ${AT_ONCE} times at once on one connection`,
        { timeout: TEST_TIMEOUT_MS },
        async () => {
          const { spawner, options } = place()
          const path = pathOf(client, origin)
          const { version, answers } = await askAtOnce(spawner, client, url(path), AT_ONCE, options)
          expect(version).toMatch(/^(?:h2|HTTP\/2)$/)
          const { body } = behind(place(), origin)
          const expected = Array.from({ length: AT_ONCE }, (_, number) => [200, body(number)])
          expect(answers.map((answer) => [answer.status, answer.body])).toEqual(expected)
          await assertServed(place(), origin, path, { times: AT_ONCE, connections: 1 })
        },
      )
    })
  })
}

describe('through CONNECT', () => {
  let lab: Lab
  let root: TestRoot
  let place: Place
  const undo: (() => Promise<unknown>)[] = []

  beforeAll(async () => {
    root = createTestRoot()
    const ours = new Map<OriginName, ProtocolOrigin>([
      ['node:https', await startProtocolOrigin('http/1.1', root)],
      ['node:http2', await startProtocolOrigin('h2', root)],
    ])
    for (const origin of ours.values()) undo.push(() => origin.close())
    const origins = new Map<OriginName, Behind>()
    for (const [name, origin] of ours) {
      const versions = (path: string): string[] =>
        origin.seen(path).map(({ version }) => (version === 'h2' ? '2.0' : '1.1'))
      origins.set(name, {
        port: origin.port,
        speaks: name === 'node:https' ? '1.1' : '2.0',
        versions,
        body: () => 'ok',
      })
    }
    if (!NO_NGINX) {
      const port = await freePort()
      const nginx = await startNginx(thisMachine, root, HOST, { host: '127.0.0.1', port })
      undo.push(() => nginx.stop())
      origins.set('nginx', { port, speaks: '2.0', versions: nginx.versions, body: () => 'from nginx\n' })
    }
    const ports = [...origins.values()].map(({ port }) => port).join(', ')
    lab = await startLab({
      root,
      rules: `  - { id: all, allow: { hosts: [${HOST}], ports: [${ports}] } }\n`,
      names: { [HOST]: ['127.0.0.1'] },
    })
    const ca = join(lab.folder, 'certs/ca.pem')
    const proxy = `http://127.0.0.1:${lab.proxyPort}`
    const env = {
      ...NEUTRAL,
      HTTPS_PROXY: proxy,
      https_proxy: proxy,
      SSL_CERT_FILE: ca,
      CURL_CA_BUNDLE: ca,
      NODE_EXTRA_CA_CERTS: ca,
    }
    place = {
      spawner: thisMachine,
      options: { env },
      name: HOST,
      door: 'connect',
      origins,
      attempts: async (path, count) => {
        for (let sofar = count; ; sofar++) {
          await lab.waitFor('request.completed', sofar)
          const found = attemptsOf(lab.records(), path)
          if (isWhole(found, count)) return found
        }
      },
    }
  })
  afterAll(async () => {
    await assertAccounted(lab)
    await lab.close()
    for (const step of undo) await step()
    root.close()
  })

  commonCases(() => place)

  describe.each(ORIGINS)('in front of %s', (origin) => {
    it.skipIf(isMissing(origin) || missing('h2load'))(
      `h2load, which knows no proxy, asks ${LOAD} times through four tunnels that were opened for it`,
      { timeout: TEST_TIMEOUT_MS },
      async () => {
        const path = pathOf('h2load', origin)
        const { port } = behind(place, origin)
        const tunnels = await openTunnels(lab, `${HOST}:${port}`)
        const args = ['-n', `${LOAD}`, '-c', '4', '-m', '20', `--connect-to=127.0.0.1:${tunnels.port}`]
        const { stdout } = await run(thisMachine, 'h2load', [...args, `https://${HOST}:${port}${path}`], place.options)
        tunnels.close()
        expect(stdout).toContain('Application protocol: h2')
        expect(stdout).toContain(`${LOAD} succeeded, 0 failed, 0 errored, 0 timeout`)
        await assertServed(place, origin, path, { times: LOAD, connections: 4 })
      },
    )
  })
})

describe.skipIf(!machinePossible)('behind the redirection', () => {
  let machine: Machine
  let place: Place
  const undo: (() => Promise<unknown>)[] = []
  const PORTS = { 'node:https': 443, 'node:http2': 8443, nginx: 9443 } as const

  beforeAll(async () => {
    const canned = ['curl', 'h2load', 'nghttp', ...SCRIPTED].map((client) => [
      `${GITHUB} ${pathOf(client, 'node:https')}`,
      { status: 200, headers: { 'Content-Type': 'text/plain' }, body: 'ok' },
    ])
    machine = await startMachine({
      family: 'v4',
      rules: `  - { id: all, allow: { hosts: [${GITHUB}], ports: [${Object.values(PORTS).join(', ')}] } }\n`,
      answers: Object.fromEntries(canned) as Record<string, CannedAnswer>,
    })
    const { internet, root } = machine
    const at = (port: number) => ({ host: '198.51.100.10', port })
    const http2 = await startHttp2Origin(internet, root, GITHUB, at(PORTS['node:http2']))
    undo.push(() => http2.stop())
    const origins = new Map<OriginName, Behind>([
      [
        'node:http2',
        {
          port: PORTS['node:http2'],
          speaks: '2.0',
          versions: http2.versions,
          body: (number) => `over 2.0: request ${number}`,
        },
      ],
      [
        'node:https',
        {
          port: PORTS['node:https'],
          speaks: '1.1',
          body: () => 'ok',
          // It has no other.
          versions: (path) =>
            machine.origin.events.filter(({ event, url }) => event === 'request' && url === path).map(() => '1.1'),
        },
      ],
    ])
    if (!NO_NGINX) {
      const nginx = await startNginx(internet, root, GITHUB, at(PORTS.nginx))
      undo.push(() => nginx.stop())
      origins.set('nginx', { port: PORTS.nginx, speaks: '2.0', versions: nginx.versions, body: () => 'from nginx\n' })
    }
    place = {
      spawner: machine.workload,
      options: { env: machine.trusting, uid: WORKLOAD_UID },
      name: GITHUB,
      door: 'transparent',
      origins,
      attempts: async (path, count) => {
        const found = await machine.proxy.waitFor(`${count} ends of ${path}`, (records) =>
          isWhole(attemptsOf(records, path), count),
        )
        return attemptsOf(found, path)
      },
    }
  })
  afterAll(async () => {
    try {
      await machine.proxy.waitFor('one end for every decision', (found) => unevenRequests(found).length === 0)
      verifyFile(machine.proxy.trailFile)
    } finally {
      for (const step of undo) await step()
      await machine.close()
    }
  })

  commonCases(() => place)

  describe.each(ORIGINS)('in front of %s', (origin) => {
    const url = (path: string): string => `https://${GITHUB}:${PORTS[origin]}${path}`

    it.skipIf(isMissing(origin) || missing('h2load'))(
      `h2load asks ${LOAD} times on four connections, twenty at once`,
      { timeout: TEST_TIMEOUT_MS },
      async () => {
        const path = pathOf('h2load', origin)
        const { spawner, options } = place
        const { stdout } = await run(spawner, 'h2load', ['-n', `${LOAD}`, '-c', '4', '-m', '20', url(path)], options)
        expect(stdout).toContain('Application protocol: h2')
        expect(stdout).toContain(`${LOAD} succeeded, 0 failed, 0 errored, 0 timeout`)
        expect(stdout).toContain(`status codes: ${LOAD} 2xx, 0 3xx, 0 4xx, 0 5xx`)
        await assertServed(place, origin, path, { times: LOAD, connections: 4 })
      },
    )

    it.skipIf(isMissing(origin) || missing('nghttp'))(
      'nghttp -v sends a body with trailers and shows the frames of the answer',
      { timeout: TEST_TIMEOUT_MS },
      async () => {
        const path = pathOf('nghttp', origin)
        const { spawner, options } = place
        const args = ['-v', '-d', '-', '--trailer', 'x-sum: 1', url(path)]
        const { stdout } = await run(spawner, 'nghttp', args, { ...options, input: 'abc' })
        expect(stdout).toContain('The negotiated protocol: h2')
        expect(stdout).toMatch(/recv \(stream_id=\d+\) :status: 200/)
        // The other origins have no trailers.
        expect(/recv \(stream_id=\d+[^)]*\) x-checksum: 3\n/.test(stdout)).toBe(origin === 'node:http2')
        await assertServed(place, origin, path, { times: 1, connections: 1 })
        const end = (await place.attempts(path, 1)).find(({ event }) => event === 'request.completed')
        expect(end).toMatchObject({ security_flags: ['trailer_dropped:x-sum'] })
      },
    )
  })
})
