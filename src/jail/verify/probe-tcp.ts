// Probes over TCP: who accepts the connection, and whether it can prove to be our proxy.

import { Buffer } from 'node:buffer'
import { connect, type Socket } from 'node:net'
import { connect as connectTls, type PeerCertificate } from 'node:tls'
import { ATTEMPT_TIMEOUT_MS, type Job, type Landing, type NetworkProbe, type Observation } from './probe.ts'
import { describeAnswer, question, readAnswer } from './probe-dns.ts'
import { hasRoute } from './probe-udp.ts'
import { landingOf, socketName } from './probe-kernel.ts'
import { refusedNearby } from './probe-libc.ts'

const MAX_ANSWER_BYTES = 16 * 1_024
/** What the kernel of this machine says when there is nowhere to send to; some of them also after an ICMP message. */
const NO_ROUTE = new Set(['ENETUNREACH', 'EHOSTUNREACH', 'EADDRNOTAVAIL', 'EACCES', 'EINVAL'])

/** A TLS handshake and one request in it; on port 53 a DNS question as well, when nobody answers the handshake. */
export async function probeTcp(probe: NetworkProbe, job: Job): Promise<Observation> {
  const seen = probe.method === 'dns' ? await askTcp(probe, job) : await landed(probe, job)
  if (seen.kind !== 'refused') return seen
  // SECURITY: a router far away says "no route" too, and then the packet has left. Only the kernel's own table counts.
  if (NO_ROUTE.has(seen.code) && !(await hasRoute(probe.address))) return { kind: 'no-route', code: seen.code }
  if (job.nearHops === null || seen.near !== null) return seen
  return { ...seen, near: await refusedNearby(probe.address, probe.port ?? 0, job.nearHops) }
}

/** Once more where an alert came from nobody knows where: its port was shared, and the next connection has another one. */
async function landed(probe: NetworkProbe, job: Job): Promise<Observation> {
  const seen = await attemptTls(probe, job)
  const lost = seen.kind === 'accepted' && seen.landing === null && seen.said.startsWith('TLS alert')
  return lost ? attemptTls(probe, job) : seen
}

async function askTcp(probe: NetworkProbe, job: Job): Promise<Observation> {
  const secured = await attemptTls(probe, job)
  if (secured.kind !== 'accepted') return secured
  const message = question(job.question)
  const asked = Buffer.concat([Buffer.of(message.length >> 8, message.length & 0xff), message])
  const answer = await exchange(probe, asked, ATTEMPT_TIMEOUT_MS)
  if (answer === null) return secured
  const dns = readAnswer(answer.subarray(2))
  return dns === null ? secured : { kind: 'answered', what: describeAnswer(dns), dns: dns.toString('base64') }
}

/** Sends bytes on a connection of its own; gives what came back until the deadline, null for nothing. */
function exchange(probe: NetworkProbe, bytes: Buffer, timeoutMs: number): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const parts: Buffer[] = []
    const socket = connect({ host: probe.address, port: probe.port ?? 0 }, () => socket.write(bytes))
    const finish = (): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(parts.length === 0 ? null : Buffer.concat(parts))
    }
    const timer = setTimeout(finish, timeoutMs)
    socket.on('data', (part) => {
      parts.push(part)
      const whole = Buffer.concat(parts)
      if (whole.length >= 2 && whole.length >= 2 + whole.readUInt16BE(0)) finish()
    })
    socket.on('error', finish)
    socket.on('close', finish)
  })
}

/** `socket`: connecting, or connected. */
export function attemptTls(
  probe: NetworkProbe,
  job: Job,
  socket: Socket = connect({ host: probe.address, port: probe.port ?? 0 }),
): Promise<Observation> {
  return new Promise((resolve) => {
    let landing: Landing = null
    let connected = false
    let settled = false
    const settle = (seen: Observation): void => {
      if (settled) return
      settled = true
      clearTimeout(timer)
      socket.destroy()
      resolve(seen)
    }
    const late = (): void => settle(connected ? { kind: 'accepted', said: '', landing } : { kind: 'silent' })
    const timer = setTimeout(late, ATTEMPT_TIMEOUT_MS)
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code ?? error.message
      if (connected) settle({ kind: 'accepted', said: '', landing })
      // Only the firewall of this very machine makes it fail with EPERM; no ICMP message does.
      else settle({ kind: 'refused', code, near: code === 'EPERM' ? true : null })
    })
    socket.on('close', late)
    const onConnect = (): void => {
      connected = true
      // At once: a socket that its owner has closed is soon not listed any more.
      landing = landingOf(socketName(socket.localAddress ?? '', socket.localPort ?? 0))
      handshake(socket, probe, job, {
        proven: (status, reason) => settle({ kind: 'proven', status, reason, landing }),
        foreign: (what) => settle({ kind: 'accepted', said: what, landing }),
      })
    }
    if (socket.connecting) socket.once('connect', onConnect)
    else onConnect()
  })
}

interface Told {
  proven(status: number | null, reason: string | null): void
  foreign(said: string): void
}

function handshake(socket: Socket, probe: NetworkProbe, job: Job, told: Told): void {
  const secure = connectTls({
    socket,
    servername: probe.serverName,
    // SECURITY: our CA alone, and the name: anybody can show a certificate, and with the system's roots anybody has one.
    ca: job.ca ?? [],
    allowPartialTrustChain: true,
    rejectUnauthorized: true,
    ALPNProtocols: ['http/1.1'],
  })
  let answer = ''
  const finish = (): void => {
    if (!secure.authorized) return
    const status = /^HTTP\/1\.[01] (\d{3}) /.exec(answer)?.[1]
    told.proven(status === undefined ? null : Number(status), /"reason":"([a-z_]+)"/.exec(answer)?.[1] ?? null)
  }
  secure.once('secureConnect', () => {
    const path = probe.topic === 'doh' ? `/dns-query?dns=${question(job.question).toString('base64url')}` : '/'
    secure.write(`GET ${path} HTTP/1.1\r\nHost: ${authority(probe)}\r\nConnection: close\r\n\r\n`)
  })
  secure.setEncoding('latin1')
  secure.on('data', (text: string) => {
    answer += text
    if (answer.length > MAX_ANSWER_BYTES || answer.includes('"message":"mcp-egress')) finish()
  })
  secure.once('end', finish)
  secure.on('error', (error: NodeJS.ErrnoException) => {
    if (secure.authorized) finish()
    else {
      // Null once the handshake has come to nothing, whatever its type says.
      const certificate = secure.getPeerCertificate() as PeerCertificate | null
      told.foreign(explain(error, certificate?.subject?.CN))
    }
  })
  setTimeout(() => secure.authorized && finish(), ATTEMPT_TIMEOUT_MS - 300).unref()
}

/** `:443` is the default of https and is left out, as clients do. */
function authority(probe: NetworkProbe): string {
  return probe.port === 443 ? probe.serverName : `${probe.serverName}:${probe.port}`
}

function explain(error: NodeJS.ErrnoException, name: string | string[] | undefined): string {
  const code = error.code ?? error.message
  const alert = /ALERT_([A-Z_]+)$/.exec(code)?.[1]
  if (alert !== undefined) return `TLS alert ${alert.toLowerCase()}`
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || code === 'ERR_SSL_PACKET_LENGTH_TOO_LONG')
    return 'bytes that are no TLS'
  if (name !== undefined) return `a certificate of "${String(name)}" that our CA did not issue (${code})`
  return code === 'ECONNRESET' ? '' : code
}
