// Requests as events of the Open Cybersecurity Schema Framework: HTTP Activity (4002) with the profile security_control.

import type { TrailRecord } from '../audit/read.ts'
import { numberOr } from './audit-har.ts'
import { clientName, member, urlOf } from './audit-text.ts'
import { VERSION } from './version.ts'

const OCSF_VERSION = '1.5.0'
const CLASS_UID = 4002
const CATEGORY_UID = 4
const OTHER = 99

/** `activity_id` of http_activity. */
const ACTIVITIES: ReadonlyMap<unknown, readonly [id: number, name: string]> = new Map([
  ['CONNECT', [1, 'Connect']],
  ['DELETE', [2, 'Delete']],
  ['GET', [3, 'Get']],
  ['HEAD', [4, 'Head']],
  ['OPTIONS', [5, 'Options']],
  ['POST', [6, 'Post']],
  ['PUT', [7, 'Put']],
  ['TRACE', [8, 'Trace']],
])

type Json = Record<string, unknown>

export function ocsfEvent(decided: TrailRecord, completed: TrailRecord | null): Json {
  const { method, host, port, path, query, scheme, rule, reason, policy } = decided
  const [activity, activityName] =
    ACTIVITIES.get(method) ?? (typeof method === 'string' ? [OTHER, method] : [0, 'Unknown'])
  const status = completed?.['status']
  const time = Date.parse(String(decided['timestamp']))
  const duration = completed?.['duration_ms']
  return {
    class_uid: CLASS_UID,
    class_name: 'HTTP Activity',
    category_uid: CATEGORY_UID,
    category_name: 'Network Activity',
    activity_id: activity,
    activity_name: activityName,
    type_uid: CLASS_UID * 100 + activity,
    type_name: `HTTP Activity: ${activityName}`,
    time,
    ...(typeof duration === 'number'
      ? { duration: Math.round(duration), start_time: time, end_time: time + Math.round(duration) }
      : {}),
    ...severity(decided),
    ...outcome(decided, completed),
    ...(typeof status === 'number' ? { status_code: String(status) } : {}),
    ...given({ status_detail: completed?.['reason'] ?? reason }),
    metadata: {
      version: OCSF_VERSION,
      product: { name: 'mcp-egress', vendor_name: 'mcp-egress', version: VERSION },
      profiles: ['security_control'],
      uid: decided['hash'],
      correlation_uid: decided['request_id'],
      log_name: decided['instance'],
      log_version: decided['schema'],
      sequence: decided['seq'],
      original_time: decided['timestamp'],
    },
    http_request: {
      uid: decided['request_id'],
      ...given({ http_method: method, version: decided['protocol'] }),
      ...(completed === null ? {} : given({ body_length: completed['bytes_sent'] })),
      url: {
        url_string: urlOf(decided),
        ...given({ scheme, hostname: host, port, path, query_string: query }),
      },
    },
    ...(typeof status === 'number'
      ? { http_response: { code: status, ...given({ body_length: completed?.['bytes_received'] }) } }
      : {}),
    src_endpoint: given({ name: clientName(decided), ip: member(decided, 'client', 'source') }),
    ...destination(decided, completed),
    ...(completed === null ? {} : { traffic: traffic(completed) }),
    ...(typeof rule === 'string' ? { firewall_rule: { uid: rule } } : {}),
    ...(typeof policy === 'string' ? { policy: { uid: policy } } : {}),
    unmapped: unmapped(decided, completed),
  }
}

function severity(decided: TrailRecord): Json {
  return decided['decision'] === 'deny'
    ? { severity_id: 2, severity: 'Low' }
    : { severity_id: 1, severity: 'Informational' }
}

/** What mcp-egress did is the action; how the request ended is the status. */
function outcome(decided: TrailRecord, completed: TrailRecord | null): Json {
  const refused = completed?.['outcome'] === 'refused'
  const denied = decided['decision'] === 'deny'
  const action =
    denied && decided['enforced'] === false
      ? { action_id: 3, action: 'Observed', disposition_id: 15, disposition: 'Detected' }
      : denied || refused
        ? { action_id: 2, action: 'Denied', disposition_id: 2, disposition: 'Blocked' }
        : { action_id: 1, action: 'Allowed', disposition_id: 1, disposition: 'Allowed' }
  if (completed === null) return { ...action, status_id: 0, status: 'Unknown' }
  const success = completed['outcome'] === 'completed'
  return { ...action, status_id: success ? 1 : 2, status: success ? 'Success' : 'Failure' }
}

/** The address is the one that was dialled; without one, that of the client's own connection is not the destination. */
function destination(decided: TrailRecord, completed: TrailRecord | null): Json {
  const upstream = completed?.['upstream_address']
  const ip = typeof upstream === 'string' ? upstream.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1') : undefined
  const endpoint = given({ hostname: decided['host'], port: decided['port'], ip })
  return endpoint['hostname'] === undefined && ip === undefined ? {} : { dst_endpoint: endpoint }
}

function traffic(completed: TrailRecord): Json {
  const [sent, received] = [numberOr(completed['bytes_sent'], 0), numberOr(completed['bytes_received'], 0)]
  return { bytes_out: sent, bytes_in: received, bytes: sent + received }
}

function unmapped(decided: TrailRecord, completed: TrailRecord | null): Json {
  const {
    door,
    mode,
    enforced,
    sni,
    names,
    original_destination,
    mcp,
    graphql,
    security_flags,
    connection_id,
    truncated,
    prev_hash,
  } = decided
  const own = {
    decision: decided['decision'],
    reason: decided['reason'],
    door,
    mode,
    enforced,
    sni,
    names,
    original_destination,
    mcp,
    graphql,
  }
  const end =
    completed === null
      ? {}
      : {
          outcome: completed['outcome'],
          end_reason: completed['reason'],
          timings: completed['timings'],
          end_hash: completed['hash'],
        }
  return given({ ...own, security_flags, connection_id, truncated, prev_hash, ...end })
}

/** Without what is null or missing. */
function given(members: Json): Json {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== null && value !== undefined))
}
