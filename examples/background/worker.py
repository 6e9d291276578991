"""A worker without a socket: takes jobs from a directory, one at a time, and finishes the one it has when told to stop."""

import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path

if os.environ.get("EINHORN_MASTER_PID") != str(os.getppid()):
    sys.exit("Start me under einhorn: einhorn -m manual -n 2 python3 worker.py DIRECTORY")

jobs = Path(sys.argv[1])
stopping = False


def finish(*_):
    global stopping
    stopping = True


# SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's.
for number in (signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
    signal.signal(number, finish)


def take():
    """Claims a job by renaming it, which only one worker can do; None when there is none."""
    for waiting in sorted(jobs.glob("*.todo")):
        claimed = waiting.with_suffix(f".doing-{os.getpid()}")
        try:
            return waiting.rename(claimed)
        except FileNotFoundError:
            continue  # another worker was faster
    return None


# Ready: from now on the master may retire an older worker. One line of JSON, no reply.
with socket.socket(socket.AF_UNIX) as master:
    master.connect(re.sub("^@", "\0", os.environ["EINHORN_SOCK_PATH"]))  # "@name" is an abstract socket
    master.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")

while not stopping:
    job = take()
    if job is None:
        time.sleep(0.1)  # a signal ends the wait of this worker only
        continue
    started = time.monotonic()
    while time.monotonic() - started < 0.05:  # the work: signals do not cut it short
        time.sleep(0.01)
    done = {"job": job.name.split(".")[0], "generation": os.environ["EINHORN_GENERATION"], "pid": os.getpid()}
    job.with_suffix(".tmp").write_text(json.dumps(done))
    job.with_suffix(".tmp").rename(job.with_suffix(".done"))
    job.unlink()
