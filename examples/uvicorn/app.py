import json
import os
import re
import socket


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    generation, slot = os.environ["EINHORN_GENERATION"], os.environ["EINHORN_CHILD_INDEX"]
    body = f"uvicorn generation={generation} slot={slot} pid={os.getpid()}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive, send):
    """ASGI's own hook for "the application is ready": the place for the ACK."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            ack()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def ack():
    """Ready: from now on the master may retire an older worker. One line of JSON, no reply."""
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(re.sub("^@", "\0", os.environ["EINHORN_SOCK_PATH"]))  # "@name" is an abstract socket
        master.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")
