// Every member of the file can be set by a variable of its own name, and a variable that sets nothing is an error.

import { describe, expect, it } from 'vitest'
import { overlayEnvironment, settings, variableOf } from '../../src/config/environment.ts'

describe('the variables', () => {
  it('have one meaning each', () => {
    const places = [...settings().values()]
    expect(new Set(places.map(variableOf)).size).toBe(places.length)
    expect(places.length).toBeGreaterThan(40)
  })

  it.each([
    ['MCP_EGRESS_MODE', 'observe', { version: 1, mode: 'observe' }],
    ['MCP_EGRESS_LISTEN_PROXY', '0.0.0.0:3128', { version: 1, mode: 'enforce', listen: { proxy: '0.0.0.0:3128' } }],
    ['MCP_EGRESS_LISTEN_PROXY', '["a", "b"]', { version: 1, mode: 'enforce', listen: { proxy: ['a', 'b'] } }],
    ['MCP_EGRESS_SHUTDOWN', '{ grace: 2s }', { version: 1, mode: 'enforce', shutdown: { grace: '2s' } }],
    [
      'MCP_EGRESS_AUDIT_CHECKPOINTS_SIGN',
      'false',
      { version: 1, mode: 'enforce', audit: { checkpoints: { sign: false } } },
    ],
    ['MCP_EGRESS_RULES', '[]', { version: 1, mode: 'enforce', rules: [] }],
    [
      'MCP_EGRESS_ADMIN_TOKEN',
      '"${NOT} replaced"',
      { version: 1, mode: 'enforce', admin: { token: '${NOT} replaced' } },
    ],
  ])('%s=%s', (name, text, value) => {
    const overlaid = overlayEnvironment({ version: 1, mode: 'enforce' }, { [name]: text })
    expect(overlaid.findings).toEqual([])
    expect(overlaid.value).toEqual(value)
    expect([...overlaid.origins.values()]).toEqual([name])
  })

  it('of a part come over those of the whole, and over the file', () => {
    const file = { audit: { path: 'file', durability: 'os' } }
    const env = { MCP_EGRESS_AUDIT_PATH: 'part', MCP_EGRESS_AUDIT: '{ path: whole, durability: sync }' }
    const { value, origins } = overlayEnvironment(file, env)
    expect(value).toEqual({ audit: { path: 'part', durability: 'sync' } })
    expect(origins).toEqual(
      new Map([
        ['audit', 'MCP_EGRESS_AUDIT'],
        ['audit.path', 'MCP_EGRESS_AUDIT_PATH'],
      ]),
    )
    expect(file).toEqual({ audit: { path: 'file', durability: 'os' } })
  })

  it.each([
    'MCP_EGRESS_LOG_LEVEL',
    'MCP_EGRESS_TEST_LOAD',
    'MCP_EGRESS_SERVICE_HOST',
    'MCP_EGRESS_SERVICE_PORT_ADMIN',
    'MCP_EGRESS_PORT',
    'MCP_EGRESS_PORT_3128_TCP_ADDR',
    'OTHER_MODE',
  ])('%s is none of them', (name) => {
    expect(overlayEnvironment({ version: 1 }, { [name]: 'x' })).toEqual({
      value: { version: 1 },
      findings: [],
      origins: new Map(),
    })
  })

  it.each([
    ['MCP_EGRESS_AUDIT_PTAH', 'x', 'names no setting', 'unset it, or write MCP_EGRESS_AUDIT_PATH'],
    ['MCP_EGRESS_ZZ', 'x', 'names no setting', 'unset it'],
    ['MCP_EGRESS_RULES', '[', 'not valid YAML', 'check the indentation'],
    ['MCP_EGRESS_RULES', '{ a: 1, a: 2 }', 'twice', 'keep one'],
  ])('%s=%s is an error', (name, text, message, fix) => {
    const { value, findings } = overlayEnvironment({ version: 1 }, { [name]: text })
    expect(value).toEqual({ version: 1 })
    expect(findings).toEqual([
      { place: [name], message: expect.stringContaining(message), fix: expect.stringContaining(fix) },
    ])
  })
})
