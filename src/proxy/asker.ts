// Who asks: the credentials of a connection or of a request, and whether better ones would have helped.

import { soleValue } from '../core/http1.ts'
import { tokenClients } from '../core/identity.ts'
import { decide } from '../core/policy.ts'
import type { Reason } from '../core/refusal.ts'
import type { Asker } from '../core/revocation.ts'
import type { Subject } from '../core/rule.ts'
import type { Attempt } from './attempt.ts'
import type { Connection } from './connection.ts'
import type { IncomingRequest } from './message.ts'

/** Proxy credentials on a request are the client's word for this request; on CONNECT they were the word for all inside it. */
export function askerOf(connection: Connection, { head }: IncomingRequest): Asker {
  if (connection.client !== null) return connection
  return { source: connection.source, credentials: soleValue(head.headers, 'proxy-authorization') }
}

/** 407 in place of a denial where a token client's rule would allow: only a proxy request can still bring credentials. */
export function missesCredentials(connection: Connection, subject: Subject, reason: Reason, attempt: Attempt): boolean {
  if (connection.door !== 'absolute' || attempt.client.by === 'token' || reason !== 'no_matching_rule') return false
  const { policy, identity } = attempt.judgement
  return tokenClients(identity).some((client) => decide(policy, { ...subject, client }).kind !== 'denial')
}
