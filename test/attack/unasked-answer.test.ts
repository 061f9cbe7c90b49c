// An origin that speaks first: what nobody asked for is no answer to the request that comes next.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, createServer as createTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { gate } from '../doors/support/gate.ts'
import { assertAccounted } from '../support/accounting.ts'
import { connectVia, httpsRedirected, httpsVia, tcp } from '../support/clients.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { ok } from '../support/scripted-origin.ts'
import { Wire } from '../support/wire.ts'
import { called, HOST, WAYS } from './support/smuggling.ts'

/** Of an answer whose connection is not kept: each test begins with a new one. */
const LAST = 'Connection: close\r\n'

describe.each(WAYS.map((way) => [called(way), way] as const))('%s', (_called, way) => {
  let root: TestRoot
  let server: Server
  let lab: Lab
  let authority: string
  const sockets: Socket[] = []
  let speak: (socket: Socket, connection: number) => void

  beforeAll(async () => {
    root = createTestRoot()
    const listen = (socket: Socket): void => {
      sockets.push(socket)
      socket.on('error', () => undefined)
      speak(socket, sockets.length)
    }
    const secureContext = createSecureContext(root.issue(HOST))
    const options = {
      SNICallback: (_name: string, done: (error: null, context: typeof secureContext) => void) =>
        done(null, secureContext),
    }
    server = way.tls ? createTls({ ...options, noDelay: true }, listen) : createServer({ noDelay: true }, listen)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    authority = `${HOST}:${port}`
    lab = await startLab({
      root,
      names: { [HOST]: ['127.0.0.1'] },
      original: { address: '127.0.0.1', port },
      rules: `  - { id: open, allow: { hosts: [${HOST}], ports: [${port}], schemes: [http, https] } }`,
    })
  })
  afterAll(async () => {
    await assertAccounted(lab)
    await lab.close()
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
    root.close()
  })

  const open = async (): Promise<Wire> => {
    if (way.door === 'absolute') return new Wire(await tcp(lab.proxyPort))
    if (way.door === 'transparent')
      return new Wire(way.tls ? await httpsRedirected(lab, HOST) : await tcp(lab.transparentPort))
    return new Wire(way.tls ? await httpsVia(lab, authority) : (await connectVia(lab, authority)).socket)
  }
  const target = (path: string): string => (way.door === 'absolute' ? `http://${authority}${path}` : path)
  const get = (path: string): string => `GET ${target(path)} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`

  it('[B37] an answer in the same moment as the connection, and one to the request: nobody gets the second', async () => {
    const over = gate()
    speak = (socket) => {
      socket.write(ok('first'))
      socket.once('data', () => socket.write(ok('second')))
      socket.once('close', () => over.open())
    }
    const wire = await open()
    wire.write(get('/early'))
    const answer = await wire.message()
    // Whether it came before the request was written or after it, nobody can tell afterwards: it is that answer or none.
    expect([200, 502]).toContain(answer.status)
    expect(answer.body).not.toBe('second')
    await over.opened
    speak = (socket) => socket.once('data', () => socket.write(ok('mine', LAST)))
    wire.write(get('/next'))
    expect((await wire.message()).body).toBe('mine')
    wire.socket.destroy()
  })

  it('[B37] an answer on a connection that rests: it is closed, and the next request dials anew', async () => {
    const { length } = sockets
    const answered = gate()
    const over = gate()
    speak = (socket) => {
      socket.once('data', () => socket.write(ok('mine')))
      void answered.opened.then(() => socket.write(ok('poison')))
      socket.once('close', () => over.open())
    }
    const wire = await open()
    wire.write(get('/rest'))
    expect((await wire.message()).body).toBe('mine')
    answered.open()
    await over.opened
    speak = (socket) => socket.once('data', () => socket.write(ok('other', LAST)))
    wire.write(get('/rest/next'))
    expect((await wire.message()).body).toBe('other')
    wire.socket.destroy()
    expect(sockets).toHaveLength(length + 2)
  })

  it.each(['SSH-2.0-OpenSSH_9.6\r\n', '220 smtp.test ESMTP\r\n', '\0\0\0\x04', '+OK\r\n'])(
    '[B37] the greeting %j of a protocol in which the server speaks first: 502',
    async (greeting) => {
      speak = (socket) => void socket.write(Buffer.from(greeting, 'latin1'))
      const wire = await open()
      wire.write(get('/greeting'))
      const answer = await wire.message()
      wire.socket.destroy()
      expect(answer.status).toBe(502)
      expect(answer.body).not.toContain(greeting.trim())
    },
  )
})
