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
    await drained(response)
    clearTimeout(stalled)
  }
  response.end()
  say('stream-end', { bytes: written })
}

function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off('drain', done).off('close', done)
      resolve()
    }
    response.on('drain', done).on('close', done)
  })
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
  const { method, url, rawHeaders: headers } = request
  say('request', { name, method, url, headers, trailBytes: trailBytes() })
  const path = url.split('?', 1)[0]
  const streamed = /^\/stream\/(\d+)$/.exec(path)
  if (streamed !== null) void stream(response, Number(streamed[1]))
  else {
    receive(request, (body) => {
      say('received', { method, url, ...body })
      answer(response, path === '/sink' ? JSON.stringify(body) : config.answers[`${name} ${path}`])
    })
  }
}

/** A canned answer, the text of one, or nothing: 404. */
function answer(response, canned) {
  if (canned === undefined) response.writeHead(404).end('the origin has nothing here\n')
  else if (typeof canned === 'string') response.end(canned)
  else response.writeHead(canned.status, canned.headers).end(canned.body)
}

const ports = []
for (const { host, port } of config.listen) {
  const server = createServer(
    { ...fallback, SNICallback: (name, done) => done(null, contexts.get(name) ?? null) },
    serve,
  )
  server.on('connection', ({ remoteAddress: peer }) => say('connection', { peer, trailBytes: trailBytes() }))
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, host, resolve))
  ports.push(server.address().port)
}
say('listening', { ports })
