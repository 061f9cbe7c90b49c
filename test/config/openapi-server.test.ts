import { describe, expect, it } from 'vitest'
import type { Server } from '../../src/config/openapi-description.ts'
import { endpointsOf } from '../../src/config/openapi-server.ts'

type Variables = Record<string, { readonly default?: string; readonly enum?: readonly string[] }>

const server = (url: string, variables: Variables = {}): Server => ({
  url,
  variables: new Map(
    Object.entries(variables).map(([name, { default: byDefault = '', enum: values = null }]) => [
      name,
      { default: byDefault, enum: values },
    ]),
  ),
})

/** `scheme://host,host:port/base`, or what is wrong. */
function read(servers: readonly Server[], hosts: readonly string[] | null = null): readonly string[] | string {
  const found = endpointsOf(servers, hosts)
  if (found.kind === 'bad') return found.why
  return found.endpoints.map(({ scheme, hosts: served, port, base }) => {
    return `${scheme}://${served.join()}${port === null ? '' : `:${port}`}${base}`
  })
}

const REGION = server('https://{region}.api.example.com/{version}', {
  region: { enum: ['eu', 'us'], default: 'eu' },
  version: { default: 'v2' },
})
const TENANT = server('https://{tenant}.example.com/api', { tenant: { default: 'your-domain' } })
const ANY_HOST = server('https://{hostname}:{port}/api/v3', {
  hostname: { default: 'HOSTNAME' },
  port: { default: '8443' },
})
const A = server('https://a.example.com')

describe('servers', () => {
  it.each<[string, readonly Server[], readonly string[] | null, readonly string[]]>([
    ['one', [A], null, ['https://a.example.com']],
    ['with a slash at its end', [server('https://a.example.com/v1/')], null, ['https://a.example.com/v1']],
    ['in other letters', [server('HTTPS://API.Example.COM')], null, ['https://api.example.com']],
    ['at a port', [server('https://a.example.com:8443/v1')], null, ['https://a.example.com:8443/v1']],
    ['at the default port', [server('https://a.example.com:443')], null, ['https://a.example.com']],
    ['of an address', [server('https://[2001:DB8::0:1]:8443')], null, ['https://[2001:db8::1]:8443']],
    ['in the clear alone', [server('http://a.example.com')], null, ['http://a.example.com']],
    ['in the clear too, which is not opened', [server('http://a.example.com'), A], null, ['https://a.example.com']],
    [
      'several of one base path are one',
      [A, server('https://b.example.com/')],
      null,
      ['https://a.example.com,b.example.com'],
    ],
    [
      'several of other base paths are several',
      [A, server('https://b.example.com/v2')],
      null,
      ['https://a.example.com', 'https://b.example.com/v2'],
    ],
    [
      'several at other ports are several',
      [A, server('https://b.example.com:8443'), server('https://c.example.com:8443')],
      null,
      ['https://a.example.com', 'https://b.example.com,c.example.com:8443'],
    ],
    [
      'with variables, by their values or their default',
      [REGION],
      null,
      ['https://eu.api.example.com,us.api.example.com/v2'],
    ],
    ['narrowed by the hosts of the rule', [REGION], ['us.api.example.com'], ['https://us.api.example.com/v2']],
    [
      'narrowed by a pattern, which does not widen',
      [REGION],
      ['**.example.com'],
      ['https://eu.api.example.com,us.api.example.com/v2'],
    ],
    [
      'elsewhere, beside one that is named',
      [A, server('https://evil.example')],
      ['*.example.com'],
      ['https://a.example.com'],
    ],
    ['of any name, which is the default', [TENANT], null, ['https://your-domain.example.com/api']],
    [
      'of any name, which the rule says',
      [TENANT],
      ['acme.example.com', 'evil.example'],
      ['https://acme.example.com/api'],
    ],
    [
      'of any host, which the rule says, at the default port',
      [ANY_HOST],
      ['ghe.acme.example'],
      ['https://ghe.acme.example:8443/api/v3'],
    ],
    [
      'of any beginning of a name, which is in the hosts of the rule',
      [server('https://{x}example.com', { x: { default: 'evil.example/' } })],
      ['*.example.com'],
      ['https://*.example.com'],
    ],
    [
      'relative ones are at the hosts of the rule',
      [server('/api/v3')],
      ['ghe.acme.example', '*.acme.example'],
      ['https://ghe.acme.example,*.acme.example/api/v3'],
    ],
    ['relative to the root', [server('/')], ['a.example.com'], ['https://a.example.com']],
    ['one of which can not be read', [server('nonsense'), A], null, ['https://a.example.com']],
  ])('%s', (_, servers, hosts, expected) => {
    expect(read(servers, hosts)).toEqual(expected)
  })

  it.each<[string, readonly Server[], readonly string[] | null, string]>([
    ['outside of the hosts of the rule', [A], ['b.example.com'], 'a.example.com is not among the hosts'],
    ['outside, whatever the variable', [TENANT], ['evil.example'], '*.example.com is not among the hosts'],
    ['relative without hosts', [server('/v1')], null, 'does not say which host'],
    ['of a wildcard', [server('https://*.example.com')], null, 'authority'],
    [
      'with a star in its path, which would be a wildcard',
      [server('https://a.example.com/**')],
      null,
      'a * in its path',
    ],
    ['relative with a star', [server('/**')], ['a.example.com'], 'a * in its path'],
    ['relative to another host', [server('//evil.example/v1')], ['a.example.com'], 'not an http:// or https:// URL'],
    ['relative to a path', [server('v1')], ['a.example.com'], 'not an http:// or https:// URL'],
    ['relative with dots', [server('/a/../b')], ['a.example.com'], 'dot segment'],
    ['with a query', [server('https://a.example.com/?v=1')], null, 'a query'],
    ['with a fragment', [server('https://a.example.com/#v1')], null, 'fragment'],
    ['with credentials', [server('https://api.example.com@evil.example')], null, 'authority'],
    ['of another scheme', [server('wss://a.example.com')], null, 'not an http:// or https:// URL'],
    ['without a URL', [server('')], null, 'not an http:// or https:// URL'],
    ['with an unknown variable', [server('https://{x}.example.com')], null, 'a variable that is not described'],
    [
      'with a variable in host and path, of which the path is not known',
      [server('https://{t}.example.com/{t}', { t: { default: 'your' } })],
      ['acme.example.com'],
      'your.example.com is not among the hosts',
    ],
    [
      'of too many values',
      [
        server('https://{a}.{b}.example.com', {
          a: { enum: Array.from({ length: 9 }, (__, index) => `a${index}`) },
          b: { enum: Array.from({ length: 9 }, (__, index) => `b${index}`) },
        }),
      ],
      null,
      'more than 64 readings',
    ],
  ])('%s', (_, servers, hosts, expected) => {
    expect(read(servers, hosts)).toContain(expected)
  })
})
