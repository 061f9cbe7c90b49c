// An origin that takes no request, and says each time that it may be sent again (RFC 9113 §8.7): it is, a few times, and then the client is told.

import { afterEach, describe, expect, it } from 'vitest'
import { goaway, rstStream, settingsAck, settingsFrame } from '../../src/core/http2-frame-writer.ts'
import { type FrameOrigin, type FramePeer, startFrameOrigin } from '../proxy/support/frame-origin.ts'
import { assertAccounted } from '../support/accounting.ts'
import { type Lab, startLab } from '../support/lab.ts'
import { createTestRoot, type TestRoot } from '../support/origins.ts'
import { DOORS, type DoorName, openDoor } from '../support/standard.ts'
import { HOST } from './support/http2-bed.ts'
import { data, outcomeOn, RawPeer, SETTING, streamOf } from './support/http2-wire.ts'

/** More than this is no retry but an attack on the origin, or of it. */
const MAX_CONNECTIONS = 4
const REQUESTS = 40
const KEPT_SESSIONS = 8

let root: TestRoot
let lab: Lab
let origin: FrameOrigin
let requests = 0
let connections = 0

afterEach(async () => {
  await assertAccounted(lab)
  await lab.close()
  await origin.close()
  root.close()
})

/** `settings`: what each connection begins with; `play`: what it does with each request. */
async function start(settings: Buffer, play: (peer: FramePeer, streamId: number) => unknown): Promise<void> {
  requests = 0
  connections = 0
  root = createTestRoot()
  origin = await startFrameOrigin(root, HOST, async (peer) => {
    connections += 1
    peer.write(settings, settingsAck())
    for (;;) {
      const { streamId } = await peer.asked()
      requests += 1
      await play(peer, streamId)
    }
  })
  lab = await startLab({
    root,
    names: { [HOST]: ['127.0.0.1'] },
    original: { address: '127.0.0.1', port: origin.port },
    rules: `  - { id: open, allow: { hosts: [${HOST}], ports: [${origin.port}] } }`,
  })
}

async function asked(door: DoorName, method: string): Promise<{ status: string | undefined; reason: unknown }> {
  const authority = `${HOST}:${origin.port}`
  const peer = new RawPeer(await openDoor(lab, door, authority, { alpn: ['h2'] }))
  peer.begin()
  const fields = [':method', method, ':scheme', 'https', ':authority', authority, ':path', '/refused']
  peer.write(peer.headers(1, fields, method === 'GET'))
  if (method !== 'GET') peer.write(data(1, 'body', true))
  const { status } = await outcomeOn(peer, 1)
  peer.stream.destroy()
  const [end] = await lab.waitFor('request.completed', 1)
  expect(lab.recordsOf('request.decided')).toHaveLength(1)
  return { status, reason: end?.['reason'] }
}

const NOTHING = settingsFrame([])

describe.each(DOORS)('through the door %s', (door) => {
  describe.each(['GET', 'POST'])('a %s', (method) => {
    it.each<[string, Buffer, (peer: FramePeer, id: number) => unknown]>([
      ['REFUSED_STREAM for every stream', NOTHING, (peer, id) => peer.write(rstStream(id, 'REFUSED_STREAM'))],
      ['HTTP_1_1_REQUIRED, and no HTTP/1.1', NOTHING, (peer, id) => peer.write(rstStream(id, 'HTTP_1_1_REQUIRED'))],
      ['GOAWAY before every stream', NOTHING, (peer) => peer.write(goaway(0, 'NO_ERROR', ''))],
      ['GOAWAY and the end before every stream', NOTHING, (peer) => peer.socket.end(goaway(0, 'NO_ERROR', ''))],
      [
        'no streams allowed at all',
        settingsFrame([[SETTING.MAX_CONCURRENT_STREAMS, 0]]),
        // One may have left before that was read.
        (peer, id) => peer.write(rstStream(id, 'REFUSED_STREAM')),
      ],
    ])('[I12] %s is 502 after a few tries', async (_what, settings, play) => {
      await start(settings, play)
      const { status, reason } = await asked(door, method)
      expect([status, reason]).toEqual(['502', 'upstream_unreachable'])
      expect(requests, 'requests').toBeLessThanOrEqual(MAX_CONNECTIONS)
      expect(connections, 'connections').toBeLessThanOrEqual(MAX_CONNECTIONS)
    })
  })
})

it('[I15] an origin that takes one request a connection: of those that it made us open, few are kept', async () => {
  const waiting: (() => void)[] = []
  await start(settingsFrame([[SETTING.MAX_CONCURRENT_STREAMS, 1]]), (peer, id) => {
    waiting.push(() => peer.head(id, [':status', '200'], true))
  })
  const authority = `${HOST}:${origin.port}`
  const peer = new RawPeer(await openDoor(lab, 'connect', authority, { alpn: ['h2'] }))
  peer.begin()
  const ids = Array.from({ length: REQUESTS }, (_, at) => streamOf(at))
  for (const id of ids) {
    peer.write(peer.headers(id, [':method', 'GET', ':scheme', 'https', ':authority', authority, ':path', `/${id}`]))
  }
  await expect.poll(() => waiting.length, { timeout: 5_000, interval: 5 }).toBe(REQUESTS)
  expect(connections).toBe(REQUESTS)
  for (const answer of waiting) answer()
  await peer.until(() => ids.every((id) => peer.ended(id)), 'the answers')
  const kept = (): number => origin.peers.filter(({ closed }) => !closed).length
  await expect.poll(kept, { timeout: 5_000, interval: 5 }).toBeLessThanOrEqual(KEPT_SESSIONS)
  expect(kept()).toBeGreaterThan(0)
  peer.stream.destroy()
})
