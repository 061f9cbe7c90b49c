// SETTINGS without end (CVE-2019-9515): each asks for an acknowledgement, and may ask for a walk around all streams.

import { settingsAck, settingsFrame } from '../../src/core/http2-frame-writer.ts'
import { counted, floods } from './support/http2-flood.ts'
import { SETTING, streamOf } from './support/http2-wire.ts'

const VOLUME = { fast: 5_000, full: 100_000 }
/** As many as a frame has room for. */
const IN_ONE_FRAME = 2_730
const OPEN_STREAMS = 50

floods([
  {
    what: '[C20] empty SETTINGS',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_SETTINGS_FLOOD',
    counted: 'settings',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) => counted(volume, () => settingsFrame([])),
  },
  {
    what: '[C20] one SETTINGS full of settings that nobody knows (CVE-2020-11080)',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_SETTINGS_FLOOD',
    counted: null,
    volume: { fast: 200, full: 5_000 },
    requests: 0,
    frames: (_asking, volume) => {
      const full = settingsFrame(Array.from({ length: IN_ONE_FRAME }, (_, id) => [0x1000 + id, id] as const))
      return counted(volume, () => full)
    },
  },
  {
    what: '[C20] SETTINGS that change the window of every stream, up and down',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_SETTINGS_FLOOD',
    counted: 'settings',
    volume: VOLUME,
    requests: OPEN_STREAMS,
    *frames(asking, volume, peer) {
      for (let index = 0; index < OPEN_STREAMS; index += 1) {
        yield peer.headers(streamOf(index), asking('POST', `/open/${index}`), false)
      }
      yield* counted(volume, (index) => settingsFrame([[SETTING.INITIAL_WINDOW_SIZE, index % 2 === 0 ? 0 : 1_000_000]]))
    },
  },
  {
    what: '[C20] SETTINGS that change the size of the table',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_SETTINGS_FLOOD',
    counted: 'settings',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) =>
      counted(volume, (index) => settingsFrame([[SETTING.HEADER_TABLE_SIZE, index % 2 === 0 ? 0 : 0xffff_ffff]])),
  },
  {
    what: '[C20] acknowledgements of nothing',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_SETTINGS_FLOOD',
    counted: 'settings',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) => counted(volume, () => settingsAck()),
  },
])
