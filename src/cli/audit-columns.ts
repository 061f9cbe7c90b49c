// What a request is in a table: the columns of the view `requests` and of the exports to CSV and Parquet.

import type { TrailRecord } from '../audit/read.ts'
import { member } from './audit-text.ts'

export interface Column {
  readonly name: string
  /** In DuckDB. */
  readonly type: 'VARCHAR' | 'VARCHAR[]' | 'BOOLEAN' | 'INTEGER' | 'BIGINT' | 'DOUBLE' | 'TIMESTAMP'
  /** In SQL, of the decision `d` and the end `e`. */
  readonly sql: string
  readonly value: (decided: TrailRecord, completed: TrailRecord | null) => unknown
}

function ofDecision(name: string, type: Column['type'] = 'VARCHAR'): Column {
  return { name, type, sql: `d."${name}"`, value: (decided) => decided[name] }
}

function ofEnd(name: string, type: Column['type'] = 'VARCHAR', as: string = name): Column {
  return { name: as, type, sql: `e."${name}"`, value: (_, completed) => completed?.[name] }
}

function timing(name: string): Column {
  const value: Column['value'] = (_, completed) => (completed === null ? null : member(completed, 'timings', name))
  return { name: `${name}_ms`, type: 'DOUBLE', sql: `e.timings.${name}`, value }
}

export const COLUMNS: readonly Column[] = [
  ofDecision('timestamp', 'TIMESTAMP'),
  ofDecision('request_id'),
  ofDecision('connection_id'),
  ofDecision('door'),
  { name: 'client', type: 'VARCHAR', sql: 'd.client.name', value: (decided) => member(decided, 'client', 'name') },
  { name: 'source', type: 'VARCHAR', sql: 'd.client.source', value: (decided) => member(decided, 'client', 'source') },
  ofDecision('decision'),
  ofDecision('enforced', 'BOOLEAN'),
  ofDecision('rule'),
  ofDecision('reason'),
  ofDecision('mode'),
  ofDecision('policy'),
  ofDecision('method'),
  ofDecision('scheme'),
  ofDecision('host'),
  ofDecision('port', 'INTEGER'),
  ofDecision('path'),
  ofDecision('query'),
  ofDecision('protocol'),
  ofDecision('sni'),
  ofDecision('original_destination'),
  ofDecision('security_flags', 'VARCHAR[]'),
  ofEnd('outcome'),
  ofEnd('reason', 'VARCHAR', 'end_reason'),
  ofEnd('status', 'INTEGER'),
  ofEnd('grpc_status', 'INTEGER'),
  ofEnd('upstream_address'),
  ofEnd('bytes_sent', 'BIGINT'),
  ofEnd('bytes_received', 'BIGINT'),
  ofEnd('duration_ms', 'DOUBLE'),
  timing('dns'),
  timing('connect'),
  timing('tls'),
  timing('first_byte'),
  ofDecision('instance'),
  ofDecision('seq', 'BIGINT'),
  ofDecision('hash'),
]
