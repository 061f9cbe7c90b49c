// Clients that the rules leave nothing to do.

import type { Config } from './load.ts'
import type { Finding } from './problem.ts'

export function lintClients({ clients, policy, listen }: Config): readonly Finding[] {
  const granting = [...policy.rules.values()].filter(({ kind }) => kind !== 'deny')
  return clients.flatMap(({ name, source }, index): Finding[] => {
    if (source === undefined && listen.proxy.length === 0) {
      const message = `nobody can say to be client ${name}: credentials are taken by listen.proxy alone`
      return [
        { place: ['clients', index, 'token'], message, fix: 'add listen.proxy, or know the client by its source' },
      ]
    }
    const isNamed = granting.some((rule) => rule.clients === null || rule.clients.has(name))
    if (isNamed || granting.length === 0) return []
    const message = `no rule allows client ${name} anything`
    return [{ place: ['clients', index, 'name'], message, fix: 'add it to the clients of a rule, or remove it' }]
  })
}
