import { describe, expect, it } from 'vitest'
import { createMetrics } from '../../src/audit/metrics.ts'

const decided = { decision: 'deny', reason: 'no_matching_rule', client: 'github-mcp' } as const

describe('createMetrics', () => {
  it('counts decisions by decision, reason and client', async () => {
    const metrics = createMetrics({ version: '1.2.3', clients: ['github-mcp'] })
    metrics.decided(decided)
    metrics.decided(decided)
    metrics.decided({ decision: 'allow', reason: null, client: 'anonymous' })
    const text = await metrics.text()
    expect(text).toContain('mcp_egress_requests_total{decision="deny",reason="no_matching_rule",client="github-mcp"} 2')
    expect(text).toContain('mcp_egress_requests_total{decision="allow",reason="none",client="anonymous"} 1')
    expect(text).toContain(`mcp_egress_build_info{version="1.2.3",node_version="${process.versions.node}"} 1`)
    expect(metrics.contentType).toMatch(/^text\/plain/)
  })

  it('says where each sink stands', async () => {
    const metrics = createMetrics()
    const siem = { name: 'siem', lag: 7, lastSuccess: 1_500, errors: 2, rejected: 1, missed: 3 }
    metrics.sinks([{ ...siem, errors: 1 }])
    metrics.sinks([siem, { name: 'new', lag: 0, lastSuccess: null, errors: 0, rejected: 0, missed: 0 }])
    const lines = (await metrics.text()).split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        'mcp_egress_sink_lag_records{sink="siem"} 7',
        'mcp_egress_sink_last_success_timestamp{sink="siem"} 1.5',
        'mcp_egress_sink_errors_total{sink="siem"} 2',
        'mcp_egress_sink_rejected_total{sink="siem"} 1',
        'mcp_egress_sink_missed_total{sink="siem"} 3',
        'mcp_egress_sink_lag_records{sink="new"} 0',
      ]),
    )
    expect(lines.filter((line) => line.startsWith('mcp_egress_sink_last_success_timestamp{sink="new"'))).toEqual([])
  })

  it('a name that is not configured never becomes a label', async () => {
    const metrics = createMetrics({ clients: ['a'] })
    for (let at = 0; at < 100; at++) metrics.decided({ ...decided, client: `made-up-${at}` })
    metrics.setClients(['b'])
    metrics.decided({ ...decided, client: 'a' })
    metrics.decided({ ...decided, client: 'b' })
    const text = await metrics.text()
    expect(text).not.toContain('made-up')
    expect(text).toContain('client="anonymous"} 101')
    expect(text).toContain('client="b"} 1')
  })

  it('observes the ends of requests', async () => {
    const metrics = createMetrics()
    metrics.completed({ durationMs: 80, bytesSent: 300, bytesReceived: 5_000 })
    const text = await metrics.text()
    expect(text).toContain('mcp_egress_request_duration_seconds_bucket{le="0.05"} 0')
    expect(text).toContain('mcp_egress_request_duration_seconds_bucket{le="0.1"} 1')
    expect(text).toContain('mcp_egress_request_bytes_sum 300')
    expect(text).toContain('mcp_egress_response_bytes_sum 5000')
  })

  it('follows connections, handshakes, the leaf cache and the trail', async () => {
    const metrics = createMetrics()
    metrics.connectionOpened('transparent')
    metrics.connectionOpened('transparent')
    metrics.connectionClosed('transparent')
    metrics.connectionRefused()
    metrics.connectionSilent('connect')
    metrics.revoked()
    metrics.tlsRejected('certificate_rejected')
    metrics.leafCache({ hits: 3, misses: 1, size: 1 })
    metrics.leafCache({ hits: 7, misses: 2 })
    metrics.recorded(5)
    metrics.unrecorded()
    const lines = (await metrics.text()).split('\n')
    expect(lines).toEqual(
      expect.arrayContaining([
        'mcp_egress_connections{door="transparent"} 1',
        'mcp_egress_connections_refused_total 1',
        'mcp_egress_connections_silent_total{door="connect"} 1',
        'mcp_egress_revoked_total 1',
        'mcp_egress_tls_rejected_total{cause="certificate_rejected"} 1',
        'mcp_egress_leaf_cache_hits 7',
        'mcp_egress_leaf_cache_misses 2',
        'mcp_egress_leaf_cache_size 1',
        'mcp_egress_audit_records_total 5',
        'mcp_egress_audit_failures_total 1',
      ]),
    )
  })

  it('two of them share nothing', async () => {
    createMetrics().recorded(5)
    expect(await createMetrics().text()).toContain('mcp_egress_audit_records_total 0')
  })
})
