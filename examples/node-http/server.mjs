// An HTTP server as a worker of einhorn: the inherited socket, a manual ACK, a graceful stop that loses no connection.
import http from "node:http";
import net from "node:net";

if (process.env.EINHORN_MASTER_PID !== String(process.ppid)) {
  console.error("Start me under einhorn: einhorn -m manual -b 127.0.0.1:8080 node server.mjs");
  process.exit(1);
}

let stopping = false;
const { EINHORN_GENERATION: generation, EINHORN_CHILD_INDEX: slot } = process.env;
const server = http.createServer((_request, response) => {
  // One more answer on a kept connection, then the client opens its next one to our successor.
  if (stopping) response.setHeader("Connection", "close");
  response.setHeader("Content-Type", "text/plain");
  response.end(`node generation=${generation} slot=${slot} pid=${process.pid}\n`);
});

server.listen({ fd: Number(process.env.EINHORN_FD_0) }, () => {
  // Ready: from now on the master may retire an older worker. One line of JSON, no reply.
  const master = net.connect(process.env.EINHORN_SOCK_PATH.replace(/^@/, "\0")); // "@name" is an abstract socket
  master.end(`${JSON.stringify({ command: "worker:ack", pid: process.pid })}\n`);
});

function finish() {
  if (stopping) return;
  stopping = true;
  // net's close() stops accepting and leaves kept connections alone: each gets its last answer above, or ends by
  // keepAliveTimeout. http's close() would cut idle ones at once, and with them a request that is already on its way.
  net.Server.prototype.close.call(server, () => process.exit(0));
}
// SIGUSR2 is einhorn's request to finish; SIGTERM and SIGINT are everybody else's.
for (const signal of ["SIGUSR2", "SIGTERM", "SIGINT"]) process.on(signal, finish);
