// Client and origin of the guard's proxy: they ask, one request after the other, and say when a phase is over.
import { spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import { EXCHANGES } from './phases.mjs'
import { REQUEST_HEAD, STATUS_HEAD } from './request.mjs'

const HOST = 'api.bench.example'
const HEAD_END = '\r\n\r\n'
const ANSWER = Buffer.concat([STATUS_HEAD, Buffer.alloc(308, 'x')])
/** The answer has the same length whatever way it took: fields are neither added nor removed. */
const ANSWER_BYTES = ANSWER.length
const ANSWER_MS = 20_000

/** Paths of a root and of a wildcard certificate below it, made by openssl. */
function certificates(folder) {
  const path = (name) => join(folder, name)
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const names = 'subjectAltName=DNS:*.bench.example,DNS:*.cold.bench.example'
  const openssl = (...args) => {
    const { status, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' })
    if (status !== 0) throw new Error(`openssl ${args.join(' ')}: ${error?.message ?? stderr}`)
  }
  openssl(
    'req',
    '-x509',
    ...key,
    '-keyout',
    path('root.key'),
    '-out',
    path('root.pem'),
    '-days',
    '2',
    '-subj',
    '/CN=root',
  )
  openssl(
    'req',
    '-new',
    ...key,
    '-keyout',
    path('leaf.key'),
    '-out',
    path('leaf.csr'),
    '-subj',
    '/CN=origin',
    '-addext',
    names,
  )
  const signer = ['-CA', path('root.pem'), '-CAkey', path('root.key'), '-CAcreateserial', '-copy_extensions', 'copy']
  openssl('x509', '-req', '-in', path('leaf.csr'), '-out', path('leaf.pem'), '-days', '2', ...signer)
  return { root: path('root.pem'), key: readFileSync(path('leaf.key')), cert: readFileSync(path('leaf.pem')) }
}

/** Requests have no bodies, and none follows before the answer. */
function answerRequests(socket) {
  let head = ''
  socket.on('error', () => undefined)
  socket.on('data', (chunk) => {
    head += chunk.toString('latin1')
    if (!head.endsWith(HEAD_END)) return
    head = ''
    socket.write(ANSWER)
  })
}

/**
 * An origin on loopback. `close` lets nothing of it stay.
 * @param {string} folder Where its certificates go.
 */
export async function startOrigin(folder) {
  const { root, key, cert } = certificates(folder)
  const sockets = new Set()
  const server = createServer({ key, cert }, answerRequests)
  server.on('connection', (socket) => sockets.add(socket.once('close', () => sockets.delete(socket))))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { root, port: server.address().port, close }
}

/** Rejects when the answer is not the origin's. */
async function ask(socket, request) {
  socket.write(request)
  let text = ''
  while (text.length < ANSWER_BYTES) {
    const [chunk] = await once(socket, 'data', { signal: AbortSignal.timeout(ANSWER_MS) })
    text += chunk.toString('latin1')
  }
  if (text.length !== ANSWER_BYTES || !text.startsWith('HTTP/1.1 200 ')) throw new Error(`answered: ${text}`)
}

/**
 * Drives the proxy through every phase of EXCHANGES; resolves when it was told of the end of the last one.
 * @param {import('node:child_process').ChildProcess} child The subject, which has not spoken yet.
 * @param {number} originPort
 */
export async function drive(child, originPort) {
  const [{ port, ca }] = await once(child, 'message')
  const trusted = readFileSync(ca)
  const requestTo = (host) => REQUEST_HEAD.toString('latin1').replace(`Host: ${HOST}`, `Host: ${host}:${originPort}`)
  const open = async (host) => {
    const socket = connect({ host: '127.0.0.1', port, servername: host, ca: trusted })
    await once(socket, 'secureConnect', { signal: AbortSignal.timeout(ANSWER_MS) })
    return socket
  }
  const close = async (socket) => {
    socket.end()
    if (!socket.closed) await once(socket, 'close', { signal: AbortSignal.timeout(ANSWER_MS) })
  }
  const alone = async (host) => {
    const socket = await open(host)
    await ask(socket, requestTo(host))
    await close(socket)
  }
  const mark = async () => {
    child.send('mark')
    await once(child, 'message')
  }

  await mark()
  const kept = await open(HOST)
  let hosts = 0
  const ONE_OF = {
    'keep-alive request': () => ask(kept, requestTo(HOST)),
    'new connection': () => alone(HOST),
    'new host': () => alone(`h${hosts++}.cold.bench.example`),
  }
  for (const { name, warm, counted } of EXCHANGES) {
    for (let round = 0; round < warm; round++) await ONE_OF[name]()
    await mark()
    for (let round = 0; round < counted; round++) await ONE_OF[name]()
    await mark()
  }
  kept.destroy()
}
