// A WebSocket that is used for something else, or that breaks its protocol: ended at the first wrong frame, of which nothing arrives.

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Bed, startBed, type Way } from '../doors/support/bed.ts'
import { webSocketRule } from '../doors/support/websocket-bed.ts'
import { gate } from '../doors/support/gate.ts'
import { assertAccounted } from '../support/accounting.ts'
import {
  assertTunnelsClosed,
  BINARY,
  CLOSE,
  close,
  FIN,
  frame,
  handshake,
  lengthOf,
  PING,
  type Shape,
  switching,
  takeClose,
  takeFrame,
  TEXT,
  text,
} from '../support/websocket.ts'
import type { Wire } from '../support/wire.ts'

const WAYS: Way[] = [
  { door: 'connect', tls: true },
  { door: 'transparent', tls: true },
  { door: 'absolute', tls: false },
]
const MIB = 1_024 * 1_024

/** What is wrong with the frames, the code of it, and how the tunnel is closed; the last frame is the bad one. */
const FAULTS: [string, string, number, Shape[]][] = [
  ['RSV1 that nobody agreed on', 'WS_RESERVED_BIT', 1002, [{ first: FIN | 0x40 | TEXT, payload: 'x' }]],
  ['RSV2', 'WS_RESERVED_BIT', 1002, [{ first: FIN | 0x20 | TEXT, payload: 'x' }]],
  ['RSV3 on a ping', 'WS_RESERVED_BIT', 1002, [{ first: FIN | 0x10 | PING }]],
  ['an opcode that is reserved', 'WS_UNKNOWN_OPCODE', 1002, [{ first: FIN | 5, payload: 'x' }]],
  ['a ping of 126 bytes', 'WS_CONTROL_TOO_LONG', 1002, [{ first: FIN | PING, payload: 'x'.repeat(126) }]],
  ['a ping in fragments', 'WS_FRAGMENTED_CONTROL', 1002, [{ first: PING, payload: 'x' }]],
  ['a continuation of nothing', 'WS_NOTHING_TO_CONTINUE', 1002, [{ first: FIN, payload: 'x' }]],
  ['a message in a message', 'WS_CONTINUATION_EXPECTED', 1002, [{ first: TEXT, payload: 'x' }, text('y')]],
  [
    'a length that is too long for its number',
    'WS_LENGTH_NOT_MINIMAL',
    1002,
    [{ first: FIN | TEXT, length: Buffer.of(126, 0, 1), payload: 'x' }],
  ],
  [
    'a length below zero',
    'WS_LENGTH_OVERFLOW',
    1002,
    [{ first: FIN | TEXT, length: Buffer.of(127, 255, 255, 255, 255, 255, 255, 255, 255) }],
  ],
  ['a close of one byte', 'WS_BAD_CLOSE', 1002, [{ first: FIN | CLOSE, payload: '\x03' }]],
  ['a close with a code that is never sent', 'WS_BAD_CLOSE', 1002, [close(1005)]],
  [
    'a frame of more than 64 MiB',
    'WS_FRAME_TOO_LARGE',
    1009,
    [{ first: FIN | BINARY, length: lengthOf(64 * MIB + 1) }],
  ],
  ['a frame of 2^40 bytes', 'WS_FRAME_TOO_LARGE', 1009, [{ first: FIN | BINARY, length: lengthOf(2 ** 40) }]],
]

