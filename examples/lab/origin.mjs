// The lab's own origin: api.lab.test over TLS on 127.0.0.1:9443 and in the clear on 127.0.0.1:9080; needs no network.
// With --hosts (as root) it adds `127.0.0.1 api.lab.test` to /etc/hosts while it runs.
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer as createPlainServer } from 'node:http'
import { createServer as createTlsServer } from 'node:https'

import { FILES, prepareLab } from './prepare.mjs'

const HOSTS_FILE = '/etc/hosts'
const HOSTS_LINE = '127.0.0.1 api.lab.test # mcp-egress lab'

const ANSWERS = new Map([
  ['GET /hello', 'hello from the lab\n'],
  ['GET /repos/acme/app', '{"full_name":"acme/app","private":false}\n'],
  ['GET /user/emails', '[{"email":"somebody@lab.test"}]\n'],
])

function answer(request, response) {
  const path = request.url.split('?', 1)[0]
  const body = ANSWERS.get(`${request.method} ${path}`)
  process.stdout.write(`${request.method} ${request.url} for ${request.headers.host}\n`)
  request.resume()
  response.writeHead(body === undefined ? 404 : 200, {
    'Content-Type': 'text/plain',
    'X-Request-ID': 'from-the-origin',
  })
  response.end(body ?? 'the lab has nothing here\n')
}

/** Adds the line and gives back what takes it out again. */
function nameInHosts() {
  const before = readFileSync(HOSTS_FILE, 'utf8')
  if (before.split('\n').includes(HOSTS_LINE)) return () => {}
  writeFileSync(HOSTS_FILE, `${before.replace(/\n*$/, '\n')}${HOSTS_LINE}\n`)
  return () => {
    const now = readFileSync(HOSTS_FILE, 'utf8')
    writeFileSync(
      HOSTS_FILE,
      now
        .split('\n')
        .filter((line) => line !== HOSTS_LINE)
        .join('\n'),
    )
  }
}

function listen(server, port) {
  return new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve))
}

await prepareLab()
const secure = createTlsServer({ cert: readFileSync(FILES.certificate), key: readFileSync(FILES.key) }, answer)
const plain = createPlainServer(answer)
await listen(secure, 9443)
await listen(plain, 9080)

const removeName = process.argv.includes('--hosts') ? nameInHosts() : () => {}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.once(signal, () => {
    removeName()
    process.exit(0)
  })
}
process.stdout.write('origin: https://127.0.0.1:9443 and http://127.0.0.1:9080, both also as api.lab.test\n')
