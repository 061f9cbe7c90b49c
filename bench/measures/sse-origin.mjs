// node sse-origin.mjs PORT KEY CERTIFICATE: an origin of event streams that says in each event when it was written.
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'

const EVERY_MS = 10
const [port, key, certificate] = process.argv.slice(2)

const server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (_request, response) => {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  response.flushHeaders()
  const timer = setInterval(() => {
    // What nobody takes would tell of the queue here and not of the proxy.
    if (!response.writableNeedDrain) response.write(`data: ${process.hrtime.bigint()}\n\n`)
  }, EVERY_MS)
  response.once('close', () => clearInterval(timer))
})
server.listen(Number(port), '127.0.0.1')
