"""Speaks as reddit's baseplate.py does: json.dumps, one connection for each message, sockets with their family."""
import json
import os
import socket
import sys

assert os.getppid() == int(os.environ["EINHORN_MASTER_PID"]), "not a worker"

if "EINHORN_FD_COUNT" in os.environ:
    families = []
    for index in range(int(os.environ["EINHORN_FD_COUNT"])):
        family = getattr(socket, os.environ.get(f"EINHORN_FD_FAMILY_{index}", "AF_INET"))
        listener = socket.fromfd(int(os.environ[f"EINHORN_FD_{index}"]), family, socket.SOCK_STREAM)
        families.append([listener.family.name, listener.getsockname()])
    print(json.dumps(families))

if "EINHORN_SOCK_FD" in os.environ:
    connection = socket.socket(fileno=int(os.environ["EINHORN_SOCK_FD"]))
else:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(os.environ["EINHORN_SOCK_PATH"])


def send(message):
    connection.sendall((json.dumps(message) + "\n").encode())


mode, *arguments = sys.argv[1:]
if mode == "ack":
    send({"command": "worker:ack", "pid": os.getpid()})
    if "EINHORN_SOCK_FD" not in os.environ:
        print(json.dumps(connection.makefile().read()))
elif mode == "ping":
    send({"command": "worker:ping", "pid": os.getpid(), "request_id": "a 1"})
    print(json.dumps(connection.makefile().read()))
elif mode == "ask":
    send({"id": 7, "command": arguments[0], "args": arguments[1:]})
    for line in connection.makefile():
        reply = json.loads(line)
        print(json.dumps(reply))
        if not reply.get("wait"):
            break
