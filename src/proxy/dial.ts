// Opens one verified connection to a permitted destination, at addresses that were checked before the first packet.

import { type LookupFunction, connect as connectTcp, isIP, type Socket, type TcpNetConnectOpts } from 'node:net'
import { connect as connectTls, type SecureContext, type TLSSocket } from 'node:tls'
import { type AddressPolicy, judgeAddress } from '../core/address-class.ts'
import type { Reason } from '../core/refusal.ts'
import type { Permit } from '../core/rule.ts'
import { watchForCutOff } from './close-notify.ts'
import type { Resolver } from './resolver.ts'
import { checkIdentity, noDetails } from './server-identity.ts'

const CONNECT_TIMEOUT_MS = 10_000
const TLS_TIMEOUT_MS = 10_000
/** How many addresses of one answer are tried. */
const MAX_TRIED_ADDRESSES = 8
const MAX_CACHED_SESSIONS = 1_024
const KEEPALIVE_PROBE_MS = 30_000
const MAX_TLS_DETAIL = 512
/** Of a chain that ends at nobody who is trusted. */
const UNTRUSTED = /^(?:UNABLE_TO_(?:GET_ISSUER|VERIFY)|SELF_SIGNED_|DEPTH_ZERO_SELF_SIGNED_)/

/** What a new connection cost, in ms; null where the step did not happen. */
export interface DialTimings {
  readonly dns: number | null
  readonly connect: number | null
  readonly tls: number | null
}

/** What is spoken on a connection, by its ALPN name (RFC 7301). */
export type HttpProtocol = 'h2' | 'http/1.1'

/** What an origin is offered, its first choice first. An origin that chooses nothing speaks HTTP/1.1. */
export type AlpnOffer = 'http/1.1' | 'h2,http/1.1'

export type Dialled =
  | {
      readonly kind: 'connected'
      readonly socket: Socket
      /** The TCP socket under it; `socket` itself without TLS. */
      readonly raw: Socket
      readonly address: string
      readonly protocol: HttpProtocol
      readonly timings: DialTimings
      /** Whether the connection ended although its peer had not closed it: what it sent may lack its end. */
      readonly cutOff: () => boolean
    }
  | (Failure & { readonly timings: DialTimings })

export interface DialerOptions {
  readonly resolver: Resolver
  readonly addresses: () => AddressPolicy
  /** One of our own listeners: never dialled, whatever a name resolves to. */
  readonly isSelf: (address: string, port: number) => boolean
  readonly secureContext: () => SecureContext
}

type Checked = { readonly kind: 'addresses'; readonly addresses: readonly string[] } | Failure
type Failure = {
  readonly kind: 'failed'
  readonly reason: Reason
  readonly detail: string
  /** The origin speaks nothing of what was offered: its no_application_protocol alert (RFC 7301 §3.2). */
  readonly offerRefused?: boolean
}
type Secured = { readonly kind: 'socket'; readonly socket: TLSSocket; readonly cutOff: () => boolean }

const fail = (reason: Reason, detail: string): Failure => ({ kind: 'failed', reason, detail })

export class Dialer {
  readonly #options: DialerOptions
  readonly #sessions = new Map<string, Buffer>()

  constructor(options: DialerOptions) {
    this.#options = options
  }

