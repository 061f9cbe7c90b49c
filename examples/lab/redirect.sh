#!/usr/bin/env bash
# The REDIRECT door of the lab: leads one user's traffic into the running proxy, asks twice as that user, and cleans up.
# Needs root, the proxy (npm start -- -c examples/lab/mcp-egress.yaml) and its origin (node examples/lab/origin.mjs --hosts).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

WORKLOAD=nobody
# Where the client believes api.lab.test to be (RFC 5737). Nothing listens there, and the proxy never dials it.
ELSEWHERE=192.0.2.10
CLI=(node dist/cli/main.js iptables)

stop() {
  echo "redirect.sh: $1" >&2
  exit 1
}

[[ $(id -u) == 0 ]] || stop "run it as root: netfilter rules are root's"
for tool in iptables ip ss setpriv curl; do
  command -v "$tool" > /dev/null || stop "$tool is not installed: apt-get install iptables iproute2 util-linux curl"
done
getent hosts api.lab.test > /dev/null || stop "api.lab.test has no address: node examples/lab/origin.mjs --hosts"
if iptables -S MCP_EGRESS_FILTER > /dev/null 2>&1; then
  stop "rules of mcp-egress are in force already, and the lab would replace them: mcp-egress iptables remove"
fi
pid=$(ss -Hltnp 'sport = :15001' | sed -n 's/.*pid=\([0-9]*\).*/\1/p' | head -n 1)
[[ -n $pid ]] || stop "nothing listens on port 15001: npm start -- -c examples/lab/mcp-egress.yaml"
proxy_uid=$(stat -c %u "/proc/$pid")

folder=$(mktemp -d)
cleanup() {
  "${CLI[@]}" remove > /dev/null || true
  ip addr del "$ELSEWHERE/32" dev lo 2> /dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT

# The workload may not be allowed to read this folder.
chmod 755 "$folder"
install -m 644 certs/ca.pem "$folder/ca.pem"
ip addr add "$ELSEWHERE/32" dev lo
"${CLI[@]}" apply -c examples/lab/mcp-egress.yaml --proxy-uid "$proxy_uid" --workload-uid "$WORKLOAD" --dns reject

for path in /hello /user/emails; do
  printf '\n$ curl https://api.lab.test:9443%s   (as %s, no proxy setting)\n' "$path" "$WORKLOAD"
  (cd "$folder" && setpriv --reuid "$WORKLOAD" --regid nogroup --clear-groups -- env -u HTTP_PROXY -u HTTPS_PROXY -u http_proxy -u https_proxy -u ALL_PROXY \
    curl --silent --show-error --include --max-time 10 --noproxy '*' --cacert ca.pem \
    --resolve "api.lab.test:9443:$ELSEWHERE" "https://api.lab.test:9443$path")
done