describe.each(WAYS)('$door', (way) => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(way, { rules: webSocketRule() })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    assertTunnelsClosed(bed.lab)
    await bed.close()
  })

  let count = 0
  /** Both ends of a WebSocket, and its path. */
  const open = async (): Promise<{ client: Wire; origin: Wire; path: string }> => {
    const path = `/socket/${count++}`
    const accepted = gate<Wire>()
    bed.origin.on(path, async (wire, asked) => {
      wire.write(switching(asked))
      accepted.open(wire)
      await wire.closed()
    })
    const client = await bed.open()
    client.write(bed.request(path, { fields: handshake() }))
    await client.head()
    return { client, origin: await accepted.opened, path }
  }
  /** What the trail says of the end, once both are closed. */
  const ended = async ({ client, origin, path }: Awaited<ReturnType<typeof open>>): Promise<unknown[]> => {
    expect([await client.closed(), await origin.closed(), client.text, origin.text]).toEqual(['end', 'end', '', ''])
    const { completed, decided } = await bed.attempt(path)
    const malformed = bed.lab
      .recordsOf('request.malformed')
      .filter((record) => record.request_id === decided.request_id)
    return [completed['outcome'], completed['reason'], ...malformed.map((record) => record['code'])]
  }

  it.each(FAULTS)('[G09] of the client: %s', async (_what, code, closeCode, shapes) => {
    const ends = await open()
    const good = [text('before'), ...shapes.slice(0, -1)].map((shape) => frame(shape))
    const bad = frame(shapes.at(-1) as Shape)
    ends.client.write(Buffer.concat([...good, bad, frame(text('behind'))]))
    expect(await ends.origin.take(Buffer.concat(good).length)).toBe(Buffer.concat(good).toString('latin1'))
    expect(await takeClose(ends.origin)).toEqual([closeCode === 1009 ? 1009 : 1011, ''])
    expect(await takeClose(ends.client)).toEqual([closeCode, `mcp-egress: ${code}`])
    const end = closeCode === 1009 ? ['refused', 'request_too_large'] : ['failed', 'malformed']
    expect(await ended(ends)).toEqual([...end, code])
  })

  it.each(FAULTS)('[G09] of the origin: %s', async (_what, code, closeCode, shapes) => {
    const ends = await open()
    const good = [text('before'), ...shapes.slice(0, -1)].map((shape) => frame(shape, false))
    const bad = frame(shapes.at(-1) as Shape, false)
    ends.origin.write(Buffer.concat([...good, bad, frame(text('behind'), false)]))
    expect(await ends.client.take(Buffer.concat(good).length)).toBe(Buffer.concat(good).toString('latin1'))
    expect(await takeClose(ends.client)).toEqual([closeCode === 1009 ? 1009 : 1011, `mcp-egress: ${code}`])
    expect(await takeClose(ends.origin)).toEqual([closeCode, ''])
    const end = closeCode === 1009 ? ['refused', 'response_too_large'] : ['upstream_aborted', 'upstream_malformed']
    expect(await ended(ends)).toEqual(end)
  })

  it('[G09] of the client: a frame without a mask', async () => {
    const ends = await open()
    ends.client.write(frame(text('x'), false))
    expect(await takeClose(ends.client)).toEqual([1002, 'mcp-egress: WS_UNMASKED'])
    expect(await takeClose(ends.origin)).toEqual([1011, ''])
    expect(await ended(ends)).toEqual(['failed', 'malformed', 'WS_UNMASKED'])
  })

  it('[G09] of the origin: a frame with a mask', async () => {
    const ends = await open()
    ends.origin.write(frame(text('x')))
    expect(await takeClose(ends.client)).toEqual([1011, 'mcp-egress: WS_MASKED'])
    expect(await takeClose(ends.origin)).toEqual([1002, ''])
    expect(await ended(ends)).toEqual(['upstream_aborted', 'upstream_malformed'])
  })

  it.each([
    ['HTTP', 'GET /secret?token=hunter2hunter2 HTTP/1.1\r\nHost: a\r\n\r\n'],
    ['TLS', '\x16\x03\x01\x00\x05hello'],
    ['SSH', 'SSH-2.0-OpenSSH_9.6\r\n'],
    ['zeros', '\0'.repeat(100)],
  ])('[G09] %s in place of frames', async (_what, bytes) => {
    const ends = await open()
    ends.client.write(bytes)
    expect((await takeClose(ends.client))[0]).toBe(1002)
    expect((await takeClose(ends.origin))[0]).toBe(1011)
    expect((await ended(ends)).slice(0, 2)).toEqual(['failed', 'malformed'])
    expect(JSON.stringify(bed.lab.records())).not.toContain('hunter2')
  })

  it('[G09] a bad frame in single bytes', async () => {
    const ends = await open()
    for (const byte of frame({ first: FIN | PING, payload: 'x'.repeat(126) })) ends.client.write(Buffer.of(byte))
    expect(await takeClose(ends.client)).toEqual([1002, 'mcp-egress: WS_CONTROL_TOO_LONG'])
    expect(await takeClose(ends.origin)).toEqual([1011, ''])
    await ended(ends)
  })

  it('[G09] a message that never ends', async () => {
    const ends = await open()
    ends.origin.count()
    const fragments = Buffer.concat([
      frame({ first: TEXT }),
      ...Array.from({ length: 65_536 }, () => frame({ first: 0 })),
    ])
    ends.client.write(fragments)
    expect(await takeClose(ends.client)).toEqual([1009, 'mcp-egress: WS_TOO_MANY_FRAGMENTS'])
    expect(await ended(ends)).toEqual(['refused', 'request_too_large', 'WS_TOO_MANY_FRAGMENTS'])
  })

  it('[G09] a frame of 16 MiB passes', async () => {
    const ends = await open()
    const bytes = frame({ first: FIN | BINARY, payload: Buffer.alloc(16 * MIB, 'x') }, false)
    const before = ends.client.bytes
    ends.client.count()
    ends.origin.write(bytes)
    await ends.client.until('all of it', () => ends.client.bytes - before === bytes.length)
    ends.client.socket.end()
    expect((await bed.attempt(ends.path)).completed).toMatchObject({ outcome: 'completed', bytes_received: 16 * MIB })
  })

  it('a frame behind a close', async () => {
    const ends = await open()
    ends.client.write(Buffer.concat([frame(close(1000)), frame(text('and by the way'))]))
    expect(await takeClose(ends.origin)).toEqual([1000, ''])
    expect(await takeClose(ends.client)).toEqual([1002, 'mcp-egress: WS_AFTER_CLOSE'])
    expect(await ended(ends)).toEqual(['failed', 'malformed', 'WS_AFTER_CLOSE'])
  })

  it('the close waits for the end of the frame that the other side has begun', async () => {
    const ends = await open()
    const large = frame({ first: FIN | BINARY, payload: 'x'.repeat(1_000) }, false)
    ends.origin.write(large.subarray(0, 500))
    await ends.client.take(500)
    ends.client.write(frame({ first: FIN | 5 }))
    expect(await takeClose(ends.origin)).toEqual([1011, ''])
    ends.origin.write(Buffer.concat([large.subarray(500), frame(text('more'), false)]))
    expect(await ends.client.take(large.length - 500)).toBe(large.toString('latin1', 500))
    expect(await takeClose(ends.client)).toEqual([1002, 'mcp-egress: WS_UNKNOWN_OPCODE'])
    expect(await ended(ends)).toEqual(['failed', 'malformed', 'WS_UNKNOWN_OPCODE'])
  })
})

