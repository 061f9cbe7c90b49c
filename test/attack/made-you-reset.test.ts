// MadeYouReset (CVE-2025-8671): frames that make the proxy reset the stream of a request, whose work goes on behind it. Counted as the client's own resets are.

import { counted, floods } from './support/http2-flood.ts'
import { data, FRAME_TYPE, head, raw, streamOf } from './support/http2-wire.ts'

const VOLUME = { fast: 2_000, full: 10_000 }

floods([
  {
    what: '[C23] a WINDOW_UPDATE of nothing',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'stream_error',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([
          peer.headers(streamOf(at), asking('POST', `/${at}`), false),
          raw(FRAME_TYPE.WINDOW_UPDATE, 0, streamOf(at), '\0\0\0\0'),
        ]),
      ),
  },
  {
    what: '[C23] a WINDOW_UPDATE over 2^31-1',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'stream_error',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([
          peer.headers(streamOf(at), asking('POST', `/${at}`), false),
          peer.widen(streamOf(at), 2 ** 31 - 1),
        ]),
      ),
  },
  {
    what: '[C23] DATA behind the end of a request',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'stream_error',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([peer.headers(streamOf(at), asking('GET', `/${at}`)), data(streamOf(at), 'x')]),
      ),
  },
  {
    what: '[C23] HEADERS behind the end of a request',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'stream_error',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([peer.headers(streamOf(at), asking('GET', `/${at}`)), peer.headers(streamOf(at), ['x-a', 'b'])]),
      ),
  },
  {
    what: '[C23] a PRIORITY of no length',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'stream_error',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume, peer) =>
      counted(volume, (at) =>
        Buffer.concat([
          peer.headers(streamOf(at), asking('POST', `/${at}`), false),
          raw(FRAME_TYPE.PRIORITY, 0, streamOf(at), 'x'),
        ]),
      ),
  },
  {
    what: '[C23] requests that are none',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_RESET_FLOOD',
    counted: 'stream_error',
    volume: VOLUME,
    requests: null,
    frames: (asking, volume) => counted(volume, (at) => head(streamOf(at), asking('GET', 'none'))),
  },
])
