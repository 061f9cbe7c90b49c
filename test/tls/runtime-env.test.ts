import { describe, expect, it } from 'vitest'
import { authorityPaths } from '../../src/tls/authority-files.ts'
import { runtimeEnvironment } from '../../src/tls/runtime-env.ts'

const paths = authorityPaths('/certs')
const plain = runtimeEnvironment(paths)

describe('the environment of a workload', () => {
  it.each([
    ['[T1] Node.js', 'NODE_EXTRA_CA_CERTS', '/certs/ca.pem'],
    ['[T2] Node.js', 'NODE_USE_SYSTEM_CA', '1'],
    ['[T5] Deno', 'DENO_CERT', '/certs/ca.pem'],
    ['[T6] OpenSSL', 'SSL_CERT_FILE', '/certs/bundle.pem'],
    ['[T7] requests', 'REQUESTS_CA_BUNDLE', '/certs/bundle.pem'],
    ['[T8] pip', 'PIP_CERT', '/certs/bundle.pem'],
    ['[T9] uv', 'UV_NATIVE_TLS', 'true'],
    ['[T9] uv', 'UV_SYSTEM_CERTS', 'true'],
    ['[T12] cargo', 'CARGO_HTTP_CAINFO', '/certs/bundle.pem'],
    ['[T14] curl', 'CURL_CA_BUNDLE', '/certs/bundle.pem'],
    ['[T15] git', 'GIT_SSL_CAINFO', '/certs/bundle.pem'],
    ['[T16] npm', 'npm_config_cafile', '/certs/bundle.pem'],
    ['[T17] AWS', 'AWS_CA_BUNDLE', '/certs/bundle.pem'],
    ['[T19] gRPC', 'GRPC_DEFAULT_SSL_ROOTS_FILE_PATH', '/certs/bundle.pem'],
    ['[T25] Perl', 'PERL_LWP_SSL_CA_FILE', '/certs/bundle.pem'],
  ])('%s reads %s', (_, name, value) => {
    expect(plain[name]).toBe(value)
  })

  it('leaves SSL_CERT_DIR alone and names no proxy unasked', () => {
    expect(plain).not.toHaveProperty('SSL_CERT_DIR')
    expect(Object.keys(plain).filter((name) => /proxy/i.test(name))).toEqual([])
    expect(plain['JAVA_TOOL_OPTIONS']).not.toContain('proxy')
  })

  it('[T20] Java takes the trust store, whose setting replaces its roots', () => {
    expect(plain['JAVA_TOOL_OPTIONS']).toBe(
      '-Djavax.net.ssl.trustStore=/certs/truststore.p12 -Djavax.net.ssl.trustStoreType=PKCS12 -Djavax.net.ssl.trustStorePassword=changeit',
    )
  })

  it.each([
    ['/my certs', '"-Djavax.net.ssl.trustStore=/my certs/truststore.p12" '],
    [`/it's`, `"-Djavax.net.ssl.trustStore=/it's/truststore.p12" `],
    ['/a"b c', `'-Djavax.net.ssl.trustStore=/a"b c/truststore.p12' `],
  ])('quotes the folder %s as the Java launcher reads it', (directory, start) => {
    expect(runtimeEnvironment(authorityPaths(directory))['JAVA_TOOL_OPTIONS']?.startsWith(start)).toBe(true)
  })

  it('[T2] names the proxy in both spellings, and to Node.js', () => {
    const proxied = runtimeEnvironment({ ...paths, proxyUrl: 'http://127.0.0.1:3128' })
    expect(proxied).toMatchObject({
      ...Object.fromEntries(
        ['HTTP_PROXY', 'http_proxy', 'HTTPS_PROXY', 'https_proxy'].map((n) => [n, 'http://127.0.0.1:3128']),
      ),
      NO_PROXY: 'localhost,127.0.0.1,::1',
      no_proxy: 'localhost,127.0.0.1,::1',
      NODE_USE_ENV_PROXY: '1',
    })
  })

  it.each([
    ['http://127.0.0.1:3128', 'https.proxyHost=127.0.0.1 -Dhttps.proxyPort=3128'],
    ['http://[::1]:3128', 'https.proxyHost=::1 -Dhttps.proxyPort=3128'],
    ['http://proxy.test', 'https.proxyHost=proxy.test -Dhttps.proxyPort=80'],
    ['https://proxy.test/', 'https.proxyHost=proxy.test -Dhttps.proxyPort=443'],
    ['http://name:token@proxy.test:3128', 'https.proxyHost=proxy.test -Dhttps.proxyPort=3128'],
  ])('[T21] Java is told of %s by properties of its own', (proxyUrl, expected) => {
    const options = runtimeEnvironment({ ...paths, proxyUrl })['JAVA_TOOL_OPTIONS']
    expect(options).toContain(`-D${expected} `)
    expect(options).toContain(`-D${expected.replaceAll('https.', 'http.')} `)
    expect(options?.endsWith(' -Dhttp.nonProxyHosts=localhost|127.*|[::1]')).toBe(true)
    expect(options).not.toContain('token')
  })
})
