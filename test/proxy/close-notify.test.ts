import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { watchForCutOff } from '../../src/proxy/close-notify.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { startTlsCanary, type TlsCanary } from '../support/tls-canary.ts'

const NAME = 'origin.test'

let root: TestRoot
let canary: TlsCanary
beforeAll(async () => {
  root = createTestRoot()
  canary = await startTlsCanary()
})
afterAll(async () => {
  await canary.close()
  root.close()
})

interface Ended {
  readonly bytes: number
  readonly cutOff: boolean
}

/** Connects, asks, reads to the end; a slow reader takes a rest after each piece. */
function readToTheEnd(slow: boolean): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const raw = connectTcp({ port: canary.port, host: '127.0.0.1' }, () => {
      const tls = connectTls({ socket: raw, servername: NAME, ca: root.pem }, () => tls.write('?'))
      const cutOff = watchForCutOff(tls, raw)
      let bytes = 0
      tls.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (!slow) return
        tls.pause()
        setImmediate(() => tls.resume())
      })
      tls.on('end', () => {
        resolve({ bytes, cutOff: cutOff() })
        tls.destroy()
      })
      tls.on('error', reject)
    })
    raw.on('error', reject)
  })
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', (version) => {
  describe.each([
    ['2 bytes, as few as close_notify itself', 2],
    ['a record', 16_384],
    ['more than is buffered', 2_000_000],
  ])('after %s', (_name, bytes) => {
    it.each([
      ['close_notify and FIN', false, false],
      ['close_notify and FIN, read slowly', true, false],
      ['FIN alone', false, true],
      ['FIN alone, read slowly', true, true],
    ])('%s', async (_ending, slow, cutOff) => {
      canary.secured(NAME, { ...root.issue(NAME), maxVersion: version }, (socket, raw) => {
        socket.write(Buffer.alloc(bytes), () => (cutOff ? raw : socket).end())
      })
      expect(await readToTheEnd(slow)).toEqual({ bytes, cutOff })
    })
  })

  it('close_notify of an origin that leaves TCP open', async () => {
    canary.secured(NAME, { ...root.issue(NAME), maxVersion: version }, (socket, raw) => {
      raw.end = () => raw
      socket.end('bye')
    })
    expect(await readToTheEnd(false)).toEqual({ bytes: 3, cutOff: false })
  })
})

it('has no opinion where Node.js lets nothing be seen', async () => {
  canary.secured(NAME, root.issue(NAME), (socket, raw) => {
    socket.write('half', () => raw.end())
  })
  const ended = await new Promise<boolean>((resolve) => {
    const raw = connectTcp({ port: canary.port, host: '127.0.0.1' }, () => {
      const tls = connectTls({ socket: raw, servername: NAME, ca: root.pem }, () => tls.write('?'))
      const cutOff = watchForCutOff(tls, connectTcp({ port: canary.port, host: '127.0.0.1' }).destroy())
      tls.resume().on('end', () => resolve(cutOff()))
    })
  })
  expect(ended).toBe(false)
})
