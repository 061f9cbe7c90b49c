// The origin and the load of the benchmark, in one process: a TLS origin that answers 308 bytes, and clients that ask for them.
// Told what to do by messages from run.mjs; every load is bounded by a duration or by a number of hosts.
import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls, createSecureContext, createServer } from 'node:tls'
import { parseServerName } from '../dist/core/address.js'
import { openAuthority } from '../dist/tls/authority.js'
import { mintLeaf } from '../dist/tls/leaf.js'

const BODY = `${'x'.repeat(307)}\n`
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${BODY.length}\r\nX-Request-ID: origin\r\n\r\n${BODY}`,
)
const HEAD_END = Buffer.from('\r\n\r\n')
const WARM_REQUESTS = 50
const DEADLINE_MS = 30_000

const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const contexts = new Map()
let authority = null
let port = 0
let clients = []

function contextFor(name) {
  const known = contexts.get(name)
  if (known !== undefined) return known
  const context = createSecureContext({
    key,
    cert: mintLeaf(authority, publicKey, parseServerName(name), new Date()).certificatePem,
  })
  contexts.set(name, context)
  return context
}

/** Answers every request head; the requests have no bodies. */
function serveOrigin(socket) {
  let pending = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    for (let end = pending.indexOf(HEAD_END); end >= 0; end = pending.indexOf(HEAD_END)) {
      pending = pending.subarray(end + HEAD_END.length)
      socket.write(ANSWER)
    }
  })
}

async function startOrigin(directory) {
  authority = openAuthority(directory, new Date())
  const server = createServer({ SNICallback: (name, done) => done(null, contextFor(name)) }, serveOrigin)
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  port = server.address().port
  return { port, root: `${directory}/ca.pem` }
}

/** One HTTP connection that asks for the same thing again and again; `next` is called with each whole answer. */
function client(socket, name) {
  const request = `GET /v1/item HTTP/1.1\r\nHost: ${name}:${port}\r\nUser-Agent: bench\r\nAccept: application/json\r\n\r\n`
  let pending = Buffer.alloc(0)
  let settle = null
  socket.on('data', (chunk) => {
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    const length = answerLength(pending)
    if (length === null || pending.length < length) return
    const status = pending.toString('latin1', 9, 12)
    pending = pending.subarray(length)
    const { resolve, reject } = settle
    if (status === '200') resolve()
    else reject(new Error(`answered ${status}`))
  })
  socket.on('error', (error) => settle?.reject(error))
  socket.on('close', () => settle?.reject(new Error('the connection was closed')))
  return {
    socket,
    ask: () =>
      new Promise((resolve, reject) => {
        settle = { resolve, reject }
        socket.write(request)
      }),
  }
}

/** Bytes of the first answer, null while that can not be told. One proxy keeps Content-Length, the other sends chunks. */
function answerLength(bytes) {
  const end = bytes.indexOf(HEAD_END)
  if (end < 0) return null
  const head = bytes.toString('latin1', 0, end).toLowerCase()
  const length = /\r\ncontent-length: (\d+)/.exec(head)
  if (length !== null) return end + HEAD_END.length + Number(length[1])
  const last = bytes.indexOf('\r\n0\r\n\r\n', end)
  return last < 0 ? null : last + 7
}

function opened(socket, event) {
  return new Promise((resolve, reject) => socket.once(event, () => resolve(socket)).once('error', reject))
}

/** It may come in pieces; TLS bytes never follow before ours. */
function readHead(socket) {
  return new Promise((resolve, reject) => {
    let text = ''
    const onData = (chunk) => {
      text += chunk.toString('latin1')
      if (!text.endsWith('\r\n\r\n')) return
      socket.off('data', onData)
      socket.pause()
      resolve(text)
    }
    socket.on('data', onData)
    socket.once('close', () => reject(new Error(`CONNECT was not answered: ${text}`)))
  })
}

/** Through the proxy by CONNECT, or straight to the origin when there is none. */
async function open(name, proxy) {
  const socket = await opened(connectTcp({ host: '127.0.0.1', port: proxy?.port ?? port, noDelay: true }), 'connect')
  if (proxy !== null) {
    socket.write(`CONNECT ${name}:${port} HTTP/1.1\r\nHost: ${name}:${port}\r\n\r\n`)
    const answer = await readHead(socket)
    if (!answer.startsWith('HTTP/1.1 200')) throw new Error(`CONNECT was refused: ${answer}`)
  }
  const ca = proxy === null ? authority.certificatePem : readFileSync(proxy.ca)
  return client(await opened(connectTls({ socket, servername: name, ca }), 'secureConnect'), name)
}

/** Opens the connections and asks a little, so that what follows measures the steady state. */
async function prepare({ connections, name, proxy }) {
  clients = await Promise.all(Array.from({ length: connections }, () => open(name, proxy)))
  await Promise.all(
    clients.map(async ({ ask }) => {
      for (let asked = 0; asked < WARM_REQUESTS; asked++) await ask()
    }),
  )
  return {}
}

async function measure({ ms }) {
  let requests = 0
  const started = performance.now()
  const end = started + ms
  await Promise.all(
    clients.map(async ({ ask }) => {
      while (performance.now() < end) {
        await ask()
        requests++
      }
    }),
  )
  const elapsed = performance.now() - started
  for (const { socket } of clients) socket.destroy()
  clients = []
  return { requests, ms: elapsed }
}

/** Hosts nobody asked for before, one after another: from the TCP connect to the first whole answer, each in ms. */
async function cold({ names, proxy }) {
  for (const name of names) contextFor(name)
  const each = []
  for (const name of names) {
    const started = performance.now()
    const { socket, ask } = await open(name, proxy)
    await ask()
    each.push(performance.now() - started)
    socket.destroy()
  }
  return { each }
}

const TASKS = { origin: ({ directory }) => startOrigin(directory), prepare, measure, cold }

async function perform({ task, ...given }) {
  const deadline = setTimeout(
    () => process.send({ error: `${task} took over ${DEADLINE_MS} ms` }),
    DEADLINE_MS + (given.ms ?? 0),
  )
  try {
    process.send({ result: await TASKS[task](given) })
  } catch (error) {
    process.send({ error: `${task}: ${error.message}` })
  } finally {
    clearTimeout(deadline)
  }
}

process.on('message', (message) => void perform(message))
process.send({ result: 'up' })
