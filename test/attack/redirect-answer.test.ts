// What an allowed origin says about other places is for the client to read: the proxy goes nowhere on the word of an answer.

import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { exchangeOn, reasonOf, tcp } from '../support/clients.ts'
import { type Origin, startOrigin } from '../support/origins.ts'
import { ALLOWED, ask, openDoor, type Standard, startStandard } from '../support/standard.ts'
import { MARKER, seenBy, witness } from '../support/witness.ts'

const METADATA = 'http://169.254.169.254/latest/meta-data/'

type Reply = [header: string, value: string, status: number]
const NOTHING: Reply = ['X-Nothing', '', 200]

let standard: Standard
let canary: Origin
let answerWith: (...reply: Reply) => void
beforeAll(async () => {
  let reply = NOTHING
  answerWith = (...next) => {
    reply = next
  }
  standard = await startStandard({
    origin: (root) =>
      startOrigin(root, ALLOWED, (request, response) => {
        const [header, value, status] = request.url === MARKER ? NOTHING : reply
        response.writeHead(status, { [header]: value, 'Content-Length': '5' }).end('moved')
      }),
  })
  canary = await startOrigin(standard.root, 'canary.test', undefined, { tls: false })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})
beforeEach(() => {
  standard.origin.seen.length = 0
})

describe.each([301, 302, 303, 307, 308, 300])('status %i', (status) => {
  it.each([
    ['the metadata address', () => METADATA],
    ['a listener of ours', () => `http://127.0.0.1:${standard.lab.adminPort}/metrics`],
    ['another origin', () => `http://127.0.0.1:${canary.port}/`],
    ['a file', () => 'file:///etc/passwd'],
  ])('[E17] Location of %s goes back as it is, and nothing is fetched', async (_name, location) => {
    answerWith('Location', location(), status)
    await witness(standard, async () => {
      const answer = await ask(standard.lab, 'connect', standard.authority, { target: '/start' })
      expect([answer.status, answer.headers.get('location'), answer.body]).toEqual([status, location(), 'moved'])
    })
    expect(seenBy(standard)).toEqual(['/start'])
    expect(canary.connections()).toBe(0)
  })
})

it('[E17] a client that follows is judged again, on its own', async () => {
  const { lab, authority } = standard
  answerWith('Location', METADATA, 302)
  const left = await witness(
    standard,
    async () => {
      const first = await ask(lab, 'connect', authority, { target: '/start' })
      expect(first.status).toBe(302)
      const socket = await tcp(lab.proxyPort)
      const answer = await exchangeOn(socket, `GET ${METADATA} HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n`)
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'address_denied'])
    },
    { decided: 2 },
  )
  expect(left.decided.map((record) => record['decision'])).toEqual(['allow', 'deny'])
})

it.each([
  ['Refresh', `0; url=${METADATA}`],
  ['Link', `<${METADATA}>; rel=preload`],
  ['Content-Location', METADATA],
])('[E17] %s is not acted upon either', async (header, value) => {
  answerWith(header, value, 200)
  await witness(standard, async () => {
    const answer = await ask(standard.lab, 'connect', standard.authority)
    expect(answer.headers.get(header.toLowerCase())).toBe(value)
  })
  expect(canary.connections()).toBe(0)
})

it.each([
  ['Strict-Transport-Security', 'max-age=63072000; includeSubDomains; preload'],
  ['Public-Key-Pins', 'pin-sha256="AAAA"; max-age=60'],
  ['Expect-CT', 'enforce, max-age=60'],
])('[H22] %s passes unchanged', async (header, value) => {
  answerWith(header, value, 200)
  const answer = await ask(standard.lab, 'connect', standard.authority)
  expect(answer.headers.get(header.toLowerCase())).toBe(value)
})

it('[H22] Alt-Svc does not: it would lead the client past the proxy', async () => {
  answerWith('Alt-Svc', 'h3=":443"; ma=86400', 200)
  const answer = await ask(standard.lab, 'connect', standard.authority)
  expect(answer.headers.has('alt-svc')).toBe(false)
})

describe('[E16] TRACE', () => {
  it('where a rule names methods is refused by it', async () => {
    const { lab, origin } = standard
    lab.reload({
      rules: `  - { id: standard, allow: { hosts: [${ALLOWED}], ports: [${origin.port}], access: read-only } }`,
    })
    const left = await witness(standard, async () => {
      const fields = 'Max-Forwards: 0\r\nVia: 1.1 mcp-egress\r\nCookie: session=secret\r\n'
      const answer = await ask(lab, 'connect', standard.authority, { method: 'TRACE', headers: fields })
      expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
      expect(answer.body).not.toContain('secret')
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny', method: 'TRACE' })
    expect(seenBy(standard)).toEqual([])
  })

  it('where a rule names no methods is refused all the same', async () => {
    const { lab, origin } = standard
    lab.reload({ rules: `  - { id: standard, allow: { hosts: [${ALLOWED}], ports: [${origin.port}] } }` })
    const answer = await ask(lab, 'connect', standard.authority, { method: 'TRACE' })
    expect([answer.status, reasonOf(answer)]).toEqual([403, 'no_matching_rule'])
    expect(JSON.parse(answer.body)).toMatchObject({ hint: 'add TRACE to the methods of rule standard' })
    expect(seenBy(standard)).toEqual([])
  })

  it('with a body is no request', async () => {
    const left = await witness(standard, async () => {
      const socket = await openDoor(standard.lab, 'connect', standard.authority)
      const answer = await exchangeOn(
        socket,
        `TRACE / HTTP/1.1\r\nHost: ${standard.authority}\r\nContent-Length: 1\r\n\r\nx`,
      )
      socket.destroy()
      expect([answer.status, reasonOf(answer)]).toEqual([400, 'malformed'])
    })
    expect(left.decided[0]).toMatchObject({ decision: 'deny' })
  })
})
