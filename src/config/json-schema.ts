// The published JSON Schema of the configuration file, for editors: the shape alone, as it is written.

import { z } from 'zod'
import { configSchema } from './schema.ts'

/** JSON Schema 2020-12. It says what a file may look like; only loading it says whether it holds. */
export function configJsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input', target: 'draft-2020-12' })
}
