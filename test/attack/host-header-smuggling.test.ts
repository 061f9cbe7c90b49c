// Host headers with more than one reading never reach policy, let alone an origin.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exchangeOn, tcp } from '../support/clients.ts'
import { ALLOWED, DOORS, openDoor, type Standard, startStandard } from '../support/standard.ts'

let standard: Standard
beforeAll(async () => {
  standard = await startStandard()
})
afterAll(() => standard.close())

const HOSTS: [string, (authority: string) => string][] = [
  ['[A11] two Host headers, allowed first', (a) => `Host: ${a}\r\nHost: evil.test\r\n`],
  ['[A11] two Host headers, allowed last', (a) => `Host: evil.test\r\nHost: ${a}\r\n`],
  ['[A12] an empty Host', () => 'Host: \r\n'],
  ['[A12] no Host', () => ''],
  ['[A13] userinfo', (a) => `Host: ${a}@evil.test\r\n`],
  ['[A13] a list', (a) => `Host: ${a}, evil.test\r\n`],
  ['[A13] a space', (a) => `Host: ${a} evil.test\r\n`],
  ['[A13] two ports', (a) => `Host: ${a}:80\r\n`],
  ['[A13] a path', (a) => `Host: ${a}/evil\r\n`],
  ['[A13] a fragment', (a) => `Host: ${a}#\r\n`],
  ['[A14] NUL', (a) => `Host: ${ALLOWED}\u0000.evil.test:${a.split(':')[1]}\r\n`],
  ['[A14] latin-1', (a) => `Host: \u00ff${a}\r\n`],
]

describe.each(DOORS)('through the %s door', (door) => {
  it.each(HOSTS)('%s', async (_name, host) => {
    const { lab, origin, authority } = standard
    const before = lab.recordsOf('request.decided').length
    const socket = await openDoor(lab, door, authority)
    const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\n${host(authority)}\r\n`)
    expect(answer.status).toBe(400)
    expect(origin.seen).toEqual([])
    const decided = lab.recordsOf('request.decided').slice(before)
    expect(decided).toHaveLength(1)
    expect(decided[0]).toMatchObject({ decision: 'deny', enforced: true })
    socket.destroy()
  })

  it('[A12] HTTP/1.0 without Host', async () => {
    const socket = await openDoor(standard.lab, door, standard.authority)
    const answer = await exchangeOn(socket, 'GET / HTTP/1.0\r\n\r\n')
    socket.destroy()
    expect(answer.status).toBe(400)
  })
})

it('serves the next client all the same', async () => {
  const socket = await openDoor(standard.lab, 'connect', standard.authority)
  const answer = await exchangeOn(socket, `GET / HTTP/1.1\r\nHost: ${standard.authority}\r\n\r\n`)
  socket.destroy()
  expect(answer.status).toBe(200)
})

it('bytes that are no request are described, not quoted: no header value is on disk', async () => {
  const { lab } = standard
  const before = lab.recordsOf('request.malformed').length
  const socket = await tcp(lab.proxyPort)
  await exchangeOn(socket, 'GET /a?token=s3cr3t-value HTTP/1.1\r\nX-Key: hidden-value\r\nBad Name: x\r\n\r\n')
  socket.destroy()
  const [malformed] = (await lab.waitFor('request.malformed', before + 1)).slice(-1)
  expect(malformed).toMatchObject({ headers: expect.arrayContaining([expect.objectContaining({ name: 'X-Key' })]) })
  expect(JSON.stringify(malformed)).not.toContain('hidden-value')
  expect(JSON.stringify(malformed)).not.toContain('s3cr3t-value')
})
