// The worker: greets as /config/settings.json said when it started.
import fs from "node:fs";
import http from "node:http";
import net from "node:net";

const { greeting } = JSON.parse(fs.readFileSync("/config/settings.json", "utf8"));
let stopping = false;
const server = http.createServer((_request, response) => {
  // One more answer on a kept connection, then the client opens its next one to our successor.
  if (stopping) response.setHeader("Connection", "close");
  response.end(greeting);
});

server.listen({ fd: Number(process.env.EINHORN_FD_0) }, () => {
  const master = net.connect(process.env.EINHORN_SOCK_PATH);
  master.end(`${JSON.stringify({ command: "worker:ack", pid: process.pid })}\n`);
});

for (const signal of ["SIGUSR2", "SIGTERM"]) {
  process.on(signal, () => {
    if (stopping) return;
    stopping = true;
    // net's close() leaves kept connections alone; http's would cut those that are idle this moment.
    net.Server.prototype.close.call(server, () => process.exit(0));
  });
}
