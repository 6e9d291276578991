"""A server whose start is slow and whose data are large: loaded once per generation, shared by all workers."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# Stands for a model, an index, a framework: what is made here is made once, in the zygote, and shared by the workers.
INDEX = os.urandom(int(os.environ.get("INDEX_MIB", "50")) << 20)

stopping = threading.Event()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 5  # seconds that a kept connection may be idle: bounds the graceful stop too

    def do_GET(self):
        body = f"python generation={os.environ['EINHORN_GENERATION']} pid={os.getpid()} index={len(INDEX)}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        if stopping.is_set():  # one more answer, then the client opens its next connection to our successor
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for the answers under way


def einhorn_main():
    """One worker. Sockets, signal handlers, threads and connections to others begin here, never above."""
    server = Server(("", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))
    server.socket.setblocking(False)  # another worker may have accepted what woke us

    def finish(*_):
        stopping.set()
        threading.Thread(target=server.shutdown).start()  # shutdown() waits for the loop that this signal interrupted

    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, finish)
    ready()
    server.serve_forever(poll_interval=0.1)
    server.server_close()


def ready():
    """READY=1 to the master (sd_notify(3)), which may retire an older worker from now on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))


if __name__ == "__main__":  # executed: without -p, or where preloading was not possible
    einhorn_main()
