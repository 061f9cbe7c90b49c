// What a rule demands of a body, in words: for `explain` and for whoever reads a rule's conditions.

import type { Demand, McpSpec } from './rule.ts'

/** A label, and one line: `['body', '$.Bcc must be-absent']`. */
export function demandText(demand: Demand): readonly [string, string] {
  if (demand.in === 'shape') return ['shape', 'no member that was not learned']
  if (demand.in === 'mcp') return ['mcp', [membersOf(demand), ...ratesOf(demand)].join(', ')]
  if (demand.in === 'graphql') return ['graphql', membersOf(demand)]
  const value = demand.value === undefined ? '' : ` ${JSON.stringify(demand.value)}`
  return [demand.in === undefined ? 'body' : 'form', `${demand.path} must ${demand.must}${value}`]
}

function membersOf(demand: Demand): string {
  return Object.entries(demand)
    .filter(([name]) => name !== 'in' && name !== 'rates')
    .map(([name, value]) => `${name} ${JSON.stringify(value)}`)
    .join(', ')
}

function ratesOf({ rates = [] }: McpSpec): string[] {
  return rates.map(({ method, rate }) => `${method} ${rate.requests} a ${rate.per}`)
}
