// `node --import mcp-egress/register app.js`: the HTTP clients of this process use the proxy of its environment and trust its CA.

import { EnvHttpProxyAgent, setGlobalDispatcher } from 'undici'
import { redirectAgents } from './agents.ts'
import { proxyEnvironment } from './proxy-environment.ts'
import { trustAlso } from './trust.ts'

/** Set once it is done: loading it twice, by two paths or from two copies, must not stack proxies. */
const DONE = Symbol.for('mcp-egress.register')

// stdout belongs to the application: an MCP server speaks its protocol there.
function say(text: string): void {
  process.stderr.write(`mcp-egress/register: ${text}\n`)
}

function register(environment: NodeJS.ProcessEnv): void {
  const ca = environment['MCP_EGRESS_CA'] ?? ''
  // NODE_EXTRA_CA_CERTS needs nothing from here: Node.js has read it at start.
  if (ca !== '') {
    const problem = trustAlso(ca)
    if (problem !== null) say(problem)
  }
  const proxies = proxyEnvironment(environment)
  for (const problem of proxies.problems) say(problem)
  const { http, https, noProxy } = proxies
  if (http === null && https === null) {
    if (ca === '' && proxies.problems.length === 0) say('did nothing: neither HTTPS_PROXY nor MCP_EGRESS_CA is set')
    return
  }
  // An empty string is "no proxy" where a missing one would be read from the environment again.
  setGlobalDispatcher(new EnvHttpProxyAgent({ httpProxy: http ?? '', httpsProxy: https ?? '', noProxy }))
  redirectAgents(proxies, (what) =>
    say(`a request with ${what} is left alone: only its own code can send it to the proxy`),
  )
}

const globals = globalThis as { [DONE]?: true }
if (globals[DONE] === undefined) {
  globals[DONE] = true
  register(process.env)
}
