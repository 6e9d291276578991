"""The C worker's part in gunicorn: stamps when a worker has loaded it, answers with the pid."""

import os
import struct
import time

with open(os.environ["BENCH_STAMP"], "ab", buffering=0) as stamps:
    for kind in (1, 2):
        stamps.write(struct.pack("<QII", time.monotonic_ns(), os.getpid(), kind))


def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "11")])
    return [b"%010d\n" % os.getpid()]
