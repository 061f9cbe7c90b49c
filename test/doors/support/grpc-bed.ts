// A grpc-js server and grpc-js clients with the proxy between them; the methods are made up by each test.

import { once } from 'node:events'
import { createSecureServer, type Http2SecureServer, type ServerHttp2Session } from 'node:http2'
import type { AddressInfo } from 'node:net'
import {
  Client,
  credentials,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerWritableStream,
} from '@grpc/grpc-js'
import { vi } from 'vitest'
import { type AuditRecord, type Lab, type LabOptions, startLab } from '../../support/lab.ts'
import { createTestRoot } from '../../support/origins.ts'
import { Caller, decode, encode } from './grpc-caller.ts'

export const HOST = 'api.grpc.test'
/** A rule allows it, no address is known for it. */
export const UNKNOWN = 'unknown.grpc.test'

export const CAP_BYTES = 1_000
const RECORD_DEADLINE_MS = 5_000
const MAX_MESSAGE_BYTES = 8 * 1024 * 1024

/** Each service has the one rule that its name tells. */
const RULES = `  - { id: calls, allow: { hosts: [${HOST}], ports: PORTS, methods: [POST], paths: ["/test.Allowed/*"] } }
  - id: capped
    allow: { hosts: [${HOST}], ports: PORTS, paths: ["/test.Capped/*"] }
    limits: { request_bytes: ${CAP_BYTES}, response_bytes: ${CAP_BYTES} }
  - id: rated
    allow: { hosts: [${HOST}], ports: PORTS, paths: ["/test.Rated/*"] }
    rate: { requests: 1, per: hour }
  - id: inspected
    allow: { hosts: [${HOST}], ports: PORTS, paths: ["/test.Inspected/*"] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
  - { id: unknown, allow: { hosts: [${UNKNOWN}], ports: PORTS } }
`

export interface Handlers {
  unary: handleUnaryCall<string, string>
  clientStream: handleClientStreamingCall<string, string>
  serverStream: (call: ServerWritableStream<string, string>) => void | Promise<void>
  bidi: handleBidiStreamingCall<string, string>
}

/** An origin that knows HTTP/2 and nothing of gRPC: no deadline of a call, and it sends what it likes. */
export interface PlainOrigin {
  readonly server: Http2SecureServer
  readonly port: number
}

export interface GrpcBed {
  readonly lab: Lab
  readonly port: number
  readonly plain: PlainOrigin
  readonly rules: string
  /** Registers a method; one handler of the four. */
  readonly serve: (path: string, handler: Partial<Handlers>) => void
  /** To the server of this bed, or to its plain origin. */
  readonly caller: (host?: string, port?: number) => Caller
  readonly decided: (path: string) => Promise<AuditRecord>
  /** The records of the only call of that path; waits for its end. */
  readonly attempt: (path: string) => Promise<{ decided: AuditRecord; completed: AuditRecord }>
  readonly close: () => Promise<void>
}

export async function startGrpcBed(
  door: 'connect' | 'transparent',
  options: Partial<LabOptions> = {},
): Promise<GrpcBed> {
  const root = createTestRoot()
  const { key, cert } = root.issue(HOST)
  const server = new Server(messageLimits())
  const port = await bind(server, key, cert)
  const plain = await startPlain(key, cert)
  const rules = RULES.replaceAll('PORTS', `[${port}, ${plain.port}]`)
  const names = { [HOST]: ['127.0.0.1'] }
  const lab = await startLab({ names, original: { address: '127.0.0.1', port }, ...options, root, rules })
  const callers: Caller[] = []
  const find = async (otherwise: string, wanted: (record: AuditRecord) => boolean): Promise<AuditRecord> => {
    for (const deadline = performance.now() + RECORD_DEADLINE_MS; performance.now() < deadline; ) {
      const record = lab.records().find(wanted)
      if (record !== undefined) return record
      await new Promise((resolve) => setImmediate(resolve))
    }
    throw new Error(otherwise)
  }
  const decided = (path: string): Promise<AuditRecord> =>
    find(`no decision on ${path}`, (record) => record.event === 'request.decided' && record['path'] === path)
  return {
    lab,
    port,
    plain,
    rules,
    serve: (path, handler) => register(server, path, handler),
    caller: (host = HOST, to = port) => {
      const caller = new Caller(clientFor(lab, door, host, to))
      callers.push(caller)
      return caller
    },
    decided,
    attempt: async (path) => {
      const decision = await decided(path)
      const completed = await find(
        `no end of ${path}`,
        (record) => record.event === 'request.completed' && record.request_id === decision.request_id,
      )
      return { decided: decision, completed }
    },
    close: async () => {
      for (const caller of callers) caller.close()
      await lab.close()
      server.forceShutdown()
      plain.close()
      root.close()
    },
  }
}

function messageLimits(): Record<string, number> {
  return {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  }
}

function clientFor(lab: Lab, door: 'connect' | 'transparent', host: string, port: number): Client {
  const trust = credentials.createSsl(Buffer.from(lab.ca))
  const options = { ...messageLimits(), 'grpc.use_local_subchannel_pool': 1, 'grpc.enable_retries': 0 }
  if (door === 'transparent') {
    lab.redirectTo({ address: '127.0.0.1', port })
    return new Client(`127.0.0.1:${lab.transparentPort}`, trust, {
      ...options,
      'grpc.enable_http_proxy': 0,
      'grpc.ssl_target_name_override': host,
      'grpc.default_authority': `${host}:${port}`,
    })
  }
  // Read when the channel is made.
  vi.stubEnv('grpc_proxy', `http://127.0.0.1:${lab.proxyPort}`)
  const client = new Client(`${host}:${port}`, trust, options)
  vi.unstubAllEnvs()
  return client
}

function bind(server: Server, key: string, cert: string): Promise<number> {
  const pair = { private_key: Buffer.from(key), cert_chain: Buffer.from(cert) }
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createSsl(null, [pair]), (error, port) =>
      error === null ? resolve(port) : reject(error),
    )
  })
}

async function startPlain(key: string, cert: string): Promise<PlainOrigin & { close(): void }> {
  const server = createSecureServer({ key, cert })
  const sessions = new Set<ServerHttp2Session>()
  server.on('session', (session) => {
    sessions.add(session)
    session.once('close', () => sessions.delete(session))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = (): void => {
    for (const session of sessions) session.destroy()
    server.close()
  }
  return { server, port: (server.address() as AddressInfo).port, close }
}

function register(server: Server, path: string, { unary, clientStream, serverStream, bidi }: Partial<Handlers>): void {
  if (unary !== undefined) server.register(path, unary, encode, decode, 'unary')
  if (clientStream !== undefined) server.register(path, clientStream, encode, decode, 'clientStream')
  const streamed = (call: ServerWritableStream<string, string>): void => void serverStream?.(call)
  if (serverStream !== undefined) server.register(path, streamed, encode, decode, 'serverStream')
  if (bidi !== undefined) server.register(path, bidi, encode, decode, 'bidi')
}
