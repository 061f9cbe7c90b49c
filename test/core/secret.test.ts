import { describe, expect, it } from 'vitest'
import type { Host } from '../../src/core/address.ts'
import { compilePolicy, secretDenied } from '../../src/core/policy.ts'
import type { Subject } from '../../src/core/rule.ts'
import { compileSecrets, guardFor, leakOf, type SecretSpec, unreadable } from '../../src/core/secret.ts'
import { FORMAT_NAMES } from '../../src/core/token-formats.ts'

const host = (text: string): Host => ({ kind: 'name', text })
const token = (onlyTo: readonly string[], name = 'github_token'): SecretSpec => ({ name, value: null, onlyTo })
const value = (onlyTo: readonly string[]): SecretSpec => ({ name: 'db', value: 'correct-horse', onlyTo })

/** The names of what a request to the host must not hold. */
function keptFrom(specs: readonly SecretSpec[], name: string): string[] {
  const guard = guardFor(compileSecrets(specs), host(name))
  if (guard === null) return []
  return guard.policy.secrets.flatMap((secret, at) => (guard.kept[at] === 1 ? [secret.name] : []))
}

describe('where a secret may go', () => {
  it.each<[string, readonly string[], string, boolean]>([
    ['to a host that is named', ['api.github.com'], 'api.github.com', true],
    ['to no host beside it', ['api.github.com'], 'github.com', false],
    ['below a subtree, and to its apex', ['**.github.com'], 'github.com', true],
    ['to any depth of a subtree', ['**.github.com'], 'a.b.github.com', true],
    ['to no name that only ends alike', ['**.github.com'], 'evilgithub.com', false],
    ['to one label more', ['*.github.com'], 'api.github.com', true],
    ['not to two', ['*.github.com'], 'a.b.github.com', false],
    ['to one of several', ['a.test', 'b.test'], 'b.test', true],
    ['to nobody', [], 'api.github.com', false],
    ['nowhere by a pattern that is none', ['*', 'https://x.test'], 'x.test', false],
  ])('%s', (_case, onlyTo, name, may) => {
    expect(keptFrom([token(onlyTo)], name)).toEqual(may ? [] : ['github_token'])
  })

  it('to an address that is named', () => {
    const policy = compileSecrets([token(['203.0.113.7', '[2001:db8::1]'])])
    expect(guardFor(policy, { kind: 'ipv4', text: '203.0.113.7' })).toBeNull()
    expect(guardFor(policy, { kind: 'ipv6', text: '2001:db8::1' })).toBeNull()
    expect(guardFor(policy, { kind: 'ipv4', text: '203.0.113.8' })).not.toBeNull()
  })

  it('is asked of nobody where there are none', () => {
    expect(compileSecrets([])).toBeNull()
    expect(guardFor(null, host('a.test'))).toBeNull()
  })

  it('any_token is every format without an entry of its own', () => {
    const specs = [token(['**.github.com']), token([], 'any_token'), value([])]
    const others = FORMAT_NAMES.filter((name) => name !== 'github_token')
    expect(keptFrom(specs, 'api.github.com')).toEqual([...others, 'db'])
    expect(keptFrom(specs, 'a.test')).toEqual(['github_token', ...others, 'db'])
  })
})

describe('what is said of a secret', () => {
  const said = (spec: SecretSpec): unknown => {
    const guard = guardFor(compileSecrets([spec]), host('other.test'))
    return guard === null ? null : leakOf(guard, 0)
  }

  it.each<[string, SecretSpec, string]>([
    ['where it may go', token(['a.test', '**.b.test']), 'github_token may only go to a.test, **.b.test'],
    ['that it may go nowhere', value([]), 'db may go nowhere'],
  ])('%s', (_case, spec, hint) => {
    expect(said(spec)).toEqual({ name: spec.name, hint })
  })

  it('no more hosts than one can read', () => {
    const onlyTo = Array.from({ length: 50 }, (_, at) => `host-${at}.test`)
    expect(JSON.stringify(said(token(onlyTo))).length).toBeLessThan(200)
    expect(said(token(onlyTo))).toMatchObject({ hint: expect.stringMatching(/^github_token may only go to .*…$/) })
  })

  it('why it could be there', () => {
    expect(unreadable('it is packed')).toEqual({
      name: 'unreadable',
      hint: 'it could hold a secret that may not go there: it is packed',
    })
  })
})

describe('what it makes of a request', () => {
  const subject: Subject = {
    client: 'anonymous',
    scheme: 'https',
    method: 'GET',
    host: host('a.test'),
    port: 443,
    path: '/',
    encodedSlash: false,
    target: '/',
    upgrade: null,
    overrideHeaders: [],
  }
  it.each(['enforce', 'observe'] as const)('a denial in mode %s', (mode) => {
    const compiled = compilePolicy({ mode, clients: [], rules: [] })
    if (compiled.kind === 'bad') throw new Error('no policy')
    const denial = secretDenied(compiled.policy, subject, { name: 'db', hint: 'db may go nowhere' })
    expect(denial).toMatchObject({
      kind: 'denial',
      reason: 'denied_by_rule',
      rule: 'secret:db',
      hint: 'db may go nowhere',
      flags: ['secret:db'],
    })
    const observed = { rule: null, host: host('a.test'), target: '/' }
    expect([denial.observed]).toMatchObject([mode === 'enforce' ? null : observed])
  })
})
