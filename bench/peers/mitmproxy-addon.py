"""mitmproxy as the benchmark measures it: a policy by host and path, bodies streamed, one JSON line a request."""

import json
import os

from mitmproxy import http

HOST = ".bench.example"
PATHS = ("/v1/", "/large", "/upload", "/events")


class Policy:
    def load(self, loader):
        # Buffered: written when 64 KiB have gathered, as Squid's buffered_logs does.
        self.log = open(os.environ["ACCESS_LOG"], "a", buffering=65536)

    def requestheaders(self, flow: http.HTTPFlow):
        if not flow.request.pretty_host.endswith(HOST) or not flow.request.path.startswith(PATHS):
            flow.response = http.Response.make(403)
            return
        flow.request.stream = True

    def responseheaders(self, flow: http.HTTPFlow):
        flow.response.stream = True

    def response(self, flow: http.HTTPFlow):
        self.write(flow, flow.response.status_code)

    def error(self, flow: http.HTTPFlow):
        self.write(flow, None)

    def write(self, flow, status):
        record = {
            "time": flow.request.timestamp_start,
            "client": flow.client_conn.peername[0],
            "method": flow.request.method,
            "url": flow.request.pretty_url,
            "sni": flow.client_conn.sni,
            "status": status,
            "upstream": flow.server_conn.peername and flow.server_conn.peername[0],
        }
        self.log.write(json.dumps(record) + "\n")

    def done(self):
        self.log.close()


addons = [Policy()]
