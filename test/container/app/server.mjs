// The worker of the container tests: an HTTP server on the first inherited socket.
//
//   /            "VERSION PID"
//   /slow?ms=N   the same after N ms; the head of the reply at once
//   /eat         takes memory until something stops it
// VERSION is what /release/version says when the worker starts; the version "broken" cannot start, "hangs" neither serves nor acknowledges.
// APP_DEAF=1 ignores what asks it to finish.
import fs from "node:fs";
import http from "node:http";
import net from "node:net";

const version = fs.readFileSync("/release/version", "utf8").trim();
if (version === "broken") throw new Error("this release cannot start");

const hoard = [];
const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://worker");
  const answer = () => response.end(`${version} ${process.pid}`);
  if (url.pathname === "/slow") {
    response.flushHeaders();
    setTimeout(answer, Number(url.searchParams.get("ms")));
  } else if (url.pathname === "/eat") setInterval(() => hoard.push(Buffer.alloc(8 << 20, 1)), 1);
  else answer();
});

for (const signal of ["SIGTERM", "SIGUSR2"]) {
  process.on(signal, () => {
    if (process.env.APP_DEAF) return;
    // net's close() stops accepting and no more; http's may cut connections whose request is still on its way.
    if (server.listening) net.Server.prototype.close.call(server, () => process.exit(0));
    else process.exit(0);
  });
}

function serve() {
  server.listen({ fd: Number(process.env.EINHORN_FD_0) }, () => {
    // A name beginning with @ is in the abstract namespace: unix(7).
    const ack = net.connect({ path: process.env.EINHORN_SOCK_PATH.replace(/^@/, "\0") }, () => {
      ack.end(`${JSON.stringify({ command: "worker:ack", pid: process.pid })}\n`);
    });
  });
}

if (version === "hangs") setInterval(() => {}, 1000);
else serve();
