// Asks for one URL as often as told with fetch; prints one JSON a line. Trust and proxy come from the environment.
// Without a proxy it is Node's own fetch; with one it is undici's with its EnvHttpProxyAgent, which reads HTTPS_PROXY.
import { EnvHttpProxyAgent, fetch as undiciFetch } from 'undici'

const [method, url, size, count] = process.argv.slice(2)
const body = Number(size) > 0 ? Buffer.alloc(Number(size), 'u') : undefined
const proxied = (process.env.HTTPS_PROXY ?? '') !== ''
const dispatcher = proxied ? new EnvHttpProxyAgent() : undefined

async function ask() {
  const init = { method, body }
  const answer = await (proxied ? undiciFetch(url, { ...init, dispatcher }) : fetch(url, init))
  const bytes = Buffer.from(await answer.arrayBuffer())
  return { status: answer.status, headers: [...answer.headers], body: bytes.toString('base64') }
}

for (let index = 0; index < Number(count); index++) {
  const facts = await ask().catch((error) => ({ error: `${error} ${error.cause ?? ''}` }))
  process.stdout.write(`${JSON.stringify(facts)}\n`)
}
await dispatcher?.close()
