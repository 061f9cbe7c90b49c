// What a runtime is made to fetch: a TLS origin of our own on loopback, or a relay from loopback into a running proxy.

import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { request } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext, TLSSocket } from 'node:tls'
import { EXIT, ExitError } from './exit.ts'

/** The name that is asked for: every system resolves it, and no other one leads here. */
export const NAME = 'localhost'

export interface Target {
  readonly url: string
  /** TCP connections so far: whether the runtime came here at all. */
  connections(): number
  /** Whether a request came out of the TLS connection, and so the runtime believed the certificate. */
  answered(output: string): boolean
  /** Why it could not do its part; null: it did. */
  failure(): string | null
  close(): Promise<void>
}

const CONNECT_TIMEOUT_MS = 5_000
/** A proxy gives one leaf a second for a name it refuses, past a burst. */
const LEAF_ATTEMPTS = 6
const LEAF_PAUSE_MS = 1_100
const MAX_HEAD_BYTES = 16_384

/** A fresh listener with a path nobody can guess: what is seen here was caused by the runtime that was given the URL. */
export async function openOrigin(context: SecureContext): Promise<Target> {
  const nonce = randomBytes(12).toString('hex')
  let asked = false
  return listen(
    nonce,
    (raw) => {
      const socket = new TLSSocket(raw, { isServer: true, secureContext: context, ALPNProtocols: ['http/1.1'] })
      socket.on('error', () => raw.destroy())
      let head = ''
      socket.setEncoding('latin1')
      socket.on('data', (text: string) => {
        head = (head + text).slice(0, MAX_HEAD_BYTES)
        if (!head.includes(nonce)) return
        asked = true
        socket.end('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
      })
    },
    () => asked,
  )
}

/**
 * The same with the certificate that the proxy shows: for places that have no CA key, and must not have one. What answers is the
 * proxy's refusal of the name, inside TLS; only the runtime can say that it was read.
 */
export async function openRelay(proxy: URL): Promise<Target> {
  let failure: string | null = null
  const target = await listen(
    randomBytes(12).toString('hex'),
    (raw) => {
      joinTunnel(raw, proxy).catch((error: unknown) => {
        failure = `the proxy: ${messageOf(error)}`
        raw.destroy()
      })
    },
    // Every status our proxy gives to a name that no rule should name.
    (output) => /egress_denied|egress_failed|\b(?:403|421|429|502|503)\b/.test(output),
  )
  return { ...target, failure: () => failure }
}

async function joinTunnel(raw: Socket, proxy: URL): Promise<void> {
  const upstream = await tunnel(proxy)
  upstream.on('error', () => raw.destroy())
  raw.on('close', () => upstream.destroy())
  if (raw.destroyed) upstream.destroy()
  raw.pipe(upstream).pipe(raw)
}

async function listen(
  nonce: string,
  serve: (raw: Socket) => void,
  answered: (output: string) => boolean,
): Promise<Target> {
  const sockets = new Set<Socket>()
  let connections = 0
  const server: Server = createServer((raw) => {
    connections += 1
    sockets.add(raw)
    raw.once('close', () => sockets.delete(raw))
    raw.on('error', () => raw.destroy())
    serve(raw)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `https://${NAME}:${(server.address() as AddressInfo).port}/${nonce}`,
    connections: () => connections,
    answered,
    failure: () => null,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

/** Throws an ExitError unless the proxy shows a certificate of the CA in `caPem`. */
export async function checkRelay(proxy: URL, caPem: string): Promise<void> {
  const failed = (why: string): ExitError =>
    new ExitError(
      EXIT.failure,
      `the proxy ${proxy.host} does not show a certificate of this CA: ${why}\n` +
        '  fix: name the proxy of this CA with --proxy URL, with the credentials of a client in it if it asks for them',
    )
  const raw = await tunnel(proxy).catch((error: unknown) => {
    throw failed(messageOf(error))
  })
  try {
    // SECURITY: said aloud, or NODE_TLS_REJECT_UNAUTHORIZED=0 in the environment under examination would decide it.
    const secure = connectTls({ socket: raw, servername: NAME, ca: [caPem], rejectUnauthorized: true })
    await once(secure, 'secureConnect', { signal: AbortSignal.timeout(CONNECT_TIMEOUT_MS) })
    secure.destroy()
  } catch (error) {
    throw failed(messageOf(error))
  } finally {
    raw.destroy()
  }
}

async function tunnel(proxy: URL): Promise<Socket> {
  for (let attempt = 1; ; attempt++) {
    const { status, socket } = await connect(proxy)
    if (status === 200) return socket
    socket.destroy()
    if (status !== 403 || attempt === LEAF_ATTEMPTS) throw new Error(`it answers CONNECT with ${status}`)
    await new Promise((resolve) => setTimeout(resolve, LEAF_PAUSE_MS))
  }
}

function connect(proxy: URL): Promise<{ status: number; socket: Socket }> {
  const { username, password } = proxy
  const credentials = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  return new Promise((resolve, reject) => {
    const asked = request({
      host: proxy.hostname.replace(/^\[|\]$/g, ''),
      port: proxy.port === '' ? 80 : Number(proxy.port),
      method: 'CONNECT',
      path: `${NAME}:443`,
      headers: {
        Host: `${NAME}:443`,
        ...(username === '' ? {} : { 'Proxy-Authorization': `Basic ${credentials}` }),
      },
      agent: false,
      timeout: CONNECT_TIMEOUT_MS,
    })
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', reject)
    asked.on('connect', (answer, socket: Socket) => resolve({ status: answer.statusCode ?? 0, socket }))
    asked.end()
  })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
