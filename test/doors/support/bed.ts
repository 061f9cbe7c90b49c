// One way into the proxy with an origin behind it that the test plays: what every case of the shared suite runs on.

import { connectVia, type HttpAnswer, httpsRedirected, httpsVia, tcp } from '../../support/clients.ts'
import { type AuditRecord, type Lab, type LabOptions, startLab } from '../../support/lab.ts'
import { createTestRoot, type TestRoot } from '../../support/origins.ts'
import { type ScriptedOrigin, startScriptedOrigin } from '../../support/scripted-origin.ts'
import { type Message, Wire } from '../../support/wire.ts'

export const HOST = 'api.allowed.test'
/** Each host has the one rule that its name tells. */
export const CAPPED = 'capped.allowed.test'
export const RATED = 'rated.allowed.test'
export const INSPECTED = 'inspected.allowed.test'
export const TOKENED = 'tokened.allowed.test'
export const DENIED = 'denied.test'

export const CAP_BYTES = 1_000
export const RATE = 2
export const TOKEN = 'correct-horse-battery'

const RULES = `  - { id: free, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }
  - id: capped
    allow: { hosts: [${CAPPED}], ports: [PORT], schemes: [http, https] }
    limits: { request_bytes: ${CAP_BYTES}, response_bytes: ${CAP_BYTES} }
  - id: rated
    allow: { hosts: [${RATED}], ports: [PORT], schemes: [http, https] }
    rate: { requests: ${RATE}, per: hour }
  - id: inspected
    allow: { hosts: [${INSPECTED}], ports: [PORT], schemes: [http, https] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
  - { id: tokened, clients: [robot], allow: { hosts: [${TOKENED}], ports: [PORT], schemes: [http, https] } }
`
const NAMES = Object.fromEntries([HOST, CAPPED, RATED, INSPECTED, TOKENED].map((name) => [name, ['127.0.0.1']]))

const RECORD_DEADLINE_MS = 5_000

/** How a client gets in, and whether it speaks TLS to the destination. */
export interface Way {
  readonly door: 'connect' | 'transparent' | 'absolute'
  readonly tls: boolean
}

export interface Ask {
  readonly method?: string
  readonly host?: string
  readonly version?: '1.0' | '1.1'
  /** Field lines, each with its CRLF. */
  readonly fields?: string
  readonly body?: string
}

export interface Attempt {
  readonly decided: AuditRecord
  readonly completed: AuditRecord
}

export interface Bed {
  readonly way: Way
  readonly lab: Lab
  readonly root: TestRoot
  readonly origin: ScriptedOrigin
  readonly authority: (host?: string) => string
  /** A connection that requests for `host` can be written to; `fields` go with a CONNECT. */
  readonly open: (host?: string, fields?: string) => Promise<Wire>
  /** The refusal of a CONNECT. */
  readonly refusal: (host: string, fields?: string) => Promise<HttpAnswer>
  /** The bytes of a request. */
  readonly request: (path: string, ask?: Ask) => string
  /** One request on a connection of its own. */
  readonly ask: (path: string, ask?: Ask) => Promise<Message>
  /** The decision on the only attempt for the path; waits for it. */
  readonly decided: (path: string) => Promise<AuditRecord>
  /** The records of the only attempt for the path; waits for its end. */
  readonly attempt: (path: string) => Promise<Attempt>
  readonly close: () => Promise<void>
}

export async function startBed(way: Way, options: Partial<LabOptions> = {}): Promise<Bed> {
  const root = createTestRoot()
  const origin = await startScriptedOrigin(way.tls ? root : null)
  const lab = await startLab({
    clients: `  - { name: robot, token: "\${ROBOT_TOKEN}" }`,
    env: { ROBOT_TOKEN: TOKEN },
    names: NAMES,
    original: { address: '127.0.0.1', port: origin.port },
    ...options,
    root,
    rules: (options.rules ?? RULES).replaceAll('PORT', String(origin.port)),
  })
  const authority = (host = HOST): string => `${host}:${origin.port}`
  const open = async (host = HOST, fields = ''): Promise<Wire> => {
    if (way.door === 'absolute') return new Wire(await tcp(lab.proxyPort))
    if (way.door === 'transparent') {
      return new Wire(way.tls ? await httpsRedirected(lab, host) : await tcp(lab.transparentPort))
    }
    if (way.tls) return new Wire(await httpsVia(lab, authority(host), { headers: fields }))
    const { socket, refused } = await connectVia(lab, authority(host), fields)
    if (refused !== null) throw new Error(`CONNECT was refused: ${refused.status}`)
    return new Wire(socket)
  }
  const request = (path: string, ask: Ask = {}): string => {
    const { method = 'GET', host = HOST, version = '1.1', fields = '', body = '' } = ask
    const target = way.door === 'absolute' ? `http://${authority(host)}${path}` : path
    return `${method} ${target} HTTP/${version}\r\nHost: ${authority(host)}\r\n${fields}\r\n${body}`
  }
  const found = async (otherwise: string, wanted: (record: AuditRecord) => boolean): Promise<AuditRecord> => {
    for (const deadline = Date.now() + RECORD_DEADLINE_MS; Date.now() < deadline; ) {
      const record = lab.records().find(wanted)
      if (record !== undefined) return record
      await new Promise((resolve) => setImmediate(resolve))
    }
    throw new Error(otherwise)
  }
  const ends =
    (decision: AuditRecord) =>
    ({ event, request_id }: AuditRecord): boolean =>
      event === 'request.completed' && request_id === decision.request_id
  const decided = (path: string): Promise<AuditRecord> =>
    found(`no decision on ${path}`, (record) => record.event === 'request.decided' && record['path'] === path)
  return {
    way,
    lab,
    root,
    origin,
    authority,
    open,
    request,
    refusal: async (host, fields = '') => {
      const { refused, socket } = await connectVia(lab, authority(host), fields)
      socket.destroy()
      if (refused === null) throw new Error('CONNECT was accepted')
      return refused
    },
    ask: async (path, ask = {}) => {
      const wire = await open(ask.host)
      wire.write(request(path, ask))
      const answer = await wire.message(ask.method === 'HEAD')
      wire.socket.destroy()
      return answer
    },
    decided,
    attempt: async (path) => {
      const decision = await decided(path)
      return { decided: decision, completed: await found(`no end of ${path}`, ends(decision)) }
    },
    close: async () => {
      await lab.close()
      await origin.close()
      root.close()
    },
  }
}

/** The body of a refusal. */
export function refusalOf(answer: { readonly body: string }): { reason: string; rule: string | null; hint: string } {
  return JSON.parse(answer.body) as { reason: string; rule: string | null; hint: string }
}
