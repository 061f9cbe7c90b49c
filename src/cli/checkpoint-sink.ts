// Where the checkpoints of a configuration go besides the trail.

import type { Logger } from 'pino'
import { type CheckpointSink, openCheckpointSink } from '../audit/checkpoint-sink.ts'
import type { Config } from '../config/load.ts'
import { upstreamTrust } from '../tls/trust.ts'

/** Null: nowhere. `ownCertificatePem`: of our CA, which no receiver may show. */
export function checkpointSinkOf(config: Config, ownCertificatePem: string, log: Logger): CheckpointSink | null {
  const target = config.audit.checkpoints.sink
  if (target === null) return null
  return openCheckpointSink({
    target,
    ...(target === 'stdout' ? {} : { roots: upstreamTrust(['system'], ownCertificatePem).ca }),
    print: (text) => void process.stdout.write(text),
    onState: (failure) => {
      if (failure === null) log.warn('checkpoints are taken again')
      else log.error({ why: failure }, 'checkpoints are not taken where they are to be kept: they wait')
    },
  })
}
