"""uvicorn as it is, with a gentler stop: it accepts nothing more at once, but gives clients that have just connected a moment to ask."""

import asyncio
import os
import sys

import uvicorn

GRACE_S = 0.5


class Server(uvicorn.Server):
    async def shutdown(self, sockets=None):
        for listener in self.servers:
            listener.close()
        await asyncio.sleep(GRACE_S)
        await super().shutdown(sockets=sockets)


config = uvicorn.Config(sys.argv[1], fd=int(os.environ["EINHORN_FD_0"]), log_level="warning")
server = Server(config)
server.run(sockets=[config.bind_socket()])
