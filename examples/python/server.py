"""http.server from the standard library, threaded and with keep-alive, as a worker of einhorn."""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import einhorn_worker

if not einhorn_worker.is_worker():
    sys.exit("Start me under einhorn: einhorn -m manual -b 127.0.0.1:8080 python3 server.py")

stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes
    timeout = 5  # seconds that a kept connection may be idle: bounds the graceful stop too

    def do_GET(self):
        generation, slot = os.environ["EINHORN_GENERATION"], os.environ["EINHORN_CHILD_INDEX"]
        body = f"python generation={generation} slot={slot} pid={os.getpid()}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        if stopping.is_set():  # one more answer, then the client opens its next connection to our successor
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for the answers under way


server = Server(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = einhorn_worker.listener(0)
# All workers wait for the same socket: another may have been faster, so accepting must not block.
server.socket.setblocking(False)


def finish():
    stopping.set()
    threading.Thread(target=server.shutdown).start()  # shutdown() waits for the loop that this signal interrupted


einhorn_worker.on_graceful_stop(finish)
einhorn_worker.ack()
server.serve_forever(poll_interval=0.1)
server.server_close()
