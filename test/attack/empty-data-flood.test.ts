// DATA that carries nothing (CVE-2019-9518): empty, or all padding, or for streams that are over.

import { counted, floods } from './support/http2-flood.ts'
import { data, FRAME_FLAG, FRAME_TYPE, raw } from './support/http2-wire.ts'

const VOLUME = { fast: 5_000, full: 100_000 }

floods([
  {
    what: '[C20] empty DATA',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_EMPTY_DATA_FLOOD',
    counted: 'empty_data',
    volume: VOLUME,
    requests: 1,
    *frames(asking, volume, peer) {
      yield peer.headers(1, asking('POST', '/open'), false)
      yield* counted(volume, () => data(1, ''))
    },
  },
  {
    what: '[C20] DATA that is nothing but its padding',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_EMPTY_DATA_FLOOD',
    counted: 'empty_data',
    volume: VOLUME,
    requests: 1,
    *frames(asking, volume, peer) {
      yield peer.headers(1, asking('POST', '/open'), false)
      yield* counted(volume, () => raw(FRAME_TYPE.DATA, FRAME_FLAG.PADDED, 1, Buffer.from([3, 0, 0, 0])))
    },
  },
  {
    what: '[C20] empty DATA for a stream that was reset',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_EMPTY_DATA_FLOOD',
    counted: 'empty_data',
    volume: VOLUME,
    requests: 1,
    *frames(asking, volume, peer) {
      yield peer.headers(1, asking('POST', '/open'), false)
      // The window of the stream goes over its bound: RST_STREAM of the proxy's.
      yield peer.widen(1, 2 ** 31 - 1)
      yield* counted(volume, () => data(1, ''))
    },
  },
])
