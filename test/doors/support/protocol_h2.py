"""The library h2 over a socket: every request is begun before any is ended; prints what it got, and how the session ended.

protocol_h2.py URL COUNT; SSL_CERT_FILE is trusted, HTTPS_PROXY is gone through with CONNECT
"""

import json
import os
import socket
import ssl
import sys
from urllib.parse import urlsplit

import h2.connection
import h2.events

url = urlsplit(sys.argv[1])
count = int(sys.argv[2])
host, port = url.hostname or "", url.port or 443


def connect() -> socket.socket:
    proxy = os.environ.get("HTTPS_PROXY")
    if not proxy:
        return socket.create_connection((host, port), 20)
    at = urlsplit(proxy)
    tunnel = socket.create_connection((at.hostname, at.port), 20)
    tunnel.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += tunnel.recv(4096)
    assert head.startswith(b"HTTP/1.1 200"), head
    return tunnel


context = ssl.create_default_context()
context.set_alpn_protocols(["h2"])
wire = context.wrap_socket(connect(), server_hostname=host)
version = wire.selected_alpn_protocol()
session = h2.connection.H2Connection()
session.initiate_connection()
for number in range(count):
    stream = session.get_next_available_stream_id()
    fields = [(":method", "POST"), (":scheme", "https"), (":authority", f"{host}:{port}"), (":path", url.path)]
    session.send_headers(stream, fields)
answers = {
    1 + 2 * number: {"status": 0, "body": "", "ended": False} for number in range(count)
}
for stream in answers:
    session.send_data(stream, f"request {stream // 2}".encode(), end_stream=True)
wire.sendall(session.data_to_send())
while not all(answer["ended"] for answer in answers.values()):
    data = wire.recv(65536)
    assert data, "the proxy closed the connection"
    for event in session.receive_data(data):
        if isinstance(event, h2.events.ResponseReceived):
            answers[event.stream_id]["status"] = int(dict(event.headers)[b":status"])
        elif isinstance(event, h2.events.DataReceived):
            answers[event.stream_id]["body"] += event.data.decode()
            session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answers[event.stream_id]["ended"] = True
        elif isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)):
            raise SystemExit(f"broken off: {event}")
    wire.sendall(session.data_to_send())
session.close_connection()
wire.sendall(session.data_to_send())
wire.close()
print(json.dumps({"version": version, "answers": list(answers.values())}))
