// A canary secret, sent in every place that a request has, through every door: nowhere of what the proxy keeps or shows holds it.

import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectVia, httpsRedirected, httpsVia, tcp } from '../support/clients.ts'
import { base64, betrayedIn, percent, unicode } from '../support/betrayal.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { ok, type ScriptedOrigin, startScriptedOrigin } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'

const HOST = 'api.allowed.test'
// Put together at run time: no scanner of this repository should take it for real.
const TOKEN = ['gh', 'p_', 'A1b2C3d4E5f6G7h8I9j0K1l2M3n4O5p6Q7r8'].join('')
const VALUE = 'Zebra-Quartz-7f3b9e21-Violin'
const CANARIES: [name: string, canary: string][] = [
  ['a token of a known form', TOKEN],
  ['a secret that the configuration names', VALUE],
]
type Door = 'connect' | 'connect plain' | 'absolute' | 'transparent' | 'transparent plain' | 'gateway'
const DOORS: readonly Door[] = ['connect', 'connect plain', 'absolute', 'transparent', 'transparent plain', 'gateway']

let root: TestRoot
let secureOrigin: ScriptedOrigin
let plainOrigin: ScriptedOrigin
let lab: Lab

beforeAll(async () => {
  root = createTestRoot()
  secureOrigin = await startScriptedOrigin(root)
  plainOrigin = await startScriptedOrigin(null)
  const ports = `[${secureOrigin.port}, ${plainOrigin.port}]`
  lab = await startLab({
    root,
    clients: `  - { name: robot, token: "\${ROBOT_TOKEN}" }`,
    env: { ROBOT_TOKEN: 'a-token-of-the-robot', CANARY: VALUE },
    names: { [HOST]: ['127.0.0.1'] },
    audit: 'body_prefix: 16KiB, redact: { values: ["${CANARY}"] }',
    rules: `  - { id: watched, audit: body, allow: { hosts: [${HOST}], ports: ${ports}, schemes: [http, https] } }
  - { id: watched-denial, audit: headers, deny: { hosts: [${HOST}], paths: ["/denied/**"] } }`,
  })
  for (const origin of [secureOrigin, plainOrigin]) {
    origin.on('/reflect', async (wire, asked) => {
      const { body, trailers } = await asked.body()
      const said = JSON.stringify({ head: asked.head, body, trailers })
      const note = asked.fields.map(([, value]) => value).join(' ')
      wire.write(
        ok(
          said,
          `X-Echo: ${note}\r\nSet-Cookie: sid=${note}; Path=/${note}\r\nLocation: https://${note}@h/?${note}\r\n`,
        ),
      )
    })
  }
})

afterAll(async () => {
  await lab.close()
  await secureOrigin.close()
  await plainOrigin.close()
  root.close()
})

function originOf(door: Door): ScriptedOrigin {
  return door === 'absolute' || door.endsWith('plain') ? plainOrigin : secureOrigin
}

function enter(door: Door): Promise<Socket> {
  const { port } = originOf(door)
  lab.redirectTo({ address: '127.0.0.1', port })
  const authority = `${HOST}:${port}`
  const ways: Record<Door, () => Promise<Socket>> = {
    connect: () => httpsVia(lab, authority),
    'connect plain': async () => (await connectVia(lab, authority)).socket,
    absolute: () => tcp(lab.proxyPort),
    transparent: () => httpsRedirected(lab, HOST),
    'transparent plain': () => tcp(lab.transparentPort),
    gateway: () => tcp(lab.gatewayPort),
  }
  return ways[door]()
}

/** Raw bytes on a connection of their own; resolves when they are answered or the connection has ended. */
async function send(door: Door, bytes: string): Promise<void> {
  const wire = new Wire(await enter(door))
  wire.write(bytes)
  await wire.until('an answer', () => wire.text.includes('\r\n\r\n')).catch(() => undefined)
  wire.socket.destroy()
}

