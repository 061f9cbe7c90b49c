// An answer that somebody cut on its way: no client may take it for a whole one, however its length was told.

import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDoor, type Standard, startStandard } from '../support/standard.ts'
import { startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { Wire } from '../support/wire.ts'
import { type Left, witness } from '../support/witness.ts'
import { available, bareEnvironment, run } from '../tls/fixture.ts'

const NAME = 'origin.test'

let standard: Standard
let canary: TlsCanary
beforeAll(async () => {
  canary = await startTlsCanary()
  standard = await startStandard({
    more: `  - { id: cut, allow: { hosts: [${NAME}], ports: [${canary.port}] } }`,
    names: { [NAME]: ['127.0.0.1'] },
  })
})
afterAll(async () => {
  await standard.close()
  await canary.close()
})

type End = 'cut' | 'closed' | 'reset'
type Version = 'TLSv1.2' | 'TLSv1.3'

/** The origin answers with these bytes and then its connection ends like that: `cut` is a FIN without close_notify. */
function originAnswers(bytes: string, end: End, version: Version): void {
  canary.secured(NAME, { ...standard.root.issue(NAME), maxVersion: version }, (socket, raw) => {
    socket.write(bytes, () => {
      if (end === 'closed') socket.end()
      else if (end === 'cut') raw.end()
      else raw.resetAndDestroy()
    })
  })
}

/** libuv reports a reset that arrives with the last data as an end in order, so the text is what tells here, and curl below. */
async function fetched(): Promise<{ text: string; left: Left }> {
  const authority = `${NAME}:${canary.port}`
  let text = ''
  const left = await witness(standard, async () => {
    const wire = new Wire(await openDoor(standard.lab, 'connect', authority))
    wire.write(`GET /cut HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`)
    await wire.closed()
    text = wire.text
  })
  return { text, left }
}

const HEADS = {
  length: 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf',
  chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
  'the close': 'HTTP/1.1 200 OK\r\n\r\nhalf',
} as const
const LONG = `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1_000_000)}`
const VERY_LONG = `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(16_000_000)}`
const LAST_CHUNK = '0\r\n\r\n'

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('under %s', (version) => {
  it.each([
    ['length', 'cut'],
    ['length', 'closed'],
    ['length', 'reset'],
    ['chunked', 'cut'],
    ['chunked', 'closed'],
    ['chunked', 'reset'],
    ['the close', 'cut'],
    ['the close', 'reset'],
  ] as const)('[H24] a body delimited by %s, %s in the middle, is broken off', async (head, end) => {
    originAnswers(HEADS[head], end, version)
    const { text, left } = await fetched()
    expect(text).toContain('half')
    expect(text).toMatch(head === 'length' ? /Content-Length: 9\r\n/ : /Transfer-Encoding: chunked\r\n/)
    expect(text).not.toContain(LAST_CHUNK)
    expect(left.completed[0]).toMatchObject({
      outcome: 'upstream_aborted',
      reason: 'upstream_unreachable',
      status: 200,
    })
  })

  it('[H24] a cut behind more than any buffer holds', async () => {
    originAnswers(LONG, 'cut', version)
    const { text, left } = await fetched()
    expect(text.endsWith(LAST_CHUNK)).toBe(false)
    expect(left.completed[0]).toMatchObject({ outcome: 'upstream_aborted' })
  })

  it.each([
    ['short', HEADS['the close'], 4],
    ['long', LONG, 1_000_000],
  ])('but a %s body that the origin closed with close_notify is whole', async (_name, bytes, length) => {
    originAnswers(bytes, 'closed', version)
    const { text, left } = await fetched()
    expect(text.endsWith(LAST_CHUNK)).toBe(true)
    expect(left.completed[0]).toMatchObject({ outcome: 'completed', reason: null, bytes_received: length })
  })
})

const CURL = { partial: 18, 'receive error': 56 } as const

describe.skipIf(!available('curl', ['--version']))('what curl makes of it', () => {
  it.each([
    ['--http1.1', 'length', 'cut', ['partial', 'receive error']],
    ['--http1.1', 'chunked', 'cut', ['partial', 'receive error']],
    ['--http1.1', 'the close', 'cut', ['partial', 'receive error']],
    // The close is the end of the answer for this client: it must be no close at all.
    ['--http1.0', 'the close', 'cut', ['receive error']],
    ['--http1.0', 'the close', 'reset', ['receive error']],
  ] as const)('[H24] %s, a body delimited by %s, %s: an error', async (client, head, end, errors) => {
    originAnswers(HEADS[head], end, 'TLSv1.3')
    await witness(standard, async () => {
      expect(errors.map((error) => CURL[error])).toContain(await curl(client))
    })
  })

  it('[H24] --http1.0, slow, while megabytes are on their way to it: still an error', async () => {
    originAnswers(VERY_LONG, 'cut', 'TLSv1.3')
    await witness(standard, async () => {
      expect(await curl('--http1.0', '--limit-rate', '30M')).toBe(CURL['receive error'])
    })
  })

  it.each(['--http1.0', '--http1.1'])('but %s, closed by the origin: no error', async (client) => {
    originAnswers(HEADS['the close'], 'closed', 'TLSv1.3')
    await witness(standard, async () => expect(await curl(client)).toBe(0))
  })

  /** Resolves to its exit code. */
  async function curl(...client: string[]): Promise<number> {
    const { lab } = standard
    const trust = ['--cacert', join(lab.folder, 'certs/ca.pem')]
    const proxy = ['--proxy', `http://127.0.0.1:${lab.proxyPort}`]
    const url = `https://${NAME}:${canary.port}/cut`
    return run('curl', ['--silent', '--max-time', '5', ...client, ...trust, ...proxy, url], {
      env: bareEnvironment(),
      maxBuffer: 2 * VERY_LONG.length,
    }).then(
      () => 0,
      (error: { code: number }) => error.code,
    )
  }
})
