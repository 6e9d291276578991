import assert from "node:assert/strict";
import { once } from "node:events";
import net, { type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";
import { startLoad } from "./load.ts";

/** A server that answers each connection as told, and closes when the test ends. */
async function serve(
  answer: (socket: Socket, nth: number) => void,
): Promise<{ port: number; [Symbol.asyncDispose](): Promise<void> }> {
  let seen = 0;
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => answer(socket, seen++));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}

const WHOLE = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";

test("a server that answers everything leaves no failure", async () => {
  await using server = await serve((socket) => socket.end(WHOLE));
  const load = startLoad({ port: server.port });
  await load.served(100);
  const report = await load.stop();
  assert.equal(report.failed, 0);
  assert.ok(report.ok >= 100);
  assert.equal(report.bodies.get("ok"), report.ok);
});

const faults: [string, (socket: Socket) => void, RegExp][] = [
  ["a reset connection", (socket) => socket.resetAndDestroy(), /ECONNRESET/],
  ["a connection closed without a reply", (socket) => socket.end(), /hang up/],
  ["a reply cut short", (socket) => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"), /cut short/],
  ["another status", (socket) => socket.end("HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), /status 503/],
];
for (const [name, fault, message] of faults) {
  test(`${name} counts as failed`, async () => {
    await using server = await serve((socket, nth) => (nth === 3 ? fault(socket) : socket.end(WHOLE)));
    const load = startLoad({ port: server.port, concurrency: 1 });
    await load.served(10);
    const report = await load.stop();
    assert.equal(report.failed, 1);
    assert.match(report.errors[0] ?? "", message);
  });
}

test("a refused connection counts as failed", async () => {
  const gone = await serve(() => {});
  await gone[Symbol.asyncDispose]();
  const load = startLoad({ port: gone.port, concurrency: 1, pauseMs: 1 });
  await new Promise((resolve) => setTimeout(resolve, 20));
  const report = await load.stop();
  assert.equal(report.ok, 0);
  assert.match(report.errors[0] ?? "", /ECONNREFUSED/);
});

test("waiting for a server that serves nothing ends with its failure", async () => {
  await using server = await serve((socket) => socket.resetAndDestroy());
  const load = startLoad({ port: server.port });
  await assert.rejects(load.served(1), /nothing is served any more/);
  await load.stop();
});

test("a reply that does not come counts as failed", async () => {
  await using server = await serve((socket, nth) => (nth === 0 ? undefined : socket.end(WHOLE)));
  const load = startLoad({ port: server.port, concurrency: 1, timeoutMs: 1000 });
  await load.served(1);
  const report = await load.stop();
  assert.equal(report.failed, 1);
  assert.match(report.errors[0] ?? "", /no reply within 1000 ms/);
});

test("a kept-alive connection closed while idle is not a failure of the server", async () => {
  await using server = await serve((socket) => {
    socket.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    socket.once("data", () => socket.resetAndDestroy());
  });
  const load = startLoad({ port: server.port, concurrency: 1, keepAlive: true });
  await load.served(5);
  const report = await load.stop();
  assert.equal(report.failed, 0);
  assert.ok(report.retried > 0);
});
