// The redactor in force: its key from disk, its secrets from the configuration, exchanged at a reload.

import { join } from 'node:path'
import { createRedactor, type Redactor, type Secrets } from '../core/redact.ts'
import { openRedactionKey } from './secret.ts'

export interface Redaction extends Redactor {
  /** From now on with these secrets, and the same key. Of those before, values are still looked for. */
  update(secrets: Secrets): void
}

/** Values that are secrets no more, of this many the last ones. */
const MAX_FORMER = 256

/** `directory`: where the key is kept, and made at the first call. Throws an Error that says what to do for a key that can not be trusted. */
export function openRedaction(directory: string, secrets: Secrets): Redaction {
  const key = openRedactionKey(join(directory, 'redaction.key'))
  let current = createRedactor(key, secrets)
  let values = secrets.values ?? []
  return {
    path: (path) => current.path(path),
    query: (query) => current.query(query),
    headerValue: (name, value) => current.headerValue(name, value),
    name: (name) => current.name(name),
    text: (value) => current.text(value),
    sample: (text, limit, context, cut) => current.sample(text, limit, context, cut),
    fingerprint: (value) => current.fingerprint(value),
    update: (next) => {
      const own = next.values ?? []
      // SECURITY: what began before a reload may still say a value that it has replaced, and so may the answer to it.
      values = [...new Set([...own, ...values])].slice(0, own.length + MAX_FORMER)
      current = createRedactor(key, { ...next, values })
    },
  }
}
