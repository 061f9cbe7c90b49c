// Input that is made to be slow to look at: nobody waits for long while somebody else's is judged.

import { connect as connectTls } from 'node:tls'
import { afterEach, describe, expect, it } from 'vitest'
import { opened, readUntil } from '../support/clients.ts'
import { FULL, type LoadBed, P99_ALLOWED_MS, report, startLoadBed, times } from './support/load-bed.ts'

/** A turn of the loop may hold a collection of garbage beside one judgement, on a machine that does other things. */
const TURN_ALLOWED_MS = 250
const NAMES = FULL ? 3_000 : 300
const AT_ONCE = 40
/** Just below the bound of a head. */
const TEXT_BYTES = 60_000

const GLOBS = `  - id: globs
    allow: { hosts: [127.0.0.1], schemes: [http], ports: [1], paths: ["/a/**/a/*/a/**/b/*a*a*a*a*a*b", "/**/*/**/*/**/x", "/**a**a**a**a**b"] }
  - id: denied-globs
    deny: { hosts: ["**.never.test"], paths: ["/**/*a*/**/*a*/**/*a*/z"] }
`

let bed: LoadBed
afterEach(() => bed?.close())

describe('[I08] 60 KB that a pattern, a parser or a redaction rule could take for ever over', () => {
  const TEXTS = [
    ['a run of one letter', 'a'],
    ['segments', '/a'],
    ['equals signs', '='],
    ['names of secrets', 'token='],
    ['parameters', 'a&'],
    ['escapes', '%41'],
    ['escapes of escapes', '%2525'],
    ['beginnings of a JWT', 'eyJ.'],
    ['beginnings of keys', 'sk-'],
    ['beginnings of tokens', 'ghp_'],
    ['base64', 'QUJD'],
    ['digits', '1'],
    ['dots and brackets', '[.'],
    ['user information', '://a:b@'],
    ['armour', '-----BEGIN'],
    ['quotes', "'%22"],
  ] as const

  it('is judged, redacted and recorded in a turn of the loop', { timeout: 30_000 }, async () => {
    bed = await startLoadBed({ rules: GLOBS })
    await bed.servesOthers()
    await bed.lateness()
    const late = new Map<string, number>()
    for (const [name, unit] of TEXTS) {
      const text = unit.repeat(TEXT_BYTES / unit.length)
      const close = 'Connection: close\r\n'
      for (const request of [
        bed.request(`/${text}`, close),
        bed.request(`/x?${text}`, close),
        bed.request('/x', `Authorization: ${text}\r\n${close}`),
        bed.request('/x', `${text.replace(/[^a-z0-9._-]/gi, '-')}: a\r\n${close}`),
        `GET ${text.slice(0, TEXT_BYTES / 2)} HTTP/1.1\r\nHost: ${text.slice(0, TEXT_BYTES / 2)}\r\n\r\n`,
        `CONNECT ${text}:443 HTTP/1.1\r\nHost: a\r\n\r\n`,
      ]) {
        const socket = await bed.open()
        const answer = readUntil(socket, (heard) => heard.includes('\r\n\r\n'))
        socket.write(request)
        expect(await answer).toMatch(/^HTTP\/1\.1 [245]\d\d /)
        socket.destroy()
      }
      late.set(name, (await bed.lateness()).maxMs)
    }
    report(Object.fromEntries(late))
    expect([...late].filter(([, ms]) => ms > TURN_ALLOWED_MS)).toEqual([])
    await bed.accounted()
  })
})

describe('[I11] certificates on demand', () => {
  it.each([
    ['denied.test', 'no rule allows: most get no leaf', 0, NAMES / 2],
    ['allowed.test', 'a wildcard allows: each gets its own', NAMES, NAMES],
  ])(`${NAMES} new names below %s, which %s`, { timeout: 60_000 }, async (domain, _why, least, most) => {
    bed = await startLoadBed({ rules: '  - { id: wildcard, allow: { hosts: ["**.allowed.test"] } }\n' })
    await bed.servesOthers()
    const before = await bed.memory()
    await bed.lateness()
    const started = performance.now()
    const secured = await times(NAMES, (index) => handshake(`n${index}.${domain}`), AT_ONCE)
    const { p99Ms, maxMs } = await bed.lateness()
    const handshakes = secured.filter((done) => done).length
    report({ domain, handshakes, seconds: (performance.now() - started) / 1_000, p99Ms, maxMs })
    expect(p99Ms).toBeLessThan(P99_ALLOWED_MS)
    await bed.servesOthers()
    expect(handshakes).toBeGreaterThanOrEqual(least)
    expect(handshakes).toBeLessThanOrEqual(most)
    await bed.recovers(before)
    await bed.accounted()
  })
})

/** False: the CONNECT itself was refused. */
async function handshake(name: string): Promise<boolean> {
  const socket = await bed.open()
  const answer = readUntil(socket, (text) => text.includes('\r\n\r\n'))
  socket.write(`CONNECT ${name}:443 HTTP/1.1\r\nHost: ${name}:443\r\n\r\n`)
  const accepted = (await answer).startsWith('HTTP/1.1 200 ')
  if (accepted) await opened(connectTls({ socket, servername: name, rejectUnauthorized: false }), 'secureConnect')
  socket.destroy()
  return accepted
}
