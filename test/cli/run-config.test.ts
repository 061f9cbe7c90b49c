// What a configuration means for `run`.

import { describe, expect, it } from 'vitest'
import { runConfig, trailPaths } from '../../src/cli/run-config.ts'
import { type Config, loadConfig } from '../../src/config/load.ts'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { identify } from '../../src/core/identity.ts'

const SOURCES = ['198.18.0.2', '127.0.0.1']

function configOf(yaml: string): Config {
  const folder = mkdtempSync(join(tmpdir(), 'mcp-egress-run-config-'))
  try {
    writeFileSync(join(folder, 'mcp-egress.yaml'), `version: 1\n${yaml}`)
    const loaded = loadConfig(join(folder, 'mcp-egress.yaml'), { TOKEN: 'a-token-of-sixteen-or-more' })
    if (!loaded.ok) throw new Error(JSON.stringify(loaded.problems))
    return loaded.config
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const CLIENTS = `clients:
  - { name: reader, source: [10.0.0.1] }
  - { name: writer, token: "\${TOKEN}" }
`

describe('runConfig', () => {
  it('listens nowhere, so that any number of runs can share a file', () => {
    const { listen } = runConfig(
      configOf('listen: { proxy: 127.0.0.1:3128, admin: 127.0.0.1:9901 }'),
      undefined,
      SOURCES,
    )
    expect(Object.values(listen).flat()).toEqual([])
  })

  it('makes whoever is in the jail the client that was named, and nobody else', () => {
    const { identity } = runConfig(configOf(CLIENTS), 'writer', SOURCES)
    expect(identify(identity, { source: '198.18.0.2', credentials: null })).toMatchObject({ name: 'writer' })
    expect(identify(identity, { source: '10.0.0.1', credentials: null })).toMatchObject({ name: 'anonymous' })
  })

  it('leaves the command anonymous where no client is named', () => {
    const { identity } = runConfig(configOf(CLIENTS), undefined, SOURCES)
    expect(identify(identity, { source: '198.18.0.2', credentials: null })).toMatchObject({ name: 'anonymous' })
  })

  it('refuses a client that is not there, and names those that are', () => {
    expect(() => runConfig(configOf(CLIENTS), 'nobody', SOURCES)).toThrow('there is: reader, writer')
    expect(() => runConfig(configOf(''), 'nobody', SOURCES)).toThrow('there is: none')
  })

  it.each([undefined, 'writer'])('leaves standard output to the command (client: %s)', (client) => {
    const sinks =
      'audit: { sinks: [{ name: out, type: stdout }, { name: otel, type: otlp, url: "http://a.example/" }] }\n'
    const { audit } = runConfig(configOf(`${CLIENTS}${sinks}`), client, SOURCES)
    expect(audit.sinks.map(({ name }) => name)).toEqual(['otel'])
  })

  it('answers names with addresses that only a jail has, whatever the file says of other networks', () => {
    const file = 'listen: { gateway: 0.0.0.0:443, dns: 0.0.0.0:53 }\ndns: { addresses: [10.9.9.9] }\n'
    expect(runConfig(configOf(file), undefined, SOURCES).dns.addresses).toEqual(['198.18.0.1', '2001:2::1'])
  })
})

describe('trailPaths', () => {
  it('offers other names beside the default one, and none beside one that was asked for', () => {
    const paths = trailPaths(configOf(''))
    expect(paths.slice(0, 3).map((path) => path.replace(/.*\/logs\//, ''))).toEqual([
      'audit.jsonl',
      'audit-2.jsonl',
      'audit-3.jsonl',
    ])
    expect(new Set(paths).size).toBe(64)
    expect(trailPaths(configOf('audit: { path: elsewhere/trail.jsonl }'))).toHaveLength(1)
  })
})
