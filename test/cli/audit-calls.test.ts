// What a request calls, in the verbs that read the trail: messages of MCP, operations of GraphQL.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { audit, Fixture, HOSTILE, UNSAFE } from './audit-fixture.ts'
import { type Ended, run } from './capture.ts'

const fixture = new Fixture()
const ids: string[] = []

beforeAll(async () => {
  await fixture.open()
  const message = (tool: string | null, id = '7') => ({ method: 'tools/call', tool, resource: null, id })
  ids.push(
    await fixture.request({ decided: { mcp: [message('list_issues', '1'), message('get_issue')] } }),
    await fixture.denied({ mcp: [message('execute')] }),
    await fixture.denied({ mcp: [message(HOSTILE)], graphql: [{ operation: 'mutation', name: null }] }),
    await fixture.request({ decided: { mcp: [message(null)], path: '/get_issue' } }),
    await fixture.request({ decided: { path: '/tool/get_issue' } }),
  )
})
afterAll(() => fixture.remove())

const verb = (...args: string[]): Promise<Ended> => run(audit, args)
const found = async (glob: string): Promise<number[]> => {
  const { out } = await verb('query', fixture.path, '--json', '--mcp-tool', glob)
  const rows = out.split('\n').filter((line) => line !== '')
  return rows.map((row) => ids.indexOf((JSON.parse(row) as { decided: { request_id: string } }).decided.request_id))
}

describe('query --mcp-tool', () => {
  it.each([
    ['get_issue', [0]],
    ['*_issue*', [0]],
    ['execute', [1]],
    ['*', [0, 1, 2]],
    ['GET_ISSUE', []],
  ])('%s', async (glob, expected) => {
    expect(await found(glob)).toEqual(expected)
  })
})

describe('show', () => {
  it('has a row for each call', async () => {
    const { out } = await verb('show', ids[0] ?? '', fixture.path)
    expect(out.match(/^ +mcp .*$/gm)?.map((row) => row.trim().replace(/ +/, ' '))).toEqual([
      'mcp {"method":"tools/call","tool":"list_issues","id":"1"}',
      'mcp {"method":"tools/call","tool":"get_issue","id":"7"}',
    ])
  })

  it('lets nothing of it near a terminal as it is', async () => {
    const { out } = await verb('show', ids[2] ?? '', fixture.path)
    expect(out).toMatch(/^ +graphql +\{"operation":"mutation"\}$/m)
    expect(out).toMatch(/^ +mcp +\{"method":"tools\/call","tool":/m)
    expect(out).not.toMatch(UNSAFE)
  })

  it('says nothing of a request that calls nothing', async () => {
    expect((await verb('show', ids[4] ?? '', fixture.path)).out).not.toMatch(/^ +(?:mcp|graphql) /m)
  })
})
