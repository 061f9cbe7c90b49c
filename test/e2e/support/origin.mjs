// HTTPS origins in a process of their own: told what to answer on stdin, telling on stdout what they saw, one JSON a line.
//
// stdin   {"listen":[{"host","port"}],"names":{NAME:{"key","cert"}},"answers":{"NAME /path":{"status","headers","body"}},"trail":FILE|null}
// stdout  {"event":"listening","ports":[…]} · connection · request · received (its body, whole) · stalled (nobody reads) · stream-end
//
// `trailBytes` is how long the audit trail was when the event happened: what must be written first has to lie within it.
import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import { createServer } from 'node:https'
import { text } from 'node:stream/consumers'
import { createSecureContext } from 'node:tls'

/** A writer that waited this long for its reader is stalled. */
const STALL_MS = 1_000
const BLOCK = Buffer.alloc(64 * 1024, 'mcp-egress streaming block\n')

const config = JSON.parse(await text(process.stdin))
const contexts = new Map(Object.entries(config.names).map(([name, pair]) => [name, createSecureContext(pair)]))
const fallback = Object.values(config.names)[0]

function say(event, facts) {
  process.stdout.write(`${JSON.stringify({ event, ...facts })}\n`)
}

function trailBytes() {
  return config.trail === null ? 0 : (statSync(config.trail, { throwIfNoEntry: false })?.size ?? 0)
}

/** Writes `total` bytes no faster than they are taken. */
async function stream(response, total) {
  response.writeHead(200, { 'Content-Length': total, 'Content-Type': 'application/octet-stream' })
  let written = 0
  while (written < total && !response.destroyed) {
    const part = BLOCK.subarray(0, Math.min(BLOCK.length, total - written))
    written += part.length
    if (response.write(part)) continue
    const stalled = setTimeout(() => say('stalled', { bytes: written }), STALL_MS)
    await new Promise((resolve) => response.once('drain', resolve).once('close', resolve))
    clearTimeout(stalled)
  }
  response.end()
  say('stream-end', { bytes: written })
}

function receive(request, done) {
  const hash = createHash('sha256')
  let bytes = 0
  request.on('data', (part) => {
    bytes += part.length
    hash.update(part)
  })
  request.on('end', () => done({ bytes, sha256: hash.digest('hex') }))
}

function serve(request, response) {
  const name = request.headers.host?.replace(/:\d+$/, '')
  const seen = { name, method: request.method, url: request.url, headers: request.rawHeaders }
  say('request', { ...seen, trailBytes: trailBytes() })
  const path = request.url.split('?', 1)[0]
  const streamed = /^\/stream\/(\d+)$/.exec(path)
  if (streamed !== null) return void stream(response, Number(streamed[1]))
  receive(request, (body) => {
    say('received', { method: request.method, url: request.url, ...body })
    if (path === '/sink') return response.end(JSON.stringify(body))
    const answer = config.answers[`${name} ${path}`]
    if (answer === undefined) return response.writeHead(404).end('the origin has nothing here\n')
    response.writeHead(answer.status, answer.headers).end(answer.body)
  })
}

const ports = []
for (const { host, port } of config.listen) {
  const server = createServer(
    { ...fallback, SNICallback: (name, done) => done(null, contexts.get(name) ?? null) },
    serve,
  )
  server.on('connection', () => say('connection', { trailBytes: trailBytes() }))
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  ports.push(server.address().port)
}
say('listening', { ports })
