// `mcp-egress health`: asks a running proxy, for HEALTHCHECK.

import { request } from 'node:http'
import { Command } from 'commander'
import type { ListenAddress } from '../config/load.ts'
import { EXIT, ExitError } from './exit.ts'
import { configOf } from './loaded.ts'

const HEALTH_TIMEOUT_MS = 3_000

export function healthCommand(): Command {
  return new Command('health')
    .description('ask a running proxy whether it is healthy (exit 0) or not (exit 1)')
    .option('-c, --config <file>', 'configuration file')
    .option('--json', 'print the answer as it is')
    .action(async (options: { config?: string; json?: boolean }) => {
      const [admin] = configOf(options.config).listen.admin
      if (admin === undefined)
        throw new ExitError(
          EXIT.usage,
          'no listen.admin in the configuration\n  fix: add listen: { admin: 127.0.0.1:9901 }',
        )
      const answer = await ask(admin).catch((error: unknown) => {
        throw new ExitError(EXIT.usage, `unhealthy: ${error instanceof Error ? error.message : String(error)}`)
      })
      if (answer.status !== 200) throw new ExitError(EXIT.usage, `unhealthy: status ${answer.status}`)
      process.stdout.write(options.json === true ? answer.body : 'healthy\n')
    })
}

function ask(admin: ListenAddress): Promise<{ status: number; body: string }> {
  const where = admin.kind === 'unix' ? { socketPath: admin.path } : { host: reachable(admin.host), port: admin.port }
  return new Promise((resolve, reject) => {
    const asked = request(
      { ...where, path: '/health', headers: { Host: 'localhost' }, timeout: HEALTH_TIMEOUT_MS },
      (response) => {
        let body = ''
        response.setEncoding('utf8')
        response.on('data', (chunk: string) => {
          body += chunk
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      },
    )
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')))
    asked.on('error', reject)
    asked.end()
  })
}

function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}
