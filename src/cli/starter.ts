// The configuration that `mcp-egress init` writes.

/** Valid as it stands, and default deny: every rule in it is a comment. Its own texts show how to go on. */
export const STARTER = `# mcp-egress: what may leave, and who says so. Every key: docs/configuration.md
# Check this file: mcp-egress validate-config      Ask it: mcp-egress explain GET https://api.example.com/
version: 1

# enforce: what no rule allows is refused.  observe: it is forwarded, and recorded as refused.
mode: enforce

listen:
  proxy: 127.0.0.1:3128                             # for HTTP_PROXY and HTTPS_PROXY
  transparent: ["127.0.0.1:15001", "[::1]:15001"]   # where mcp-egress iptables redirects to
  admin: 127.0.0.1:9901                             # health, metrics

ca:
  directory: certs                                  # ca.pem is for the workload; private/ never leaves this machine

# Who asks. A request of no client named here is \`anonymous\`.
# clients:
#   - name: my-server
#     source: [127.0.0.1]                           # by address, or
#   - name: other-server
#     token: \${OTHER_SERVER_TOKEN}                  # by proxy credentials; secrets never stand in this file

# What may leave. Without a rule: nothing. deny > passthrough > allow; the order has no meaning.
# rules:
#   - id: read-api
#     allow: { hosts: [api.example.com], methods: [GET, HEAD], paths: ["/v1/**"] }
#     rate: { requests: 60, per: minute }
#   - id: never-delete
#     deny: { hosts: ["**.example.com"], methods: [DELETE] }

upstream:
  trust: [system]                                   # add PEM files for private CAs
  deny: [metadata, loopback, link-local, private]   # where a name may never lead

audit:
  path: logs/audit.jsonl
  durability: os                                    # sync: survives power loss too

# What the rules above must mean: mcp-egress test
# tests:
#   - { request: "GET https://api.example.com/v1/items", expect: allow, rule: read-api }
#   - { request: "DELETE https://api.example.com/v1/items", expect: deny, rule: never-delete }
`
