// Node's own HTTP/2, through CONNECT where HTTPS_PROXY says so: some requests at once on one connection; prints what it got.
//
// node protocol-node-client.mjs URL COUNT; NODE_EXTRA_CA_CERTS is trusted
import { request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect as connectTls } from 'node:tls'
import { once } from 'node:events'

const url = new URL(process.argv[2])
const proxy = process.env.HTTPS_PROXY

async function tunnel() {
  const connecting = request({
    host: new URL(proxy).hostname,
    port: new URL(proxy).port,
    method: 'CONNECT',
    path: url.host,
    // Node would name the proxy.
    headers: { Host: url.host },
  }).end()
  const [, socket] = await once(connecting, 'connect')
  return connectTls({ socket, servername: url.hostname, ALPNProtocols: ['h2'] })
}

async function ask(session, number) {
  const stream = session.request({ ':method': 'POST', ':path': url.pathname })
  const answer = { status: 0, body: '' }
  stream.on('response', (headers) => (answer.status = headers[':status']))
  stream.setEncoding('utf8').on('data', (text) => (answer.body += text))
  stream.end(`request ${number}`)
  await once(stream, 'end')
  return answer
}

const socket = proxy ? await tunnel() : null
const session = connectHttp2(url, socket === null ? {} : { createConnection: () => socket })
const count = Number(process.argv[3])
const answers = await Promise.all(Array.from({ length: count }, (_, number) => ask(session, number)))
process.stdout.write(JSON.stringify({ version: session.alpnProtocol, answers }))
session.close()
