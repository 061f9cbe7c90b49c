import { createServer, type Server } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, it, vi } from 'vitest'
import { type CheckpointSink, MAX_WAITING, openCheckpointSink } from '../../src/audit/checkpoint-sink.ts'

let server: Server | null = null
let sink: CheckpointSink | null = null
afterEach(async () => {
  await sink?.close()
  server?.closeAllConnections()
  server?.close()
})

/** A receiver that answers with the next of `statuses`, the last one for ever. */
async function receiver(statuses: number[]): Promise<{ url: string; taken: string[] }> {
  const taken: string[] = []
  server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
    request.on('end', () => {
      const status = statuses.length > 1 ? (statuses.shift() ?? 200) : (statuses[0] ?? 200)
      if (status === 200) taken.push(body)
      response.writeHead(status).end()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/checkpoints`, taken }
}

function open(target: string, onState: (failure: string | null) => void = () => undefined): CheckpointSink {
  sink = openCheckpointSink({ target, print: () => undefined, onState, firstRetryMs: 5 })
  return sink
}

it('prints each line to stdout', () => {
  const printed: string[] = []
  openCheckpointSink({ target: 'stdout', print: (text) => printed.push(text), onState: () => undefined }).offer(
    '{"a":1}',
  )
  expect(printed).toEqual(['{"a":1}\n'])
})

it('posts each line, in order, until it is taken, and says when it fails and when it goes on', async () => {
  const { url, taken } = await receiver([200, 503, 503, 200])
  const states: (string | null)[] = []
  const { offer } = bound(open(url, (state) => states.push(state)))
  for (const line of ['one', 'two', 'three']) offer(line)
  await vi.waitFor(() => expect(taken).toEqual(['one\n', 'two\n', 'three\n']), { timeout: 10_000 })
  await vi.waitFor(() => expect(states).toEqual(['HTTP 503', null]), { timeout: 10_000 })
})

it('keeps the later ones when the receiver is away for long', async () => {
  const statuses = [503]
  const { url, taken } = await receiver(statuses)
  const opened = open(url)
  for (let index = 0; index < MAX_WAITING + 10; index++) opened.offer(`line ${index}`)
  statuses[0] = 200
  await vi.waitFor(() => expect(taken.at(-1)).toBe(`line ${MAX_WAITING + 9}\n`), { timeout: 15_000 })
  // Besides them, the one that was on its way.
  expect(taken.length).toBeLessThanOrEqual(MAX_WAITING + 1)
  expect(taken).not.toContain('line 5\n')
})

it('ships what waits when it is closed, and does not wait for a receiver that is away', async () => {
  const { url, taken } = await receiver([200])
  const opened = open(url)
  opened.offer('last')
  await opened.close()
  expect(taken).toEqual(['last\n'])
  const away = openCheckpointSink({ target: 'http://127.0.0.1:9/', print: () => undefined, onState: () => undefined })
  away.offer('lost')
  const started = performance.now()
  await away.close()
  expect(performance.now() - started).toBeLessThan(10_000)
})

function bound(opened: CheckpointSink): { offer: (line: string) => void } {
  return { offer: (line) => opened.offer(line) }
}