/** Requests that hold `c` somewhere; `at` makes a target for the path, `host` is the value of Host. */
function requests(c: string, at: (path: string) => string, host: string): [place: string, bytes: string][] {
  const get = (target: string, fields = ''): string => `GET ${target} HTTP/1.1\r\nHost: ${host}\r\n${fields}\r\n`
  const post = (body: string, fields = ''): string =>
    `POST ${at('/reflect')} HTTP/1.1\r\nHost: ${host}\r\n${fields}Content-Length: ${body.length}\r\n\r\n${body}`
  const chunked = (rest: string): string =>
    `POST ${at('/reflect')} HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${rest}`
  return [
    ['path', get(at(`/a/${c}/b`))],
    ['escaped path', get(at(`/a/${percent(c)}/b`))],
    ['twice escaped path', get(at(`/a/${percent(percent(c))}`))],
    ['path of a denial', get(at(`/denied/${c}`), `X-Note: ${c}\r\nX-Other: {"a":"${c}"}\r\n`)],
    ['path that is not canonical', get(at(`/a/../${c}`))],
    ['value of the query', get(at(`/q?a=${c}&b=1`))],
    ['name in the query', get(at(`/q?${c}=1`))],
    ['the query itself', get(at(`/q?${percent(c)}`))],
    ['field value', get(at('/reflect'), `X-Note: say ${c} twice ${c}\r\n`)],
    ['field name', get(at('/reflect'), `${c}: 1\r\n`)],
    ['credentials', get(at('/reflect'), `Authorization: Bearer ${c}\r\nX-Api-Key: ${c}\r\n`)],
    ['basic credentials', get(at('/reflect'), `Authorization: Basic ${base64(`me:${c}`)}\r\n`)],
    ['scheme of credentials', get(at('/reflect'), `Authorization: ${c} x\r\n`)],
    ['proxy credentials', get(at('/reflect'), `Proxy-Authorization: Basic ${base64(`robot:${c}`)}\r\n`)],
    ['cookies', get(at('/reflect'), `Cookie: a=${c}; ${c}=1; ${c}\r\n`)],
    ['referrer', get(at('/reflect'), `Referer: https://h/${c}?x=${c}\r\n`)],
    ['request id', get(at('/reflect'), `X-Request-Id: ${c}\r\nTraceparent: ${c}\r\n`)],
    ['websocket', get(at('/ws'), `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: ${c}\r\n`)],
    ['upgrade', get(at('/ws'), `Connection: Upgrade, ${c}\r\nUpgrade: ${c}\r\n`)],
    ['override', get(at('/reflect'), `X-HTTP-Method-Override: ${c}\r\nX-Original-URL: /${c}\r\n`)],
    ['expectation', get(at('/reflect'), `Expect: ${c}\r\n`)],
    ['method', `${c} ${at('/x')} HTTP/1.1\r\nHost: ${host}\r\n\r\n`],
    ['host', `GET ${at('/x')} HTTP/1.1\r\nHost: ${c}.${host}\r\n\r\n`],
    ['userinfo in Host', `GET ${at('/x')} HTTP/1.1\r\nHost: me:${c}@${host}\r\n\r\n`],
    ['userinfo of the target', get(`http://me:${c}@${host}/x`)],
    ['nested CONNECT', `CONNECT ${c}.test:443 HTTP/1.1\r\nHost: ${c}.test:443\r\n\r\n`],
    ['body', post(`say ${c}`)],
    ['JSON body', post(`{"note":"${c}","${c}":[1],"password":"${c}"}`, 'Content-Type: application/json\r\n')],
    ['JSON in JSON', post(JSON.stringify({ text: JSON.stringify({ note: c, token: c }) }))],
    ['escaped JSON', post(`{"note":"${unicode(c)}"}`)],
    ['form body', post(`a=${c}&${c}=1&b=${percent(c)}`, 'Content-Type: application/x-www-form-urlencoded\r\n')],
    ['body of parts', post(`--b\r\nContent-Disposition: form-data; name="f"\r\n\r\n${c}\r\n--b--\r\n`)],
    ['binary body', post(`\0\u00ff${c}\u00fe`)],
    ['UTF-16 body', post(Buffer.from(c, 'utf16le').toString('latin1'))],
    ['body cut by the limit', post(`${'.'.repeat(16_384 - 20)}${c}`)],
    ['chunks', chunked(`a\r\n${c.slice(0, 10)}\r\n${(c.length - 10).toString(16)}\r\n${c.slice(10)}\r\n0\r\n\r\n`)],
    ['chunk extension', chunked(`2;x=${c}\r\nab\r\n0\r\n\r\n`)],
    ['trailer', chunked(`2\r\nab\r\n0\r\nX-Note: ${c}\r\n${c}: 1\r\n\r\n`)],
    ['chunk size', chunked(`${c}\r\nab\r\n0\r\n\r\n`)],
    ['bare line feeds', `GET ${at(`/${c}`)} HTTP/1.1\nAuthorization: ${c}\n\n`],
    ['HTTP/0.9', `GET ${at(`/${c}`)}\r\n\r\n`],
    ['a version', `GET ${at('/x')} ${c}/1.1\r\n\r\n`],
    ['a line that is none', `GET ${at('/x')} HTTP/1.1\r\nHost: ${host}\r\n${c}\r\n\r\n`],
    ['a space in a name', `GET ${at('/x')} HTTP/1.1\r\nHost: ${host}\r\n${c} x: y\r\n${c} : z\r\n\r\n`],
    ['a long name', `GET ${at('/x')} HTTP/1.1\r\nHost: ${host}\r\n${'x'.repeat(50)}-${c} : y\r\n\r\n`],
    ['a folded line', `GET ${at('/x')} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Basic\r\n ${c}:x\r\n\r\n`],
    ['controls', `GET ${at(`/\u0001${c}`)} HTTP/1.1\r\nHost: ${host}\r\n\r\n`],
    ['two lengths', `POST ${at('/x')} HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1\r\nContent-Length: ${c}\r\n\r\n`],
    ['a body behind bad bytes', `GET ${at('/x')} HTTP/1.1\r\nbad\u0000\r\n\r\n{"a":"${c}"}\r\n${c}: x\r\n`],
    ['no HTTP at all', `\u0000\u0001${c}\r\n\r\n`],
    ['words', `${c} ${c} ${c}\r\n${c}: ${c}\r\n\r\n`],
  ]
}

