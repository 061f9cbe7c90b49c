// The environment variables that make each language runtime trust our CA, and use the proxy where nothing redirects it.

import type { AuthorityPaths } from './authority-files.ts'
import { TRUSTSTORE_PASSWORD } from './pkcs12.ts'

/** Paths as the workload sees them, absolute; `proxyUrl` only where it has to ask for the proxy itself. */
export interface RuntimeEnvironmentOptions extends Pick<AuthorityPaths, 'directory' | 'ca' | 'bundle' | 'truststore'> {
  readonly proxyUrl?: string
}

/** Destinations inside the workload: sent to the proxy they would mean the proxy's own loopback. */
const NO_PROXY = ['localhost', '127.0.0.1', '::1']

/**
 * Variable names and values for a workload. Most of these variables replace a trust store and so take the bundle; those that add
 * to one take the CA alone. `SSL_CERT_DIR` is left as it is: Go and OpenSSL read it beside the file.
 */
export function runtimeEnvironment(options: RuntimeEnvironmentOptions): Record<string, string> {
  const { ca, bundle, proxyUrl } = options
  return {
    // Node.js and Bun read it once, at start; it adds.
    NODE_EXTRA_CA_CERTS: ca,
    NODE_USE_SYSTEM_CA: '1',
    DENO_CERT: ca,
    // OpenSSL and what follows it: Python ssl and httpx, Ruby, PHP streams, Go, .NET, rustls-native-certs, uv, curl.
    SSL_CERT_FILE: bundle,
    CURL_CA_BUNDLE: bundle,
    REQUESTS_CA_BUNDLE: bundle,
    PIP_CERT: bundle,
    UV_NATIVE_TLS: 'true',
    UV_SYSTEM_CERTS: 'true',
    GIT_SSL_CAINFO: bundle,
    CARGO_HTTP_CAINFO: bundle,
    npm_config_cafile: bundle,
    AWS_CA_BUNDLE: bundle,
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: bundle,
    PERL_LWP_SSL_CA_FILE: bundle,
    JAVA_TOOL_OPTIONS: javaOptions(options),
    ...(proxyUrl === undefined ? {} : proxyVariables(proxyUrl)),
  }
}

function proxyVariables(proxyUrl: string): Record<string, string> {
  const bypass = NO_PROXY.join(',')
  return {
    // curl and others read http_proxy in lower case only: in CGI, HTTP_PROXY is the request's Proxy header.
    HTTP_PROXY: proxyUrl,
    http_proxy: proxyUrl,
    HTTPS_PROXY: proxyUrl,
    https_proxy: proxyUrl,
    NO_PROXY: bypass,
    no_proxy: bypass,
    // Node.js before 22.21 does not know it and needs the redirection.
    NODE_USE_ENV_PROXY: '1',
  }
}

/** Java knows none of the variables above. The store's password stands in the clear everywhere Java is used; it guards nothing. */
function javaOptions(options: RuntimeEnvironmentOptions): string {
  const properties = [
    `javax.net.ssl.trustStore=${options.truststore}`,
    'javax.net.ssl.trustStoreType=PKCS12',
    `javax.net.ssl.trustStorePassword=${TRUSTSTORE_PASSWORD}`,
    ...(options.proxyUrl === undefined ? [] : javaProxy(new URL(options.proxyUrl))),
  ]
  return properties.map((property) => javaQuoted(`-D${property}`)).join(' ')
}

/** Credentials in the URL have no property: Java needs an Authenticator in its own code for them. */
function javaProxy(url: URL): string[] {
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname
  const port = url.port === '' ? defaultPort(url) : url.port
  const bypass = 'localhost|127.*|[::1]'
  return [
    ...['http', 'https'].flatMap((scheme) => [`${scheme}.proxyHost=${host}`, `${scheme}.proxyPort=${port}`]),
    // https reads this one too.
    `http.nonProxyHosts=${bypass}`,
  ]
}

function defaultPort(url: URL): string {
  return url.protocol === 'https:' ? '443' : '80'
}

/** The launcher splits JAVA_TOOL_OPTIONS at white space outside of quotes and knows no escapes. */
function javaQuoted(option: string): string {
  if (!/\s|'|"/.test(option)) return option
  return option.includes('"') ? `'${option}'` : `"${option}"`
}
