# The Internet of a container test: an origin (TLS on 443), a resolver (53) and a neighbour (8080) that write down everything
# they are asked, one JSON object a line. Certificate and key: /witness/origin.pem and /witness/origin.key.
import json
import os
import socket
import ssl
import struct
import threading

NAME = "api.lab.test"
ADDRESS = os.environ["WITNESS4"]
lock = threading.Lock()


def say(**record):
    with lock:
        print(json.dumps(record), flush=True)


def serve(kind, address, port, each):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family, kind)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, port))
    if kind == socket.SOCK_STREAM:
        server.listen(64)

    def run():
        while True:
            if kind == socket.SOCK_STREAM:
                connection, peer = server.accept()
                connection.settimeout(5)
                threading.Thread(target=guarded, args=(each, connection, peer[0]), daemon=True).start()
            else:
                data, peer = server.recvfrom(4096)
                guarded(lambda s, p: each(s, data, p), server, peer)

    threading.Thread(target=run, daemon=True).start()


def guarded(each, connection, peer):
    try:
        each(connection, peer)
    except (OSError, ValueError, IndexError, struct.error) as error:
        say(failed=str(error), source=peer if isinstance(peer, str) else peer[0])


def origin(connection, peer):
    seen = {}

    def named(_socket, name, _context):
        seen["sni"] = name

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("/witness/origin.pem", "/witness/origin.key")
    context.sni_callback = named
    try:
        with context.wrap_socket(connection, server_side=True) as tls:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    more = tls.recv(4096)
                    if not more:
                        return
                    head += more
                say(origin=head.split(b"\r\n", 1)[0].decode("latin1"), sni=seen.get("sni"), source=peer)
                body = b"hello from the origin\n"
                tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    except TimeoutError:
        return  # a connection that is kept for the next request
    except ssl.SSLError as error:
        say(origin_refused=str(error), sni=seen.get("sni"), source=peer)


def question(message):
    labels, at = [], 12
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode("latin1"))
        at += 1 + message[at]
    return ".".join(labels), struct.unpack("!H", message[at + 1 : at + 3])[0], at + 5


def answer(message, peer):
    name, kind, end = question(message)
    say(question=name.lower(), type=kind, source=peer)
    found = name.lower() == NAME
    data = b""
    if found and kind == 1:
        data = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton(ADDRESS)
    flags = 0x8180 if found else 0x8183
    return message[:2] + struct.pack("!HHHHH", flags, 1, 1 if data else 0, 0, 0) + message[12:end] + data


def resolver_datagram(server, data, peer):
    server.sendto(answer(data, peer[0]), peer)


def resolver_stream(connection, peer):
    with connection:
        (length,) = struct.unpack("!H", connection.recv(2))
        reply = answer(connection.recv(length), peer)
        connection.sendall(struct.pack("!H", len(reply)) + reply)


def neighbour(connection, peer):
    with connection:
        say(neighbour=connection.recv(256).decode("latin1"), source=peer)


for any_address in ("0.0.0.0", "::"):
    serve(socket.SOCK_STREAM, any_address, 443, origin)
    serve(socket.SOCK_STREAM, any_address, 8080, neighbour)
    serve(socket.SOCK_STREAM, any_address, 53, resolver_stream)
    serve(socket.SOCK_DGRAM, any_address, 53, resolver_datagram)
say(ready=True)
threading.Event().wait()
