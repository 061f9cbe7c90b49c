# Does what systemd does for a socket unit: opens sockets as root, gives root up, and becomes the command, which inherits them.
#
# argv[1]  {"uid":N,"sockets":[{"name","host","port","transparent"}],"command":[…]}
import fcntl
import json
import os
import socket
import sys

SOL_IP, IP_TRANSPARENT = 0, 19
SOL_IPV6, IPV6_TRANSPARENT = 41, 75
FIRST_FD = 3
OUT_OF_THE_WAY = 100

spec = json.loads(sys.argv[1])
held = []
for wanted in spec["sockets"]:
    v6 = ":" in wanted["host"]
    one = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if v6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if wanted["transparent"]:
        one.setsockopt(*((SOL_IPV6, IPV6_TRANSPARENT, 1) if v6 else (SOL_IP, IP_TRANSPARENT, 1)))
    one.bind((wanted["host"], wanted["port"]))
    one.listen(128)
    held.append(fcntl.fcntl(one.fileno(), fcntl.F_DUPFD, OUT_OF_THE_WAY))
for index, fd in enumerate(held):
    os.dup2(fd, FIRST_FD + index, inheritable=True)
    os.close(fd)
os.setgroups([])
os.setgid(spec["uid"])
os.setuid(spec["uid"])
names = ":".join(wanted["name"] for wanted in spec["sockets"])
environment = {**os.environ, "LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(held)), "LISTEN_FDNAMES": names}
os.execve(spec["command"][0], spec["command"], environment)