describe('compression', () => {
  let bed: Bed
  beforeAll(async () => {
    bed = await startBed(WAYS[0] as Way, { rules: webSocketRule() })
  })
  afterAll(async () => {
    await assertAccounted(bed.lab)
    await bed.close()
  })

  /** The client of a WebSocket for which the origin has said `agreed`, and then a compressed message. */
  const offered = async (path: string, agreed: string): Promise<Wire> => {
    bed.origin.on(path, async (wire, asked) => {
      wire.write(switching(asked, agreed))
      wire.write(frame({ first: FIN | 0x40 | TEXT, payload: 'x' }, false))
      await wire.closed()
    })
    const client = await bed.open()
    client.write(bed.request(path, { fields: handshake({ 'Sec-WebSocket-Extensions': 'permessage-deflate' }) }))
    await client.head()
    return client
  }

  it('[P24] that was agreed on passes', async () => {
    const client = await offered('/agreed', 'Sec-WebSocket-Extensions: permessage-deflate\r\n')
    expect((await takeFrame(client)).first).toBe(FIN | 0x40 | TEXT)
    client.socket.end()
    expect((await bed.attempt('/agreed')).completed['outcome']).toBe('completed')
  })

  it('[G09] that was only offered does not', async () => {
    const client = await offered('/offered', '')
    expect(await takeClose(client)).toEqual([1011, 'mcp-egress: WS_RESERVED_BIT'])
    client.socket.end()
    expect((await bed.attempt('/offered')).completed['reason']).toBe('upstream_malformed')
  })
})
