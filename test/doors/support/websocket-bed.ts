// A real WebSocket server behind the proxy, and real clients that get to it through any door.

import { once } from 'node:events'
import { createServer as createHttp } from 'node:http'
import { createServer as createHttps } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { type ClientOptions, type ServerOptions, WebSocket, WebSocketServer } from 'ws'
import { connectVia, httpsRedirected, httpsVia, tcp } from '../../support/clients.ts'
import { type Lab, type LabOptions, startLab } from '../../support/lab.ts'
import { createTestRoot } from '../../support/origins.ts'
import { HOST, type Way } from './bed.ts'

export interface WebSocketBed {
  readonly lab: Lab
  readonly server: WebSocketServer
  readonly port: number
  /** A connection of which the proxy serves one end for the origin. */
  readonly socket: () => Promise<Socket>
  /** Both ends of a new WebSocket, open. */
  readonly open: (
    path: string,
    protocols?: readonly string[],
    options?: ClientOptions,
  ) => Promise<{ client: WebSocket; origin: WebSocket }>
  readonly close: () => Promise<void>
}

/** `PORT` in the rules is the origin's. */
export async function startWebSocketBed(
  way: Way,
  options: Partial<LabOptions> = {},
  serving: ServerOptions = {},
): Promise<WebSocketBed> {
  const root = createTestRoot()
  const http = way.tls ? createHttps(root.issue(HOST)) : createHttp()
  const server = new WebSocketServer({ server: http, ...serving })
  http.listen(0, '127.0.0.1')
  await once(http, 'listening')
  const { port } = http.address() as AddressInfo
  const lab = await startLab({
    names: { [HOST]: ['127.0.0.1'] },
    original: { address: '127.0.0.1', port },
    ...options,
    root,
    rules: (options.rules ?? webSocketRule()).replaceAll('PORT', String(port)),
  })
  const socket = async (): Promise<Socket> => {
    if (way.door === 'transparent') return way.tls ? httpsRedirected(lab, HOST) : tcp(lab.transparentPort)
    if (way.tls) return httpsVia(lab, `${HOST}:${port}`)
    return (await connectVia(lab, `${HOST}:${port}`)).socket
  }
  const url = `${way.tls ? 'wss' : 'ws'}://${HOST}:${port}`
  return {
    lab,
    server,
    port,
    socket,
    open: async (path, protocols = [], more = {}) => {
      const connection = await socket()
      const accepted = once(server, 'connection') as Promise<[WebSocket]>
      const client = new WebSocket(url + path, [...protocols], { ...more, createConnection: () => connection })
      client.on('error', () => undefined)
      const [[origin]] = await Promise.all([accepted, once(client, 'open')])
      origin.on('error', () => undefined)
      return { client, origin }
    },
    close: async () => {
      for (const origin of server.clients) origin.terminate()
      await lab.close()
      server.close()
      http.close()
      root.close()
    },
  }
}

/** A rule for WebSockets to the host of the tests, and more beside its matchers. */
export function webSocketRule(beside = ''): string {
  return `  - { id: chat, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https], upgrade: [websocket] }${beside} }\n`
}

/** The next message, as bytes. */
export async function message(socket: WebSocket): Promise<Buffer> {
  const [data] = (await once(socket, 'message')) as [Buffer]
  return data
}

/** How it ended for this side. */
export async function closing(socket: WebSocket): Promise<[code: number, reason: string]> {
  const [code, reason] = (await once(socket, 'close')) as [number, Buffer]
  return [code, reason.toString()]
}
