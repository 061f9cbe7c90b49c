import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { REFUSALS } from '../../src/core/refusal.ts'

/** The table of the public contract: status by reason; null is "no answer". */
const CONTRACT: Record<string, number | null> = {
  malformed: 400,
  path_not_canonical: 400,
  host_not_canonical: 400,
  no_matching_rule: 403,
  denied_by_rule: 403,
  body_rule: 403,
  address_denied: 403,
  self: 403,
  upgrade_denied: 403,
  override_header: 403,
  proxy_auth: 407,
  client_timeout: 408,
  request_too_large: 413,
  expectation: 417,
  identity_mismatch: 421,
  rate_limited: 429,
  header_too_large: 431,
  upstream_tls: 502,
  upstream_unreachable: 502,
  upstream_malformed: 502,
  response_too_large: 502,
  dns_failed: 502,
  upstream_timeout: 504,
  audit_unavailable: 503,
  shutting_down: 503,
  overloaded: 503,
  tls_rejected: null,
  client_aborted: null,
  policy_revoked: null,
}

/** RFC 9209 §2.3, the error types it registers. */
const PROXY_ERRORS = new Set(
  `dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited
  destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout
  connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received
  http_request_error http_request_denied http_response_incomplete http_response_header_section_size
  http_response_header_size http_response_body_size http_response_trailer_section_size http_response_trailer_size
  http_response_transfer_coding http_response_content_coding http_response_timeout http_upgrade_failed
  http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected`
    .trim()
    .split(/\s+/),
)

describe('the closed list of reasons', () => {
  it('is the one of the contract, with its statuses', () => {
    expect(Object.fromEntries(Object.entries(REFUSALS).map(([reason, { status }]) => [reason, status]))).toEqual(
      CONTRACT,
    )
  })

  it.each(Object.entries(REFUSALS))('%s has a registered error type and a summary', (_reason, refusal) => {
    expect(PROXY_ERRORS).toContain(refusal.proxyError)
    expect(refusal.summary).toMatch(/^the |^no |^a |^proxy /)
  })

  it.each(Object.keys(REFUSALS))('%s is documented', (reason) => {
    const page = readFileSync(new URL('../../docs/refusals.md', import.meta.url), 'utf8')
    expect(page).toContain(`\`${reason}\``)
  })
})
