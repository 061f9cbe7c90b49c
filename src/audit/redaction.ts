// The redactor in force: its key from disk, its secrets from the configuration, exchanged at a reload.

import { join } from 'node:path'
import { createRedactor, type Redactor, type Secrets } from '../core/redact.ts'
import { openRedactionKey } from './secret.ts'

export interface Redaction extends Redactor {
  /** From now on with these secrets, and the same key. */
  update(secrets: Secrets): void
}

/** `directory`: where the key is kept, and made at the first call. Throws an Error that says what to do for a key that can not be trusted. */
export function openRedaction(directory: string, secrets: Secrets): Redaction {
  const key = openRedactionKey(join(directory, 'redaction.key'))
  let current = createRedactor(key, secrets)
  return {
    path: (path) => current.path(path),
    query: (query) => current.query(query),
    headerValue: (name, value) => current.headerValue(name, value),
    name: (name) => current.name(name),
    text: (value) => current.text(value),
    sample: (text, limit, context, cut) => current.sample(text, limit, context, cut),
    fingerprint: (value) => current.fingerprint(value),
    update: (next) => {
      current = createRedactor(key, next)
    },
  }
}
