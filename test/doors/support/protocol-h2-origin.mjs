// An origin of HTTP/2 alone in a process of its own: echoes what it got and ends with a trailer; tells each request on stdout.
//
// stdin   {"host","port","key","cert"}
// stdout  {"event":"listening"} · {"event":"request","version","method","url","bytes","trailers"}, one JSON a line
import { createSecureServer } from 'node:http2'
import { text } from 'node:stream/consumers'

const { host, port, key, cert } = JSON.parse(await text(process.stdin))
const say = (facts) => process.stdout.write(`${JSON.stringify(facts)}\n`)

async function echo(request, response) {
  const { httpVersion: version, method, url } = request
  const body = await text(request)
  say({ event: 'request', version, method, url, bytes: body.length, trailers: request.trailers })
  response.addTrailers({ 'x-checksum': String(body.length) })
  response.end(`over ${version}: ${body}`)
}

const server = createSecureServer({ key, cert, allowHTTP1: false }, (request, response) => void echo(request, response))
server.listen(port, host, () => say({ event: 'listening' }))
