// Clients for tests: raw bytes and parsed HTTP/1.1 answers through every door of a lab.

import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { Lab } from './lab.ts'

export interface HttpAnswer {
  readonly status: number
  readonly headers: Map<string, string>
  readonly rawHead: string
  readonly body: string
}

const ANSWER_DEADLINE_MS = 8_000

export function opened(socket: Socket, event: 'connect' | 'secureConnect' = 'connect'): Promise<Socket> {
  return new Promise((resolve, reject) => {
    socket.once(event, () => resolve(socket))
    socket.once('error', reject)
  })
}

export function tcp(port: number): Promise<Socket> {
  return opened(connectTcp(port, '127.0.0.1'))
}

/** Everything the peer sends until it closes, or until `until` is satisfied. Never hangs: rejects after a deadline. */
export function readUntil(socket: Socket, until: (text: string) => boolean = () => false): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const timer = setTimeout(
      () => reject(new Error(`no end in time; got ${JSON.stringify(text.slice(0, 300))}`)),
      ANSWER_DEADLINE_MS,
    )
    const finish = (): void => {
      clearTimeout(timer)
      socket.removeListener('data', onData)
      resolve(text)
    }
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1')
      if (until(text)) finish()
    }
    socket.on('data', onData)
    socket.once('end', finish)
    socket.once('close', finish)
    socket.once('error', finish)
  })
}

/** True when `text` holds one whole answer with a Content-Length or without a body. */
function isWhole(text: string): boolean {
  const end = text.indexOf('\r\n\r\n')
  if (end < 0) return false
  const head = text.slice(0, end).toLowerCase()
  const length = /\r\ncontent-length: (\d+)/.exec(head)
  if (length !== null) return text.length >= end + 4 + Number(length[1])
  if (head.includes('transfer-encoding: chunked')) return text.endsWith('0\r\n\r\n')
  return / (1\d\d|204|304) /.test(head.slice(0, 14))
}

function parseAnswer(text: string): HttpAnswer {
  const end = text.indexOf('\r\n\r\n')
  const rawHead = text.slice(0, end)
  const [statusLine = '', ...lines] = rawHead.split('\r\n')
  const headers = new Map<string, string>()
  for (const line of lines) {
    const colon = line.indexOf(':')
    headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim())
  }
  return { status: Number(statusLine.split(' ')[1]), headers, rawHead, body: text.slice(end + 4) }
}

export async function exchangeOn(socket: Socket, bytes: string | Buffer): Promise<HttpAnswer> {
  const answer = readUntil(socket, isWhole)
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return parseAnswer(await answer)
}

export interface TlsOptions {
  readonly servername?: string
  readonly ca?: string
  readonly address?: string
  readonly alpn?: string[]
}

/** TLS over a socket that already leads to the proxy. `servername: ''` sends no SNI. */
export async function secure(lab: Lab, socket: Socket, options: TlsOptions = {}): Promise<Socket> {
  const tls = connectTls({
    socket,
    ca: options.ca ?? lab.ca,
    servername: options.servername ?? '',
    // Without SNI the certificate is checked against the address of the URL.
    host: options.address ?? options.servername ?? '127.0.0.1',
    ...(options.alpn === undefined ? {} : { ALPNProtocols: options.alpn }),
  })
  return opened(tls, 'secureConnect')
}

/** CONNECT; resolves to the tunnel, or to the refusal of the CONNECT itself. */
export async function connectVia(
  lab: Lab,
  authority: string,
  headers = '',
): Promise<{ socket: Socket; refused: HttpAnswer | null }> {
  const socket = await tcp(lab.proxyPort)
  const answer = await exchangeOnHead(socket, `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${headers}\r\n`)
  return { socket, refused: answer.status === 200 ? null : answer }
}

async function exchangeOnHead(socket: Socket, bytes: string): Promise<HttpAnswer> {
  const answer = readUntil(socket, (text) =>
    text.startsWith('HTTP/1.1 200') ? text.includes('\r\n\r\n') : isWhole(text),
  )
  socket.write(Buffer.from(bytes, 'latin1'))
  return parseAnswer(await answer)
}

/** An HTTPS connection through CONNECT for `authority`, with SNI of its host unless told otherwise. */
export async function httpsVia(
  lab: Lab,
  authority: string,
  options: TlsOptions & { headers?: string } = {},
): Promise<Socket> {
  const { socket, refused } = await connectVia(lab, authority, options.headers)
  if (refused !== null) throw new Error(`CONNECT was refused: ${refused.status} ${refused.body}`)
  return secure(lab, socket, { servername: authority.replace(/:\d+$/, ''), ...options })
}

/** An HTTPS connection through the transparent door. */
export async function httpsRedirected(lab: Lab, servername: string, options: TlsOptions = {}): Promise<Socket> {
  return secure(lab, await tcp(lab.transparentPort), { servername, ...options })
}

export function reasonOf(answer: HttpAnswer): string {
  return (JSON.parse(answer.body) as { reason: string }).reason
}
