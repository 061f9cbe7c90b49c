// mockttp as the benchmark measures it: a rule by host and path that passes through, nothing kept in memory, one JSON line a request.
import { createWriteStream, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const [packages, folder, root, port] = process.argv.slice(2)
const { generateCACertificate, getLocal } = createRequire(join(packages, 'index.js'))('mockttp')
const PATHS = ['/v1/', '/large', '/upload', '/events']

const https = await generateCACertificate()
writeFileSync(join(folder, 'ca.pem'), https.cert)
const server = getLocal({ https, recordTraffic: false, http2: false })
await server
  .forAnyRequest()
  .matching(({ url }) => {
    const { hostname, pathname } = new URL(url)
    return hostname.endsWith('.bench.example') && PATHS.some((path) => pathname.startsWith(path))
  })
  .thenPassThrough({ additionalTrustedCAs: [{ certPath: root }] })
await server.forUnmatchedRequest().thenReply(403)

const log = createWriteStream(join(folder, 'access.jsonl'))
const asked = new Map()
const end = ({ id, statusCode = null }) => {
  log.write(`${JSON.stringify({ ...asked.get(id), status: statusCode })}\n`)
  asked.delete(id)
}
// The events that carry no bodies: with the others it would gather every body.
await server.on('request-initiated', ({ id, method, url }) => {
  asked.set(id, { time: new Date().toISOString(), method, url })
})
await server.on('response-initiated', end)
await server.on('abort', end)
await server.start(Number(port))