  /** Judges a literal address or every answer for a name. SECURITY: one forbidden answer refuses all (DNS rebinding). */
  async check(permit: Permit): Promise<Checked> {
    const { host, port } = permit
    const resolution =
      host.kind === 'name'
        ? await this.#options.resolver.resolve(host.text)
        : { kind: 'addresses' as const, addresses: [host.text] }
    if (resolution.kind === 'failed') return fail('dns_failed', resolution.detail)
    for (const address of resolution.addresses) {
      if (this.#options.isSelf(address, port)) return fail('self', `${address} port ${port} is this proxy`)
      const judged = judgeAddress(this.#options.addresses(), address)
      if (!judged.allowed) return fail('address_denied', `${address} is a ${judged.cls} address`)
    }
    return resolution
  }

  async dial(permit: Permit, offer: AlpnOffer = 'http/1.1'): Promise<Dialled> {
    const started = performance.now()
    const checked = await this.check(permit)
    const checkedBy = this.#options.addresses()
    const resolved = performance.now()
    const dnsMs = permit.host.kind === 'name' ? resolved - started : null
    if (checked.kind === 'failed') return { ...checked, timings: { dns: dnsMs, connect: null, tls: null } }
    const tcp = await connectPinned(checked.addresses.slice(0, MAX_TRIED_ADDRESSES), permit.port)
    const connected = performance.now()
    const timings = { dns: dnsMs, connect: connected - resolved, tls: null }
    if (tcp.kind === 'failed') return { ...tcp, timings }
    const address = formatPeer(tcp.socket)
    const recheck = (): Failure | null => this.#recheck(tcp.socket, checkedBy)
    const forbidden = recheck()
    if (forbidden !== null) return { ...forbidden, timings }
    // Plain TCP has no close of its own: its FIN is all there is. A permit for CONNECT is for bytes whose TLS is not ours.
    if (permit.scheme === 'http' || permit.method === 'CONNECT')
      return {
        kind: 'connected',
        socket: tcp.socket,
        raw: tcp.socket,
        address,
        protocol: 'http/1.1',
        timings,
        cutOff: () => false,
      }
    const tls = await this.#secure(tcp.socket, permit, offer)
    const done = { ...timings, tls: performance.now() - connected }
    if (tls.kind === 'failed') return { ...tls, timings: done }
    const forbiddenSince = recheck()
    if (forbiddenSince !== null) return { ...forbiddenSince, timings: done }
    const protocol = tls.socket.alpnProtocol === 'h2' ? 'h2' : 'http/1.1'
    const { socket, cutOff } = tls
    return { kind: 'connected', socket, raw: tcp.socket, address, protocol, timings: done, cutOff }
  }

  /** SECURITY: a reload may have forbidden the address while it was dialled; what was connected by then is not used. */
  #recheck(socket: Socket, checkedBy: AddressPolicy): Failure | null {
    const { remoteAddress } = socket
    // One that has closed already can carry nothing anyway.
    if (this.#options.addresses() === checkedBy || remoteAddress === undefined) return null
    const judged = judgeAddress(this.#options.addresses(), remoteAddress)
    if (judged.allowed) return null
    socket.destroy()
    return fail('address_denied', `${remoteAddress} is a ${judged.cls} address`)
  }

  #secure(socket: Socket, permit: Permit, offer: AlpnOffer): Promise<Secured | Failure> {
    // Of any offer: what is spoken is chosen anew when a session is resumed (RFC 7301 §3.1).
    const key = `${permit.host.text}:${permit.port}`
    const session = this.#sessions.get(key)
    return new Promise((resolve) => {
      const tls: TLSSocket = connectTls({
        socket,
        // Certificate check and SNI use the name that was judged; an address is checked against iPAddress and sends no SNI.
        host: permit.host.text,
        servername: permit.host.kind === 'name' ? permit.host.text : '',
        secureContext: this.#options.secureContext(),
        // SECURITY: an origin whose certificate is not verified never sees a byte of the request.
        rejectUnauthorized: true,
        checkServerIdentity: (host) => checkIdentity(host, leaf(false).subjectaltname),
        ALPNProtocols: offer.split(','),
        ...(session === undefined ? {} : { session }),
      })
      const leaf = tls.getPeerCertificate.bind(tls)
      tls.getPeerCertificate = noDetails
      const cutOff = watchForCutOff(tls, socket)
      const timer = setTimeout(() => settle(fail('upstream_timeout', 'TLS handshake timed out')), TLS_TIMEOUT_MS)
      const settle = (result: Secured | Failure): void => {
        clearTimeout(timer)
        tls.removeListener('close', onClose)
        if (result.kind === 'failed') {
          tls.destroy()
          this.#sessions.delete(key)
        }
        resolve(result)
      }
      const onClose = (): void => settle(fail('upstream_tls', 'closed during the handshake'))
      tls.once('secureConnect', () => settle({ kind: 'socket', socket: tls, cutOff }))
      // Stays for the life of the socket: an error without a listener would end the process.
      tls.on('error', (error: NodeJS.ErrnoException) => settle(tlsFailure(error)))
      tls.once('close', onClose)
      tls.on('session', (ticket: Buffer) => this.#rememberSession(key, ticket))
    })
  }

  #rememberSession(key: string, session: Buffer): void {
    this.#sessions.delete(key)
    if (this.#sessions.size >= MAX_CACHED_SESSIONS) {
      const oldest = this.#sessions.keys().next().value
      if (oldest !== undefined) this.#sessions.delete(oldest)
    }
    this.#sessions.set(key, session)
  }
}

/** The lookup answers from the checked list, so nothing is resolved a second time. */
function anyOf(addresses: readonly string[]): Partial<TcpNetConnectOpts> {
  const answers = addresses.map((address) => ({ address, family: isIP(address) }))
  const lookup: LookupFunction = (_name, options, callback) => {
    const first = answers[0]
    if (options.all === true || first === undefined) callback(null, answers)
    else callback(null, first.address, first.family)
  }
  return { host: 'pinned.invalid', lookup, autoSelectFamily: true }
}

/** Connects to one of exactly these addresses. */
function connectPinned(
  addresses: readonly string[],
  port: number,
): Promise<{ kind: 'socket'; socket: Socket } | Failure> {
  const pinned = addresses.length === 1 ? { host: addresses[0] } : anyOf(addresses)
  return new Promise((resolve) => {
    const socket = connectTcp({ ...pinned, port, noDelay: true })
    const timer = setTimeout(() => settle(fail('upstream_timeout', 'connect timed out')), CONNECT_TIMEOUT_MS)
    const settle = (result: { kind: 'socket'; socket: Socket } | Failure): void => {
      clearTimeout(timer)
      socket.removeAllListeners()
      if (result.kind === 'failed') {
        socket.on('error', () => undefined)
        socket.destroy()
      } else {
        socket.setKeepAlive(true, KEEPALIVE_PROBE_MS)
      }
      resolve(result)
    }
    socket.once('connect', () => settle({ kind: 'socket', socket }))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(fail('upstream_unreachable', error.code ?? 'error')))
  })
}

function formatPeer(socket: Socket): string {
  const address = socket.remoteAddress ?? ''
  return address.includes(':') ? `[${address}]:${socket.remotePort}` : `${address}:${socket.remotePort}`
}

function tlsFailure(error: NodeJS.ErrnoException): Failure {
  const failure = fail('upstream_tls', tlsDetail(error))
  return error.code?.endsWith('_ALERT_NO_APPLICATION_PROTOCOL') === true ? { ...failure, offerRefused: true } : failure
}

/** `reason` repeats what the origin's certificate says, which may be anything. */
function tlsDetail(error: NodeJS.ErrnoException & { reason?: string }): string {
  // Most of what OpenSSL can find in a chain has no code in Node.js: the message is all that says why.
  const code = error.code === 'UNSPECIFIED' ? error.message : error.code
  const untrusted = UNTRUSTED.test(error.code ?? '') ? 'no root of upstream.trust has signed it' : undefined
  return [code, untrusted, error.reason]
    .filter((part) => part !== undefined)
    .join(': ')
    .slice(0, MAX_TLS_DETAIL)
}
