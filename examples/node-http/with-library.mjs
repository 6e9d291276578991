// The same server with the library that comes with einhorn. Runs without einhorn too, on a port of its own.
import http from "node:http";
import net from "node:net";
import { ack, childIndex, generation, isWorker, listener, onGracefulStop } from "einhorn/worker";

let stopping = false;
const server = http.createServer((_request, response) => {
  if (stopping) response.setHeader("Connection", "close");
  response.setHeader("Content-Type", "text/plain");
  response.end(`node generation=${generation()} slot=${childIndex()} pid=${process.pid}\n`);
});
server.listen(isWorker() ? listener(0) : { port: 8080, host: "127.0.0.1" }, () => ack());
onGracefulStop(() => {
  stopping = true;
  // As in server.mjs: kept connections get their last answer.
  net.Server.prototype.close.call(server, () => process.exit(0));
});
