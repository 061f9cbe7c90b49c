// `audit.sinks` as it is written: what it becomes, what is refused with which words, and what never enters the hash.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type Config, type Loaded, loadConfig } from '../../src/config/load.ts'

const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-sinks-config-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const ENV = { TOKEN: 'a-secret-value', URL: 'https://hooks.example/in?key=a-secret-key' }

function load(sinks: string, env: Record<string, string> = ENV): Loaded {
  const file = join(folder, 'mcp-egress.yaml')
  writeFileSync(file, `version: 1\naudit:\n  sinks:\n${sinks}\n`)
  return loadConfig(file, env)
}

function config(sinks: string, env?: Record<string, string>): Config {
  const loaded = load(sinks, env)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
  return loaded.config
}

const problems = (sinks: string): string[] => {
  const loaded = load(sinks)
  return loaded.ok ? [] : loaded.problems.map(({ at, message, fix }) => `${at}: ${message} | ${fix}`)
}

describe('audit.sinks', () => {
  it('become what they say, with paths that count from the file', () => {
    writeFileSync(join(folder, 'token'), 'from a file\n')
    const { sinks } = config(`    - { name: stdout, type: stdout }
    - { name: siem, type: syslog, address: "tls://logs.example:6514", ca: ca.pem, cert: own.pem, key: own.key }
    - { name: six, type: syslog, address: "tcp://[2001:db8::1]:601" }
    - { name: hec, type: http, url: "https://splunk.example/services/collector/event", headers: { Authorization: "Splunk \${TOKEN}" }, format: splunk-hec }
    - { name: plain, type: http, url: "\${URL}", headers: { X-Api-Key: "file:token", X-Scope-OrgID: tenant } }
    - { name: otel, type: otlp, url: "http://collector:4318/v1/logs" }`).audit
    expect(sinks).toEqual([
      { name: 'stdout', type: 'stdout' },
      {
        name: 'siem',
        type: 'syslog',
        address: { transport: 'tls', host: 'logs.example', port: 6514 },
        ca: join(folder, 'ca.pem'),
        cert: join(folder, 'own.pem'),
        key: join(folder, 'own.key'),
      },
      { name: 'six', type: 'syslog', address: { transport: 'tcp', host: '2001:db8::1', port: 601 } },
      {
        name: 'hec',
        type: 'http',
        url: 'https://splunk.example/services/collector/event',
        headers: { Authorization: 'Splunk a-secret-value' },
        format: 'splunk-hec',
      },
      {
        name: 'plain',
        type: 'http',
        url: ENV.URL,
        headers: { 'X-Api-Key': 'from a file', 'X-Scope-OrgID': 'tenant' },
        format: 'jsonl',
      },
      { name: 'otel', type: 'otlp', url: 'http://collector:4318/v1/logs', headers: {} },
    ])
  })

  it('are none unless written', () => {
    expect(loadConfig(null, {})).toMatchObject({ config: { audit: { sinks: [] } } })
  })

  it.each<[string, string, RegExp]>([
    [
      'a literal secret',
      '{ name: a, type: http, url: "https://a.example/", headers: { Authorization: "Splunk abc" } }',
      /headers\.Authorization: a secret stands in the file \| write \$\{NAME\}/,
    ],
    [
      'a secret beside a reference',
      '{ name: a, type: http, url: "https://a.example/", headers: { X-Api-Key: "abc${TOKEN}" } }',
      /headers\.X-Api-Key: a secret stands in the file/,
    ],
    [
      'credentials in the URL',
      '{ name: a, type: otlp, url: "https://u:p@a.example/" }',
      /\.url: credentials stand in the URL \| send them as headers/,
    ],
    [
      'another scheme',
      '{ name: a, type: http, url: "ftp://a.example/" }',
      /\.url: not a URL of http or https \| write for example https:/,
    ],
    [
      'a framing header',
      '{ name: a, type: http, url: "https://a.example/", headers: { Content-Length: "5" } }',
      /\.headers: one of these fields is set by the proxy/,
    ],
    [
      'no header name',
      '{ name: a, type: http, url: "https://a.example/", headers: { "a b": "5" } }',
      /\.headers: one of these is not the name of a header field \| write names such as/,
    ],
    [
      'a header value that is no ASCII',
      '{ name: a, type: http, url: "https://a.example/", headers: { X-A: "\u00e4" } }',
      /headers\.X-A: not a value that a header can have/,
    ],
    [
      'an address without a port',
      '{ name: a, type: syslog, address: "tcp://a.example" }',
      /\.address: "tcp:\/\/a\.example" is not the address of a syslog server \| write for example tls:/,
    ],
    ['a port too high', '{ name: a, type: syslog, address: "tcp://a.example:70000" }', /is not the address/],
    ['UDP', '{ name: a, type: syslog, address: "udp://a.example:514" }', /is not the address/],
    [
      'a certificate without its key',
      '{ name: a, type: otlp, url: "https://a.example/", cert: c.pem }',
      /a certificate and its key go together \| name both/,
    ],
    [
      'a name that would be a path',
      '{ name: ../a, type: stdout }',
      /\.name: "\.\.\/a" is not a name of a sink \| use 1 to 64/,
    ],
    ['a name with a dot', '{ name: a.tmp, type: stdout }', /is not a name of a sink/],
    [
      'an unknown type',
      '{ name: a, type: kafka }',
      /\.type: "kafka" is not one of the values known here \| write stdout or syslog or http or otlp/,
    ],
    [
      'an unknown format',
      '{ name: a, type: http, url: "https://a.example/", format: xml }',
      /\.format: "xml" is not one of the values/,
    ],
    ['an unknown member', '{ name: a, type: stdout, adress: x }', /adress: unknown key/],
  ])('refuse %s', (_name, sink, words) => {
    expect(problems(`    - ${sink}`).join('\n')).toMatch(words)
  })

  it('refuse two of one name, two of standard output, and too many', () => {
    const stdout = (name: string): string => `    - { name: ${name}, type: stdout }`
    const otlp = (name: string): string => `    - { name: ${name}, type: otlp, url: "http://a/" }`
    expect(problems([stdout('a'), otlp('a')].join('\n'))).toEqual([
      'audit.sinks: two sinks have one name | give each its own',
    ])
    expect(problems([stdout('a'), stdout('b')].join('\n'))).toEqual([
      'audit.sinks: there is one standard output | keep one sink of type stdout',
    ])
    expect(problems(Array.from({ length: 9 }, (_, at) => otlp(`a${at}`)).join('\n'))).toEqual([
      'audit.sinks: more sinks than there may be | name at most 8',
    ])
  })

  it('change the hash, and their secrets do not', () => {
    const sink = (token: string, path = 'in'): string =>
      config(
        `    - { name: a, type: http, url: "https://a.example/${path}?key=\${KEY}", headers: { Authorization: "\${TOKEN}" } }`,
        {
          TOKEN: token,
          KEY: token,
        },
      ).hash
    expect(sink('one-secret')).toBe(sink('another-secret'))
    expect(sink('one-secret')).not.toBe(sink('one-secret', 'out'))
  })
})
