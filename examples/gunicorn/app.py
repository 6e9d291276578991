import os


def app(environ, start_response):
    generation, slot = os.environ["EINHORN_GENERATION"], os.environ["EINHORN_CHILD_INDEX"]
    body = f"gunicorn generation={generation} slot={slot} pid={os.getpid()}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
