"""The worker's side of einhorn: who am I, which socket is mine, I am ready, tell me when to finish. Standard library only."""

import json
import os
import re
import signal
import socket


def is_worker() -> bool:
    """The master's pid must be our parent's: a program started by a worker inherits the variables but is no worker."""
    return os.environ.get("EINHORN_MASTER_PID") == str(os.getppid())


def listener(number: int = 0) -> socket.socket:
    """The nth `-b`, counted from 0; the family is read from the descriptor."""
    return socket.socket(fileno=int(os.environ[f"EINHORN_FD_{number}"]))


def ack() -> None:
    """Ready: from now on the master may retire an older worker. One line of JSON, no reply."""
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(re.sub("^@", "\0", os.environ["EINHORN_SOCK_PATH"]))  # "@name" is an abstract socket
        master.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")


def on_graceful_stop(finish) -> None:
    """SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's."""
    for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: finish())
