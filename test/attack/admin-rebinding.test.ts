// A page in a browser that makes its own name point at the admin listener: the Host that comes with it is not ours.

import { afterAll, beforeAll, expect, it } from 'vitest'
import { exchangeOn, tcp } from '../support/clients.ts'
import { type Standard, startStandard } from '../support/standard.ts'

const TOKEN = 'the-token-of-the-admin-listener'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard({ extra: `admin: { token: "\${ADMIN_TOKEN}" }`, env: { ADMIN_TOKEN: TOKEN } })
})
afterAll(() => standard.close())

async function admin(bytes: string): ReturnType<typeof exchangeOn> {
  const socket = await tcp(standard.lab.adminPort)
  const answer = await exchangeOn(socket, bytes)
  socket.destroy()
  return answer
}

const AUTHORIZED = `Authorization: Bearer ${TOKEN}\r\n`

it.each([
  ['a name of the attacker', 'Host: evil.test\r\n'],
  ['a name of the attacker with our port', 'Host: evil.test:9901\r\n'],
  ['a name that begins like ours', 'Host: localhost.evil.test\r\n'],
  ['a name that begins like an address', 'Host: 127.0.0.1.evil.test\r\n'],
  ['an address in another spelling', 'Host: 0x7f000001\r\n'],
  ['userinfo', 'Host: localhost@evil.test\r\n'],
  ['nothing', 'Host: \r\n'],
])('[E15] Host of %s: 421, with and without the token', async (_name, host) => {
  for (const path of ['/health', '/ready', '/metrics']) {
    for (const authorization of ['', AUTHORIZED]) {
      const answer = await admin(`GET ${path} HTTP/1.1\r\n${host}${authorization}\r\n`)
      expect([path, answer.status]).toEqual([path, 421])
      expect(answer.body).not.toContain('mcp_egress')
    }
  }
})

it.each([
  ['no token', '', 401],
  ['another token', 'Authorization: Bearer guess\r\n', 401],
  ['a prefix of the token', `Authorization: Bearer ${TOKEN.slice(0, -1)}\r\n`, 401],
  ['the token as Basic', `Authorization: Basic ${TOKEN}\r\n`, 401],
  ['the token in a cookie', `Cookie: token=${TOKEN}\r\n`, 401],
  ['the token', AUTHORIZED, 200],
])('[E15] /metrics under a known Host with %s', async (_name, authorization, status) => {
  const answer = await admin(`GET /metrics HTTP/1.1\r\nHost: localhost\r\n${authorization}\r\n`)
  expect(answer.status).toBe(status)
  expect(answer.headers.has('access-control-allow-origin')).toBe(false)
})

it.each(['localhost', '127.0.0.1', '[::1]', 'LOCALHOST'])('[E15] /health under Host %s', async (host) => {
  expect((await admin(`GET /health HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status).toBe(200)
})

it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('[E15] %s is not for this listener', async (method) => {
  expect((await admin(`${method} /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n`)).status).toBe(405)
})
