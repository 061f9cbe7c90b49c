import { expect, it } from 'vitest'
import { demandText } from '../../src/core/demand-text.ts'
import type { Demand } from '../../src/core/rule.ts'

it.each<[Demand, readonly [string, string]]>([
  [{ path: '$.Bcc', must: 'be-absent' }, ['body', '$.Bcc must be-absent']],
  [{ path: '$.to', must: 'be-in', value: ['a'] }, ['body', '$.to must be-in ["a"]']],
  [{ in: 'form', path: 'to', must: 'match', value: '*@a' }, ['form', 'to must match "*@a"']],
  [{ in: 'mcp', tools: ['list_*'] }, ['mcp', 'tools ["list_*"]']],
  [
    { in: 'mcp', tools: ['a'], rates: [{ method: 'tools/call', rate: { requests: 2, per: 'minute' } }] },
    ['mcp', 'tools ["a"], tools/call 2 a minute'],
  ],
  [
    { in: 'graphql', operations: ['query'], fields: ['viewer'] },
    ['graphql', 'operations ["query"], fields ["viewer"]'],
  ],
  [{ in: 'shape' }, ['shape', 'no member that was not learned']],
])('%j is one line', (demand, text) => {
  expect(demandText(demand)).toEqual(text)
})
