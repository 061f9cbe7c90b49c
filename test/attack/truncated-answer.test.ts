// An answer that somebody cut on its way: no client may take it for a whole one, however its length was told.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openDoor, type Standard, startStandard } from '../support/standard.ts'
import { startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'
import { Wire } from '../support/wire.ts'
import { type Left, witness } from '../support/witness.ts'

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

async function fetched(client: '1.0' | '1.1' = '1.1'): Promise<{ wire: Wire; left: Left; ending: string }> {
  const authority = `${NAME}:${canary.port}`
  let wire: Wire | null = null
  let ending = ''
  const left = await witness(standard, async () => {
    wire = new Wire(await openDoor(standard.lab, 'connect', authority))
    wire.write(`GET /cut HTTP/${client}\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`)
    ending = await wire.closed()
  })
  return { wire: wire as unknown as Wire, left, ending }
}

const HEADS = {
  length: 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf',
  chunked: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n',
  'the close': 'HTTP/1.1 200 OK\r\n\r\nhalf',
} as const
const LONG = `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1_000_000)}`

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
    const { wire, left, ending } = await fetched()
    console.log(ending, JSON.stringify(wire?.text.slice(0,300)), left.completed[0]);    expect(ending).toBe('broken')
    expect(wire.text).not.toContain('0\r\n\r\n')
    expect(left.completed[0]).toMatchObject({ outcome: 'upstream_aborted', reason: 'upstream_unreachable', status: 200 })
  })

  it('[H24] to an HTTP/1.0 client, for whom the close is the end, the cut is a reset', async () => {
    originAnswers(HEADS['the close'], 'cut', version)
    const { left, ending } = await fetched('1.0')
    console.log(ending, JSON.stringify(wire?.text.slice(0,300)), left.completed[0]);    expect(ending).toBe('broken')
    expect(left.completed[0]).toMatchObject({ outcome: 'upstream_aborted' })
  })

  it('[H24] a cut behind more than any buffer holds', async () => {
    originAnswers(LONG, 'cut', version)
    const { left, ending } = await fetched()
    console.log(ending, JSON.stringify(wire?.text.slice(0,300)), left.completed[0]);    expect(ending).toBe('broken')
    expect(left.completed[0]).toMatchObject({ outcome: 'upstream_aborted', bytes_received: 1_000_000 })
  })

  it.each([
    ['short', HEADS['the close'], 4],
    ['long', LONG, 1_000_000],
  ])('but a %s body that the origin closed with close_notify is whole', async (_name, bytes, length) => {
    originAnswers(bytes, 'closed', version)
    const { wire, left, ending } = await fetched()
    expect(ending).toBe('end')
    expect(wire.text.endsWith('0\r\n\r\n')).toBe(true)
    expect(left.completed[0]).toMatchObject({ outcome: 'completed', reason: null, bytes_received: length })
  })
})
