// Loaded into the proxy of the demo before anything else: the part of the internet that it needs, on this machine.
// The policy can so be the one that you would write: the real name, the standard port.
import { promises as dns } from 'node:dns'
import { Socket } from 'node:net'
import { NAME } from './postmark.mjs'

const HTTPS_PORT = 443
const port = Number(process.env.DEMO_POSTMARK_PORT)

dns.Resolver.prototype.resolve4 = async (name) => {
  if (name === NAME || name === `${NAME}.`) return [{ address: '127.0.0.1', ttl: 60 }]
  throw Object.assign(new Error(`the demo has no network: ${name}`), { code: 'ENOTFOUND' })
}
dns.Resolver.prototype.resolve6 = async () => {
  throw Object.assign(new Error('no IPv6 address'), { code: 'ENODATA' })
}

const connect = Socket.prototype.connect
Socket.prototype.connect = function (...given) {
  const [options] = Array.isArray(given[0]) ? given[0] : given
  if (options?.host === '127.0.0.1' && options.port === HTTPS_PORT) options.port = port
  return connect.apply(this, given)
}
