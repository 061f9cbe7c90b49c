// The file of learned shapes in the life of the proxy: read where a rule looks at shapes, and said loudly where it can not be written.

import type { Logger } from 'pino'
import type { Config } from '../config/load.ts'
import type { Redactor } from '../core/redact.ts'
import { ShapeStore } from '../proxy/shape-store.ts'

/** Throws what is wrong with the file. */
export function openShapes(config: Config, redactor: Pick<Redactor, 'text'>, log: Logger): ShapeStore {
  const shapes = new ShapeStore({
    isSecret: (member) => redactor.text(member) !== member,
    onFailure: (error) => log.error({ err: error }, 'learned shapes can not be written: a restart would forget them'),
    onRestored: () => log.warn('learned shapes can be written again'),
    onFull: (rule) => log.warn(`rule ${rule} has no room for more members: what else is new is not learned`),
  })
  rereadShapes(shapes, config)()
  return shapes
}

/** What the file says now, in force once the result is called. Throws what is wrong with it. */
export function rereadShapes(shapes: ShapeStore, { policy, shapesPath }: Config): () => void {
  const looks = [...policy.rules.values()].some(({ inspection }) => inspection !== null && inspection.shape !== null)
  return looks ? shapes.reread(shapesPath) : () => undefined
}

export function shapeWarnings({ failing }: ShapeStore): readonly string[] {
  return failing ? ['learned shapes can not be written'] : []
}
