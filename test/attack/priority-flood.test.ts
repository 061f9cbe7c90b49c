// PRIORITY without end (CVE-2019-9513): priorities are read over, and so is nothing else that costs a frame and says nothing.

import { goaway } from '../../src/core/http2-frame-writer.ts'
import { counted, floods } from './support/http2-flood.ts'
import { FRAME_TYPE, raw } from './support/http2-wire.ts'

const VOLUME = { fast: 5_000, full: 100_000 }
/** Depends on stream 1, exclusively, with a weight. */
const PRIORITIES = Buffer.from([0x80, 0, 0, 1, 0xff])
const EXTENSION = 0xfa

floods([
  {
    what: '[C20] PRIORITY of one stream',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_PRIORITY_FLOOD',
    counted: 'priority',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) => counted(volume, () => raw(FRAME_TYPE.PRIORITY, 0, 3, PRIORITIES)),
  },
  {
    what: '[C20] PRIORITY of one idle stream after the other',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_PRIORITY_FLOOD',
    counted: 'priority',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) => counted(volume, (index) => raw(FRAME_TYPE.PRIORITY, 0, 2 * index + 3, PRIORITIES)),
  },
  {
    what: '[C20] frames that nobody knows',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_UNKNOWN_FRAME_FLOOD',
    counted: 'unknown',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) => counted(volume, (index) => raw(EXTENSION, 0xff, index, 'x')),
  },
])

floods([
  {
    what: '[C20] GOAWAY again and again, with a stream open',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_UNKNOWN_FRAME_FLOOD',
    counted: 'unknown',
    volume: VOLUME,
    requests: 1,
    *frames(asking, volume, peer) {
      yield peer.headers(1, asking('POST', '/open'), false)
      yield* counted(volume, () => goaway(0, 'NO_ERROR', 'leaving'))
    },
  },
])
