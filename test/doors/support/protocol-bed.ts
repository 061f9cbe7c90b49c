// One way through the proxy in one pair of versions, and what a case leaves behind there: seen by client, origin and trail.

import { statSync } from 'node:fs'
import { assertAccounted } from '../../support/accounting.ts'
import { httpsRedirected, httpsVia, tcp } from '../../support/clients.ts'
import { type AuditRecord, type Lab, startLab } from '../../support/lab.ts'
import { createTestRoot } from '../../support/origins.ts'
import { CAP_BYTES, CAPPED, HOST, INSPECTED, RATE, RATED, type Way } from './bed.ts'
import type { Answer, Ask, ProtocolClient } from './protocol-client.ts'
import { Http1Client } from './protocol-http1-client.ts'
import { Http2Client } from './protocol-http2-client.ts'
import { type ProtocolOrigin, startProtocolOrigin, type Version } from './protocol-origin.ts'
import { eventsOf, trailOf } from './protocol-trail.ts'

export interface Cell extends Way {
  readonly client: Version
  readonly origin: Version
}

/** The trail says of it what the rule `recorded` asks for: fields and bodies. */
export const RECORDED = 'recorded.allowed.test'

const HOSTS = [HOST, CAPPED, RATED, INSPECTED, RECORDED]
const RULES = `  - { id: free, allow: { hosts: [${HOST}], ports: [PORT], schemes: [http, https] } }
  - { id: never, deny: { hosts: [${HOST}], paths: ["/never/**"] } }
  - id: capped
    allow: { hosts: [${CAPPED}], ports: [PORT], schemes: [http, https] }
    limits: { request_bytes: ${CAP_BYTES}, response_bytes: ${CAP_BYTES} }
  - id: rated
    allow: { hosts: [${RATED}], ports: [PORT], schemes: [http, https] }
    rate: { requests: ${RATE}, per: hour }
  - id: inspected
    allow: { hosts: [${INSPECTED}], ports: [PORT], schemes: [http, https] }
    body: { json: [{ path: $.Bcc, must: be-absent }] }
  - { id: recorded, audit: body, allow: { hosts: [${RECORDED}], ports: [PORT], schemes: [http, https] } }
`

const RECORDS_DEADLINE_MS = 8_000

export interface ProtocolBed {
  readonly cell: Cell
  readonly lab: Lab
  readonly origin: ProtocolOrigin
  authority(host?: string): string
  /** One that is connected for `host`; the same as before as long as it is. */
  client(host?: string): Promise<ProtocolClient>
  ask(ask: Ask, host?: string): Promise<Answer>
  /** Resolves when the trail has this many decisions since then, each with its end. */
  attempts(count: number, since: number): Promise<AuditRecord[]>
  /** How many records there are. */
  mark(): number
  close(): Promise<void>
}

export async function startProtocolBed(cell: Cell): Promise<ProtocolBed> {
  const root = createTestRoot()
  const origin = await startProtocolOrigin(cell.origin, cell.tls ? root : null)
  const lab = await startLab({
    root,
    names: Object.fromEntries(HOSTS.map((name) => [name, ['127.0.0.1']])),
    original: { address: '127.0.0.1', port: origin.port },
    rules: RULES.replaceAll('PORT', String(origin.port)),
  })
  const clients = new Map<string, Http1Client | Http2Client>()
  const authority = (host = HOST): string => `${host}:${origin.port}`
  const alpn = [cell.client]
  const open = (host: string) => () => {
    if (cell.door === 'absolute') return tcp(lab.proxyPort)
    if (cell.door === 'transparent') return httpsRedirected(lab, host, { alpn })
    return httpsVia(lab, authority(host), { alpn })
  }
  const connected = async (host: string): Promise<Http1Client | Http2Client> => {
    if (cell.client === 'h2') return new Http2Client(await open(host)(), authority(host))
    return new Http1Client(open(host), authority(host), cell.door === 'absolute' ? `http://${authority(host)}` : '')
  }
  const client = async (host = HOST): Promise<ProtocolClient> => {
    const before = clients.get(host)
    if (before !== undefined && !before.closed) return before
    const next = await connected(host)
    clients.set(host, next)
    return next
  }
  const attempts = async (count: number, since: number): Promise<AuditRecord[]> => {
    for (let read = -1, deadline = Date.now() + RECORDS_DEADLINE_MS; ; ) {
      await new Promise((resolve) => setImmediate(resolve))
      const { size } = statSync(lab.trailFile)
      if (size === read && Date.now() < deadline) continue
      read = size
      const records = eventsOf(lab.records().slice(since))
      const of = (event: string): number => records.filter((record) => record.event === event).length
      if (of('request.decided') >= count && of('request.completed') >= of('request.decided')) return records
      if (Date.now() > deadline) throw new Error(`${count} attempts wanted, got ${trailOf(records).join('; ')}`)
    }
  }
  return {
    cell,
    lab,
    origin,
    authority,
    client,
    ask: async (asked, host) => (await client(host)).begin(asked).answer(),
    attempts,
    mark: () => lab.records().length,
    close: async () => {
      for (const one of clients.values()) one.close()
      await assertAccounted(lab)
      await lab.close()
      await origin.close()
      root.close()
    },
  }
}
