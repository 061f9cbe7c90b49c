// The closed list of reasons for which something does not leave or does not come back, and what each answers.

/** Every reason of CONTRACT §3. A reason that is not here does not exist: records, answers and metrics share the list. */
export type Reason =
  | 'malformed'
  | 'path_not_canonical'
  | 'host_not_canonical'
  | 'no_matching_rule'
  | 'denied_by_rule'
  | 'body_rule'
  | 'address_denied'
  | 'self'
  | 'upgrade_denied'
  | 'override_header'
  | 'proxy_auth'
  | 'client_timeout'
  | 'request_too_large'
  | 'expectation'
  | 'identity_mismatch'
  | 'rate_limited'
  | 'header_too_large'
  | 'upstream_tls'
  | 'upstream_unreachable'
  | 'upstream_malformed'
  | 'response_too_large'
  | 'dns_failed'
  | 'upstream_timeout'
  | 'audit_unavailable'
  | 'shutting_down'
  | 'overloaded'
  | 'tls_rejected'
  | 'client_aborted'
  | 'policy_revoked'

/** What one reason answers: an HTTP status (null: no answer can be given) and the RFC 9209 error type. */
export interface Refusal {
  readonly status: number | null
  readonly proxyError: string
  readonly summary: string
}

const refusal = (status: number | null, proxyError: string, summary: string): Refusal => ({
  status,
  proxyError,
  summary,
})

/** The one table (CONTRACT §3, RFC 9209 §2.3). */
export const REFUSALS: Readonly<Record<Reason, Refusal>> = {
  malformed: refusal(400, 'http_request_error', 'the bytes are not a valid HTTP request'),
  path_not_canonical: refusal(400, 'http_request_error', 'the path has more than one reading'),
  host_not_canonical: refusal(400, 'http_request_error', 'the host is not a canonical name or address'),
  no_matching_rule: refusal(403, 'http_request_denied', 'no rule allows this request'),
  denied_by_rule: refusal(403, 'http_request_denied', 'a rule denies this request'),
  body_rule: refusal(403, 'http_request_denied', 'the body does not meet the conditions of the rule'),
  address_denied: refusal(403, 'destination_ip_prohibited', 'the address of the destination is forbidden'),
  self: refusal(403, 'proxy_loop_detected', 'the destination is the proxy itself'),
  upgrade_denied: refusal(403, 'http_request_denied', 'no rule allows this protocol upgrade'),
  override_header: refusal(403, 'http_request_denied', 'a header overrides the method or path that was judged'),
  proxy_auth: refusal(407, 'http_request_denied', 'proxy credentials are missing or wrong'),
  client_timeout: refusal(408, 'http_request_error', 'the request did not arrive in time'),
  request_too_large: refusal(413, 'http_request_error', 'the request body is over the limit'),
  expectation: refusal(417, 'http_request_error', 'the expectation is not known'),
  identity_mismatch: refusal(421, 'http_request_error', 'the names of the destination disagree'),
  rate_limited: refusal(429, 'http_request_denied', 'the rate limit of the rule is used up'),
  header_too_large: refusal(431, 'http_request_error', 'the request head is over the limit'),
  upstream_tls: refusal(502, 'tls_certificate_error', 'the certificate of the destination was not accepted'),
  upstream_unreachable: refusal(502, 'destination_unavailable', 'the destination could not be reached'),
  upstream_malformed: refusal(502, 'http_protocol_error', 'the answer of the destination is not valid HTTP'),
  response_too_large: refusal(502, 'http_response_body_size', 'the response body is over the limit'),
  dns_failed: refusal(502, 'dns_error', 'the name of the destination could not be resolved'),
  upstream_timeout: refusal(504, 'http_response_timeout', 'the destination did not answer in time'),
  audit_unavailable: refusal(503, 'proxy_internal_error', 'the request could not be recorded, so it was not sent'),
  shutting_down: refusal(503, 'proxy_internal_error', 'the proxy is shutting down'),
  overloaded: refusal(503, 'connection_limit_reached', 'the proxy is at its connection limit'),
  tls_rejected: refusal(null, 'tls_protocol_error', 'the TLS handshake with the client failed'),
  client_aborted: refusal(null, 'connection_terminated', 'the client went away'),
  policy_revoked: refusal(null, 'connection_terminated', 'a changed policy no longer allows this'),
}
