// http-mitm-proxy as the benchmark measures it: no handlers, upstream connections kept alive, names resolved to loopback.
import { readFileSync } from 'node:fs'
import { Agent } from 'node:https'
import { join } from 'node:path'
import { Proxy } from 'http-mitm-proxy'

const [folder, root] = process.argv.slice(2)
const lookup = (_name, options, done) =>
  options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
// Its logging of every new host is no part of what is measured.
console.debug = () => {}
const proxy = new Proxy()
proxy.onError((_context, error, kind) => process.stderr.write(`http-mitm-proxy: ${kind} ${error}\n`))
const httpsAgent = new Agent({ keepAlive: true, maxSockets: 256, lookup, ca: readFileSync(root) })
proxy.listen({ host: '127.0.0.1', port: 0, keepAlive: true, sslCaDir: folder, httpsAgent }, (error) => {
  if (error) throw error
  process.send({ result: { port: proxy.httpPort, ca: join(folder, 'certs/ca.pem') } })
})
process.on('disconnect', () => process.exit(0))
