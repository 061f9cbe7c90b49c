// http-mitm-proxy as the benchmark measures it: a policy by host and path, kept connections to verified origins, one JSON line a request.
import { createWriteStream, readFileSync } from 'node:fs'
import { Agent } from 'node:https'
import { join } from 'node:path'
import { Proxy } from 'http-mitm-proxy'

const [folder, root, port] = process.argv.slice(2)
const PATHS = ['/v1/', '/large', '/upload', '/events']
const log = createWriteStream(join(folder, 'access.jsonl'))

// Its logging of every new host is no part of what is measured.
console.debug = () => {}
const proxy = new Proxy()
proxy.onError((_context, error, kind) => process.stderr.write(`http-mitm-proxy: ${kind} ${error}\n`))
proxy.onRequest((context, next) => {
  const { clientToProxyRequest: request, proxyToClientResponse: response } = context
  const { host = '' } = request.headers
  const allowed = host.split(':')[0].endsWith('.bench.example') && PATHS.some((path) => request.url.startsWith(path))
  const record = { time: new Date().toISOString(), method: request.method, host, path: request.url }
  response.once('finish', () => log.write(`${JSON.stringify({ ...record, allowed, status: response.statusCode })}\n`))
  if (allowed) return next()
  return response.writeHead(403).end()
})
const httpsAgent = new Agent({ keepAlive: true, maxSockets: 1_024, ca: readFileSync(root) })
proxy.listen({ host: '127.0.0.1', port: Number(port), keepAlive: true, sslCaDir: folder, httpsAgent }, (error) => {
  if (error) throw error
})
