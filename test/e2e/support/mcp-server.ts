// Runs an unmodified MCP server as the workload and talks to it over stdio with the SDK's own client.

import { createRequire } from 'node:module'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { type Machine, WORKLOAD_UID } from './machine.ts'

const require = createRequire(import.meta.url)

export const SERVERS: { readonly github: string; readonly brave: string } = {
  github: require.resolve('@modelcontextprotocol/server-github/dist/index.js'),
  brave: require.resolve('@modelcontextprotocol/server-brave-search/dist/index.js'),
}

export interface McpServer {
  /** The text a model would read: of the result, or of the error that came instead. */
  call(tool: string, parameters: Record<string, unknown>): Promise<{ failed: boolean; text: string }>
  close(): Promise<void>
}

export async function startMcpServer(
  machine: Machine,
  script: string,
  secrets: Record<string, string>,
): Promise<McpServer> {
  const as = ['setpriv', `--reuid=${WORKLOAD_UID}`, `--regid=${WORKLOAD_UID}`, '--clear-groups', '--']
  const environment = { ...machine.trusting, ...secrets, PATH: process.env['PATH'] }
  const transport = new StdioClientTransport({
    command: 'ip',
    args: ['netns', 'exec', machine.workload.name, ...as, process.execPath, script],
    env: Object.fromEntries(
      Object.entries(environment).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
    ),
    stderr: 'ignore',
  })
  const client = new Client({ name: 'mcp-egress-test', version: '0' })
  await client.connect(transport)
  return {
    call: async (tool, parameters) => {
      try {
        const { content, isError } = await client.callTool({ name: tool, arguments: parameters })
        return { failed: isError === true, text: (content as { text: string }[]).map(({ text }) => text).join('\n') }
      } catch (error) {
        return { failed: true, text: error instanceof Error ? error.message : String(error) }
      }
    },
    close: () => client.close(),
  }
}