const betrayed = (canary: string): string[] =>
  betrayedIn(lab.folder, { terminal: JSON.stringify(lab.decisions) }, canary)

describe.each(CANARIES)('[K15] %s', (_name, canary) => {
  it.each(DOORS)('by %s: nothing that is kept or shown holds it', async (door) => {
    const host = `${HOST}:${door === 'gateway' ? lab.gatewayPort : originOf(door).port}`
    const at = (path: string): string => (door === 'absolute' ? `http://${host}${path}` : path)
    const before = lab.recordsOf('request.decided').length
    const all = requests(canary, at, host)
    for (const [, bytes] of all) await send(door, bytes)
    // An accepted CONNECT is no attempt.
    const accepted = door === 'absolute' ? 1 : 0
    const decided = await lab.waitFor('request.decided', before + all.length - accepted)
    await lab.waitFor('request.completed', decided.length)
    expect(betrayed(canary)).toEqual([])
  })

  it('as a name: CONNECT, SNI, userinfo of a CONNECT', async () => {
    const label = canary.toLowerCase()
    const before = lab.recordsOf('request.decided').length
    for (const authority of [
      `${label}.test:443`,
      `${canary}.test:443`,
      `me:${canary}@${HOST}:443`,
      `${HOST}:${canary}`,
    ]) {
      const { socket } = await connectVia(
        lab,
        authority,
        `X-Note: ${canary}\r\nProxy-Authorization: Bearer ${canary}\r\n`,
      )
      socket.destroy()
    }
    for (const servername of [`${label}.test`, `${canary}.${HOST}`]) {
      const socket = await httpsRedirected(lab, servername).catch(() => null)
      if (socket === null) continue
      const wire = new Wire(socket)
      wire.write(`GET / HTTP/1.1\r\nHost: ${servername}\r\n\r\n`)
      await wire.until('an answer', () => wire.text.includes('\r\n\r\n')).catch(() => undefined)
      wire.socket.destroy()
    }
    await lab.waitFor('request.decided', before + 5)
    expect(betrayed(canary)).toEqual([])
  })
})

describe('what is left is evidence [K17]', () => {
  it('the same secret can be followed by its fingerprint, through paths, fields and bodies', () => {
    const marks = (event: string, member: string): Set<string> =>
      new Set(
        lab
          .recordsOf(event)
          .flatMap((record) => JSON.stringify(record[member] ?? null).match(/hmac:[0-9a-f]{16}/g) ?? []),
      )
    const inPaths = marks('request.decided', 'path')
    const inHeaders = marks('request.decided', 'request_headers')
    const inBodies = marks('request.completed', 'request_body')
    const inAnswers = marks('request.completed', 'response_body')
    const everywhere = [...inPaths].filter((mark) => [inHeaders, inBodies, inAnswers].every((set) => set.has(mark)))
    expect(everywhere).toHaveLength(CANARIES.length)
  })

  it('the search finds what is there', () => {
    expect(betrayed('watched-denial').length).toBeGreaterThan(0)
  })
})
