/** Node's own cluster module as a supervisor of COUNT workers that answer with their pid. */
const cluster = require("node:cluster");

if (cluster.isPrimary) {
  for (let i = 0; i < Number(process.argv[2]); i++) cluster.fork();
  cluster.on("exit", () => cluster.fork());
} else {
  const { appendFileSync } = require("node:fs");
  const stamp = (kind) => {
    const record = Buffer.alloc(16);
    record.writeBigUInt64LE(process.hrtime.bigint());
    record.writeUInt32LE(process.pid, 8);
    record.writeUInt32LE(kind, 12);
    appendFileSync(process.env.BENCH_STAMP, record);
  };
  stamp(1);
  const reply = `HTTP/1.0 200 OK\r\nContent-Length: 11\r\n\r\n${String(process.pid).padStart(10, "0")}\n`;
  const server = require("node:net").createServer((socket) => socket.once("data", () => socket.end(reply)));
  server.listen(Number(process.env.BENCH_PORT), "127.0.0.1", () => stamp(2));
}
