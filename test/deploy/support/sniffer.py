# Reads every frame on a bridge, from the host's own network namespace, and writes each new flow down as one JSON object a line;
# also listens on the host, where no workload may arrive. Arguments: the bridge, a port of the host, addresses that are not watched.
import json
import socket
import struct
import sys
import threading

interface, host_port, *unwatched = sys.argv[1:]
lock = threading.Lock()


def say(**record):
    with lock:
        print(json.dumps(record), flush=True)


def host_listener():
    server = socket.create_server(("0.0.0.0", int(host_port)))
    while True:
        connection, peer = server.accept()
        say(host=peer[0])
        connection.close()


def dns_name(data):
    labels, at = [], 12
    try:
        while data[at] and at < len(data):
            labels.append(data[at + 1 : at + 1 + data[at]].decode("latin1"))
            at += 1 + data[at]
    except IndexError:
        return None
    return ".".join(labels).lower()


def packet(kind, data):
    """(source, destination, protocol, payload) of an IP packet; None for what is neither v4 nor v6."""
    if kind == 0x0800 and len(data) >= 20:
        head = (data[0] & 15) * 4
        return socket.inet_ntop(socket.AF_INET, data[12:16]), socket.inet_ntop(socket.AF_INET, data[16:20]), data[9], data[head:]
    if kind == 0x86DD and len(data) >= 40:
        source, destination = (socket.inet_ntop(socket.AF_INET6, data[at : at + 16]) for at in (8, 24))
        protocol, rest = data[6], data[40:]
        if protocol == 0 and len(rest) >= 8:  # hop-by-hop options, before MLD
            protocol, rest = rest[0], rest[(rest[1] + 1) * 8 :]
        return source, destination, protocol, rest
    return None


def neighbour_discovery(protocol, payload):
    return protocol == 58 and payload[:1] and payload[0] in (133, 134, 135, 136, 143)


threading.Thread(target=host_listener, daemon=True).start()
raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
raw.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
raw.bind((interface, 0))
say(ready=True)
flows = set()
while True:
    frame = raw.recv(65_535)
    found = packet(struct.unpack("!H", frame[12:14])[0], frame[14:])
    if found is None:
        continue
    source, destination, protocol, payload = found
    ports = struct.unpack("!HH", payload[:4]) if protocol in (6, 17, 136) and len(payload) >= 4 else (None, None)
    if protocol == 17 and ports[1] == 9 and payload[8:15] == b"marker:":
        _, dropped = struct.unpack("II", raw.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
        say(marker=payload[8:].decode("latin1"), dropped=dropped)
        continue
    if source in unwatched or neighbour_discovery(protocol, payload):
        continue
    name = dns_name(payload[8:]) if protocol == 17 and ports[1] == 53 else None
    flow = (source, destination, protocol, ports[1], name)
    if flow not in flows:
        flows.add(flow)
        say(source=source, destination=destination, protocol=protocol, port=ports[1], name=name)
