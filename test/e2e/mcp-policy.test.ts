// The SDK's own client and server of MCP over Streamable HTTP, with a rule between them that knows what they say.

import { randomUUID } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { McpServer } from '@modelcontextprotocol/sdk/server/mcp.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { ResourceListChangedNotificationSchema } from '@modelcontextprotocol/sdk/types.js'
import { fetch, ProxyAgent } from 'undici'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AuditRecord, type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type Origin, startOrigin, type TestRoot } from '../support/origins.ts'

const HOST = 'mcp.allowed.test'
const CALLS = 3

/** What the server was asked to do. */
interface Server {
  readonly called: string[]
  readonly sessions: Map<string, StreamableHTTPServerTransport>
  announce(): void
  serve(request: IncomingMessage, response: ServerResponse): void
}

function issueServer(): Server {
  const called: string[] = []
  const sessions = new Map<string, StreamableHTTPServerTransport>()
  const servers: McpServer[] = []
  const opened = async (): Promise<StreamableHTTPServerTransport> => {
    const server = new McpServer({ name: 'issues', version: '1' })
    const answers = (name: string): void => {
      server.registerTool(name, { description: name }, () => {
        called.push(name)
        return { content: [{ type: 'text', text: `${name} done` }] }
      })
    }
    for (const tool of ['list_issues', 'get_issue', 'execute']) answers(tool)
    for (const uri of ['issues://open', 'secrets://all'])
      server.registerResource(uri, uri, {}, () => ({ contents: [{ uri, text: `${uri} read` }] }))
    servers.push(server)
    const transport = new StreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => void sessions.set(id, transport),
      onsessionclosed: (id) => void sessions.delete(id),
    })
    await server.connect(transport)
    return transport
  }
  return {
    called,
    sessions,
    announce: () => {
      for (const server of servers) server.sendResourceListChanged()
    },
    serve: (request, response) => {
      const session = sessions.get(String(request.headers['mcp-session-id']))
      const transport = session === undefined ? opened() : Promise.resolve(session)
      void transport.then((found) => found.handleRequest(request, response))
    },
  }
}

describe('a client of MCP behind a rule that knows MCP', () => {
  let root: TestRoot
  let origin: Origin
  let lab: Lab
  let agent: ProxyAgent
  let server: Server
  let client: Client
  let transport: StreamableHTTPClientTransport

  beforeAll(async () => {
    root = createTestRoot()
    server = issueServer()
    origin = await startOrigin(root, HOST, undefined, { raw: server.serve })
    lab = await startLab({
      root,
      names: { [HOST]: ['127.0.0.1'] },
      rules: `  - id: issues
    allow: { hosts: [${HOST}], ports: [${origin.port}], paths: [/mcp], methods: [GET, POST, DELETE] }
    mcp:
      tools: ["list_*", get_issue]
      resources: ["issues://*"]
      rates: { tools/call: { requests: ${CALLS}, per: hour } }
`,
    })
    agent = new ProxyAgent({ uri: `http://127.0.0.1:${lab.proxyPort}`, requestTls: { ca: lab.ca } })
    client = new Client({ name: 'mcp-egress-test', version: '0' })
    transport = new StreamableHTTPClientTransport(new URL(`https://${HOST}:${origin.port}/mcp`), {
      fetch: ((url: URL, init: object) =>
        fetch(url, { ...init, dispatcher: agent })) as unknown as typeof globalThis.fetch,
    })
    await client.connect(transport)
  })
  afterAll(async () => {
    await client?.close()
    await agent?.close()
    await lab?.close()
    await origin?.close()
    root?.close()
  })

  const decisions = (): AuditRecord[] => lab.recordsOf('request.decided')
  const messages = (): unknown[] => decisions().flatMap((record) => (record['mcp'] as unknown[] | undefined) ?? [])

  it('opens a session, and lists what there is', async () => {
    const { tools } = await client.listTools()
    expect(tools.map(({ name }) => name)).toEqual(['list_issues', 'get_issue', 'execute'])
    expect((await client.listResources()).resources).toHaveLength(2)
    expect(messages()).toMatchObject([
      { method: 'initialize' },
      { method: 'notifications/initialized', id: null },
      { method: 'tools/list' },
      { method: 'resources/list' },
    ])
  })

  it('hears what the server has to say on its stream', { timeout: 5_000 }, async () => {
    const heard = new Promise<void>((resolve) => {
      client.setNotificationHandler(ResourceListChangedNotificationSchema, () => resolve())
    })
    await lab.waitFor('request.decided', 5)
    const streams = (): boolean => decisions().some(({ method, decision }) => method === 'GET' && decision === 'allow')
    await expect.poll(streams).toBe(true)
    const announcing = setInterval(() => server.announce(), 20)
    await heard.finally(() => clearInterval(announcing))
  })

  it('calls a tool that the rule names', async () => {
    const { content } = await client.callTool({ name: 'get_issue', arguments: { id: 7 } })
    expect(content).toEqual([{ type: 'text', text: 'get_issue done' }])
    expect(messages().at(-1)).toMatchObject({
      method: 'tools/call',
      tool: 'get_issue',
      id: expect.stringMatching(/^\d+$/),
    })
  })

  it('is told which tool it may not call, and the server hears nothing', async () => {
    const refused = await client.callTool({ name: 'execute', arguments: {} }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 403, message: expect.stringContaining('add execute to its mcp.tools') })
    expect(server.called).not.toContain('execute')
    expect(decisions().at(-1)).toMatchObject({
      decision: 'deny',
      reason: 'body_rule',
      rule: 'issues',
      mcp: [{ method: 'tools/call', tool: 'execute' }],
      security_flags: ['body_rule:mcp:tools/call:execute'],
    })
  })

  it('reads the resources that the rule names, and no others', async () => {
    const { contents } = await client.readResource({ uri: 'issues://open' })
    expect(contents).toMatchObject([{ text: 'issues://open read' }])
    await expect(client.readResource({ uri: 'secrets://all' })).rejects.toMatchObject({ code: 403 })
    expect(messages().at(-1)).toMatchObject({ method: 'resources/read', tool: null, resource: 'secrets://all' })
  })

  it('calls tools as often as the rate of the method allows', async () => {
    for (let call = 1; call < CALLS; call++) await client.callTool({ name: 'list_issues' })
    const refused = await client.callTool({ name: 'list_issues' }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ code: 429, message: expect.stringContaining(`${CALLS} tools/call a hour`) })
    expect(server.called.filter((tool) => tool === 'list_issues')).toHaveLength(CALLS - 1)
    expect((await client.listTools()).tools).toHaveLength(3)
  })

  it('ends its session', async () => {
    expect(server.sessions.size).toBe(1)
    await transport.terminateSession()
    expect(server.sessions.size).toBe(0)
    expect(decisions().at(-1)).toMatchObject({ method: 'DELETE', decision: 'allow', rule: 'issues' })
  })

  it('with every call on record before the server heard of it', () => {
    const decided = messages().filter((message) => (message as { method: string }).method === 'tools/call')
    expect(decided).toHaveLength(CALLS + 2)
    expect(server.called).toEqual(['get_issue', ...Array<string>(CALLS - 1).fill('list_issues')])
  })
})
