// What we tell a peer in SETTINGS (RFC 9113 §6.5.2), and the limits that stand behind it.

import type { HpackLimits } from '../../core/hpack.ts'
import { HEAD_LIMITS } from '../../core/http1.ts'
import { SETTING, type Settings } from '../../core/http2-frame.ts'
import { STREAM_WINDOW_BYTES } from './stream.ts'

/** `:method`, `:scheme`, `:authority`, `:path`. */
const PSEUDO_FIELDS = 4

/** As for HTTP/1: over them a message is answered 431. The third is a bound of the decoder, not of a message. */
export const HEADER_LIMITS: HpackLimits = {
  maxListBytes: HEAD_LIMITS.maxHeadBytes,
  maxFields: HEAD_LIMITS.maxHeaderCount + PSEUDO_FIELDS,
  maxStringBytes: 2 * HEAD_LIMITS.maxHeadBytes,
}

export function ownSettings(role: 'server' | 'client', maxStreams: number): Settings {
  return [
    role === 'server' ? [SETTING.MAX_CONCURRENT_STREAMS, maxStreams] : [SETTING.ENABLE_PUSH, 0],
    [SETTING.INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES],
    [SETTING.MAX_HEADER_LIST_SIZE, HEADER_LIMITS.maxListBytes],
  ]
}
