// grpcio, whose HTTP/2 is gRPC's own in C, as the second opinion: the same calls as grpc-js makes, in a process of its own.

import { execFile, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Metadata, status } from '@grpc/grpc-js'
import { describe, expect, it } from 'vitest'
import { NEUTRAL } from '../e2e/support/spawner.ts'
import { assertAccounted } from '../support/accounting.ts'
import { type GrpcBed, HOST, startGrpcBed } from './support/grpc-bed.ts'

const PYTHON = '/usr/bin/python3'
const SCRIPT = fileURLToPath(new URL('./support/grpc_client.py', import.meta.url))
const DEADLINE_MS = 50_000
const SLOW_MACHINE = 60_000
const missing = spawnSync(PYTHON, ['-c', 'import grpc']).status !== 0

describe.each(['connect', 'transparent'] as const)('grpcio by door %s', (door) => {
  it.skipIf(missing)(
    '[P17] [P19] [C25] calls of every kind, and refusals that it understands',
    {
      timeout: SLOW_MACHINE,
    },
    async () => {
      const bed = await startGrpcBed(door)
      serveAll(bed)
      const said = await run(bed, door)
      const { request_id } = await bed.decided('/test.Forbidden/Method')
      expect(said).toMatchObject({
        unary: 'hello of the client',
        initial: 'first',
        trailing: 'last',
        upload: 'ab',
        events: ['0', '1', '2'],
        chat: ['turn 0!', 'turn 1!', 'turn 2!', 'turn 3!', 'turn 4!', 'the end'],
        big: true,
        missing: { code: 'NOT_FOUND', details: '100 % gone', trailing: { 'x-why': 'because' } },
        late: { code: 'DEADLINE_EXCEEDED' },
        denied: {
          code: 'PERMISSION_DENIED',
          details: 'mcp-egress: no_matching_rule: add /test.Forbidden/Method to the paths of rule calls',
          trailing: { 'x-request-id': request_id },
        },
        denied_chat: { code: 'PERMISSION_DENIED' },
        rated: [{ code: 'OK' }, { code: 'RESOURCE_EXHAUSTED', trailing: { 'x-ratelimit-limit': '1' } }],
        capped: { code: 'RESOURCE_EXHAUSTED' },
      })
      await assertAccounted(bed.lab)
      const statuses = new Map(
        bed.lab.recordsOf('request.decided').map((decided) => {
          const end = bed.lab.recordsOf('request.completed').find((each) => each.request_id === decided.request_id)
          return [decided['path'], [decided['protocol'], end?.['status'], end?.['grpc_status']]]
        }),
      )
      expect(statuses.get('/test.Allowed/Chat')).toEqual(['h2', 200, 0])
      expect(statuses.get('/test.Allowed/Missing')).toEqual(['h2', 200, 5])
      expect(statuses.get('/test.Forbidden/Method')).toEqual(['h2', 200, 7])
      expect(statuses.get('/test.Capped/Upload')).toEqual(['h2', 200, 8])
      await bed.close()
    },
  )
})

function serveAll({ serve }: GrpcBed): void {
  serve('/test.Allowed/Unary', {
    unary: (call, answer) => {
      const initial = new Metadata()
      initial.set('x-initial', 'first')
      call.sendMetadata(initial)
      const trailing = new Metadata()
      trailing.set('x-trailing', 'last')
      answer(null, `${call.request} ${call.metadata.get('x-custom').join(' ')}`, trailing)
    },
  })
  serve('/test.Allowed/Upload', {
    clientStream: (call, answer) => {
      let all = ''
      call.on('data', (message: string) => {
        all += message
      })
      call.on('end', () => answer(null, all))
    },
  })
  serve('/test.Allowed/Events', {
    serverStream: (call) => {
      for (const event of ['0', '1', '2']) call.write(event)
      call.end()
    },
  })
  serve('/test.Allowed/Chat', {
    bidi: (call) => {
      call.on('data', (message: string) => call.write(`${message}!`))
      call.on('end', () => {
        call.write('the end')
        call.end()
      })
    },
  })
  serve('/test.Allowed/Big', { unary: ({ request }, answer) => answer(null, request) })
  serve('/test.Allowed/Missing', {
    unary: (_call, answer) => {
      const metadata = new Metadata()
      metadata.set('x-why', 'because')
      answer({ code: status.NOT_FOUND, details: '100 % gone', metadata })
    },
  })
  serve('/test.Allowed/Late', { unary: () => undefined })
  serve('/test.Rated/Method', { unary: (_call, answer) => answer(null, 'x') })
  serve('/test.Capped/Upload', { clientStream: (call) => void call.resume() })
}

async function run({ lab, port }: GrpcBed, door: 'connect' | 'transparent'): Promise<Record<string, unknown>> {
  const authority = `${HOST}:${port}`
  const args = door === 'connect' ? [authority, '-'] : [`127.0.0.1:${lab.transparentPort}`, authority]
  const env = {
    ...NEUTRAL,
    GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: join(lab.folder, 'certs/ca.pem'),
    ...(door === 'connect' ? { grpc_proxy: `http://127.0.0.1:${lab.proxyPort}` } : {}),
  }
  const { stdout } = await promisify(execFile)(PYTHON, [SCRIPT, ...args], { env, timeout: DEADLINE_MS })
  return JSON.parse(stdout) as Record<string, unknown>
}
