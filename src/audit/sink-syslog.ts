// The sink to a syslog server: RFC 5424 messages, octet-counted (RFC 6587), over TCP or TLS (RFC 5425).

import { hostname } from 'node:os'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Delivery, type Destination, failed, type Severity, type ShippedRecord } from './sink-record.ts'
import type { Reach } from './sink-tls.ts'

export interface SyslogReceiver {
  readonly transport: 'tcp' | 'tls'
  readonly host: string
  readonly port: number
}

const MAX_RECORDS = 500
/** "log audit", RFC 5424 §6.2.1. */
const FACILITY = 13
const SEVERITY: Readonly<Record<Severity, number>> = { error: 3, warning: 4, info: 6 }
/** Of the enterprise numbers, the one that RFC 5612 gives to those who have none. */
const ENTERPRISE = '32473'

/**
 * Syslog has no answers. So every batch has a connection of its own, which we end in order: the server closes its side once it has
 * read up to our end, and resets it where it dies with something unread. Only that closing counts as delivered.
 */
export function syslogDestination(receiver: SyslogReceiver, reached: Reach): Destination {
  const host = headerText(hostname(), 255)
  return {
    maxRecords: MAX_RECORDS,
    deliver: (batch, signal) => send(receiver, reached, frames(batch, host), signal),
    close: () => undefined,
  }
}

function send(receiver: SyslogReceiver, reached: Reach, bytes: Buffer, signal: AbortSignal): Promise<Delivery> {
  if (signal.aborted) return Promise.resolve(failed('stopped'))
  return new Promise((resolve) => {
    const socket = open(receiver, reached)
    let sent = false
    const settle = (delivery: Delivery): void => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      resolve(delivery)
    }
    const abort = (): void =>
      settle(failed(sent ? 'the server does not close: it has not read everything' : 'no connection in time'))
    signal.addEventListener('abort', abort, { once: true })
    socket.on('error', (error) => settle(failed(error.message)))
    socket.once(receiver.transport === 'tls' ? 'secureConnect' : 'connect', () => {
      socket.end(bytes, () => {
        sent = true
      })
    })
    // A server has nothing to say; without a reader its end would not be seen.
    socket.resume()
    // Not before all was handed over: a server that closes early has not read it.
    const closed = (): void => settle(sent ? { kind: 'accepted' } : failed('the server closed the connection early'))
    socket.once('end', () => (sent ? undefined : closed()))
    socket.once('close', closed)
  })
}

function open({ transport, host, port }: SyslogReceiver, { lookup, tls }: Reach): Socket {
  // Half open: our end is said, and the server's is waited for.
  if (transport === 'tcp') return connectTcp({ host, port, lookup, allowHalfOpen: true })
  const raw = connectTcp({ host, port, lookup, allowHalfOpen: true })
  const servername = isIP(host) === 0 ? { servername: host } : {}
  const secured = connectTls({ ...tls, ...servername, host, socket: raw })
  raw.on('error', (error) => secured.destroy(error))
  return secured
}

function frames(batch: readonly ShippedRecord[], host: string): Buffer {
  const messages = batch.map((record) => {
    const text = message(record, host)
    // Printable ASCII throughout, so characters are octets.
    return `${text.length} ${text}`
  })
  return Buffer.from(messages.join(''), 'latin1')
}

/** RFC 5424 §6. The text is the record's line; its instance and number stand in the structured data too. */
export function message(record: ShippedRecord, host: string): string {
  const priority = FACILITY * 8 + SEVERITY[record.severity]
  const data = `[mcp-egress@${ENTERPRISE} instance="${record.instance}" seq="${record.seq}"]`
  return `<${priority}>1 ${record.timestamp} ${host} mcp-egress ${process.pid} ${headerText(record.event, 32)} ${data} ${record.text}`
}

/** A header field: printable, no spaces, not longer; `-` for nothing. */
function headerText(text: string, most: number): string {
  const field = text.replaceAll(/[^\x21-\x7e]/g, '').slice(0, most)
  return field === '' ? '-' : field
}
