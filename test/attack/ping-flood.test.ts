// PING without end (CVE-2019-9512): each asks for an answer and carries nothing.

import { pingAck } from '../../src/core/http2-frame-writer.ts'
import { counted, floods } from './support/http2-flood.ts'

const VOLUME = { fast: 5_000, full: 100_000 }

floods([
  {
    what: '[C20] PING',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_PING_FLOOD',
    counted: 'ping',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume, peer) => counted(volume, () => peer.ping()),
  },
  {
    what: '[C20] answers to PINGs that nobody sent',
    error: 'ENHANCE_YOUR_CALM',
    code: 'H2_PING_FLOOD',
    counted: 'ping',
    volume: VOLUME,
    requests: 0,
    frames: (_asking, volume) => counted(volume, () => pingAck(Buffer.alloc(8))),
  },
])
