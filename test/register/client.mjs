// An application that knows nothing of any proxy. Each argument is `KIND URL`; one line of JSON for each on stdout, in order.

import { createRequire } from 'node:module'
import http from 'node:http'
import https, { get as importedGet } from 'node:https'
import tls from 'node:tls'
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads'

const require = createRequire(import.meta.url)

/** The whole answer of a request of node:http or node:https. */
function answer(send) {
  return new Promise((resolve, reject) => {
    const request = send((response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode, body }))
    })
    request.on('error', reject)
    request.end()
  })
}

class Subclass extends https.Agent {}
const pooled = new https.Agent({ keepAlive: true })

const KINDS = {
  fetch: async (url) => {
    const response = await fetch(url)
    return { status: response.status, body: await response.text() }
  },
  undici: async (url) => {
    const { statusCode, body } = await require('undici').request(url)
    return { status: statusCode, body: await body.text() }
  },
  'undici.fetch': async (url) => {
    const response = await require('undici').fetch(url)
    return { status: response.status, body: await response.text() }
  },
  http: (url) => answer((done) => http.get(url, done)),
  'http.parts': (url) => {
    const { hostname, port } = new URL(url)
    return answer((done) => http.request({ hostname, port, path: url.slice(url.indexOf('/', 8)) }, done))
  },
  https: (url) => answer((done) => https.request(url, done)),
  // As follow-redirects, and axios through it, call it.
  'https.parts': (url) => {
    const { hostname, port, pathname } = new URL(url)
    return answer((done) => https.request({ protocol: 'https:', hostname, port, path: pathname, method: 'GET' }, done))
  },
  'https.url': (url) => answer((done) => https.request(new URL(url), { headers: { accept: '*/*' } }, done)),
  'https.named': (url) => answer((done) => importedGet(url, done)),
  'https.cjs': (url) => answer((done) => require('node:https').get(url, done)),
  'https.pool': (url) => answer((done) => https.request(url, { agent: pooled }, done)),
  'https.none': (url) => answer((done) => https.request(url, { agent: false }, done)),
  'https.subclass': (url) => answer((done) => https.request(url, { agent: new Subclass() }, done)),
  'https.own': (url) => {
    const { port } = new URL(url)
    const connection = { createConnection: () => tls.connect({ host: '127.0.0.1', port, servername: 'localhost' }) }
    return answer((done) => https.request(url, connection, done))
  },
  'https.upgrade': (url) =>
    answer((done) => {
      const headers = {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      }
      return https.request(url, { headers }, done)
    }),
  post: (url) =>
    answer((done) => {
      const request = (url.startsWith('https:') ? https : http).request(url, { method: 'POST' }, done)
      request.write('first ')
      request.write('second')
      return request
    }),
  websocket: (url) =>
    new Promise((resolve) => {
      const socket = new WebSocket(url.replace('https:', 'wss:'))
      socket.onerror = () => resolve({ status: 0, body: 'error' })
      socket.onopen = () => resolve({ status: 101, body: 'open' })
    }),
  worker: (url) =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: url })
      worker.once('message', resolve)
      worker.once('error', reject)
    }),
}

async function ask(kind, url) {
  try {
    return await KINDS[kind](url)
  } catch (error) {
    return { error: `${error.code ?? error.cause?.code ?? ''} ${error.message}` }
  }
}

if (isMainThread) {
  for (const asked of process.argv.slice(2)) {
    const [kind, url] = asked.split(' ')
    process.stdout.write(`${JSON.stringify(await ask(kind, url))}\n`)
  }
  process.exit(0)
} else {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a worker thread's port has no origin
  parentPort.postMessage({ fetch: await ask('fetch', workerData), https: await ask('https', workerData) })
}
