// Which proxy the environment names for which URL.

/** `proxy`: an http(s) URL, credentials included. */
export interface ProxyEnvironment {
  readonly http: string | null
  readonly https: string | null
  /** `NO_PROXY`, its IPv6 literals in brackets, for whoever reads it as undici does. */
  readonly noProxy: string
  /** One sentence each, without the value: it may hold credentials. */
  readonly problems: readonly string[]
}

interface Bypass {
  readonly host: string
  /** Null: every port. */
  readonly port: number | null
}

/** Both spellings, the lower case one first, as curl does; https falls back to the proxy of http, as in undici. */
export function proxyEnvironment(environment: NodeJS.ProcessEnv): ProxyEnvironment {
  const problems: string[] = []
  const read = (names: readonly string[]): string | null => {
    const name = names.find((candidate) => (environment[candidate] ?? '') !== '')
    if (name === undefined) return null
    const url = proxyUrl(environment[name] ?? '')
    if (url === null) problems.push(`${name} is no http:// or https:// URL: nothing is sent to it`)
    return url
  }
  // SECURITY: in a CGI program HTTP_PROXY is the request's Proxy header (httpoxy, CVE-2016-5385).
  const http = read(environment['REQUEST_METHOD'] === undefined ? ['http_proxy', 'HTTP_PROXY'] : ['http_proxy'])
  const https = read(['https_proxy', 'HTTPS_PROXY']) ?? http
  const noProxy = environment['no_proxy'] ?? environment['NO_PROXY'] ?? ''
  return { http, https, noProxy: bracketed(noProxy), problems }
}

/** The proxy for a destination, or null: asked directly. */
export function proxyFor(
  environment: ProxyEnvironment,
  destination: { readonly secure: boolean; readonly host: string; readonly port: number },
): string | null {
  const proxy = destination.secure ? environment.https : environment.http
  if (proxy === null) return null
  const host = literal(destination.host).toLowerCase()
  if (environment.noProxy.trim() === '*') return null
  const bypassed = bypasses(environment.noProxy).some(
    (bypass) =>
      (bypass.port === null || bypass.port === destination.port) &&
      (host === bypass.host || host.endsWith(`.${bypass.host}`)),
  )
  if (bypassed) return null
  // A client that knows the proxy itself, as axios does, asks for it by name: not to be tunnelled through itself.
  const url = new URL(proxy)
  const port = url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port)
  return host === url.hostname && destination.port === port ? null : proxy
}

/** A bare `host:port` is taken for http, as by curl. */
function proxyUrl(text: string): string | null {
  const written = text.includes('://') ? text : `http://${text}`
  if (!URL.canParse(written)) return null
  const url = new URL(written)
  return (url.protocol === 'http:' || url.protocol === 'https:') && url.hostname !== '' ? url.href : null
}

function bracketed(noProxy: string): string {
  return noProxy
    .split(/[,\s]+/)
    .filter((entry) => entry !== '')
    .map((entry) => literal(entry))
    .join(',')
}

function literal(host: string): string {
  return (host.match(/:/g) ?? []).length > 1 && !host.startsWith('[') ? `[${host}]` : host
}

function bypasses(noProxy: string): Bypass[] {
  return noProxy
    .split(',')
    .filter((entry) => entry !== '')
    .map((entry) => {
      const [, name = entry, port] = /^(.+?)(?::(\d+))?$/.exec(entry) ?? []
      return { host: name.replace(/^\*?\./, '').toLowerCase(), port: port === undefined ? null : Number(port) }
    })
}
