import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { on, once } from "node:events";
import { closeSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { HttpServer, type HttpSettings } from "../../src/system/http.ts";
import { json } from "../../src/system/http-message.ts";
import { native } from "../../src/system/native.ts";
import { probes, type Views } from "../../src/system/probes.ts";
import { unwatch, watch } from "../../src/system/reactor.ts";
import { listenTcp, listenUnix } from "../fixtures/listening.ts";

const views: Views = {
  readiness: () => ({ ok: true, ready: 3, needed: 2, number: 3, stopping: false }),
  started: () => true,
  status: () => ({ workers: [] }),
  samples: () => [{ name: "einhorn_x", help: "An x.", type: "gauge", values: [{ labels: { a: 'b"c' }, value: 2 }] }],
};

/** A server on a port of its own, closed with the test. */
function serve(t: TestContext, settings: Partial<HttpSettings> = {}): number {
  const { fd, port } = listenTcp();
  const server = new HttpServer({
    fd,
    reactor: { watch, unwatch },
    sockets: native,
    answer: probes(views),
    ...settings,
  });
  t.after(() => {
    server.close();
    closeSync(fd);
  });
  return port;
}

/** Sends `text` as it is; returns all that comes until the server ends the connection. */
async function send(to: number | string, text: string): Promise<string> {
  const socket = typeof to === "number" ? connect(to, "127.0.0.1") : connect(to);
  socket.write(text);
  return readAll(socket);
}

async function readAll(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

async function get(
  port: number | string,
  path: string,
  method = "GET",
): Promise<{ status: number; head: string; body: string }> {
  const text = await send(port, `${method} ${path} HTTP/1.1\r\nHost: x\r\nUser-Agent: kube-probe/1.30\r\n\r\n`);
  const end = text.indexOf("\r\n\r\n");
  return { status: Number(text.slice(9, 12)), head: text.slice(0, end), body: text.slice(end + 4) };
}

const openDescriptors = () => readdirSync("/proc/self/fd").length;

test("the five documents while all is well", async (t) => {
  const port = serve(t);
  const documents: [string, unknown][] = [
    ["/livez", { ok: true }],
    ["/readyz", views.readiness()],
    ["/readyz?verbose=1", views.readiness()],
    ["/startupz", { ok: true }],
    ["/status", { workers: [] }],
    ["http://pod:80/livez", { ok: true }],
  ];
  for (const [path, expected] of documents) {
    const { status, head, body } = await get(port, path);
    assert.deepEqual([status, JSON.parse(body)], [200, expected]);
    assert.match(head, /^HTTP\/1.1 200 OK\r\nContent-Type: application\/json\r\nContent-Length: \d+\r\n/);
    assert.match(head, /\r\nConnection: close$/);
  }
});

test("not ready and not started are 503, and still alive", async (t) => {
  const notReady = { ok: false, ready: 1, needed: 2, number: 3, stopping: false };
  const answer = probes({ ...views, readiness: () => notReady, started: () => false });
  const port = serve(t, { answer });
  const { status, body } = await get(port, "/readyz");
  assert.deepEqual([status, JSON.parse(body)], [503, notReady]);
  assert.equal((await get(port, "/startupz")).status, 503);
  assert.equal((await get(port, "/livez")).status, 200);
});

test("/metrics is Prometheus' text format", async (t) => {
  const { status, head, body } = await get(serve(t), "/metrics");
  assert.equal(status, 200);
  assert.match(head, /Content-Type: text\/plain; version=0\.0\.4; charset=utf-8\r\n/);
  assert.equal(body, '# HELP einhorn_x An x.\n# TYPE einhorn_x gauge\neinhorn_x{a="b\\"c"} 2\n');
});

test("HEAD is GET without the body", async (t) => {
  const port = serve(t);
  const { head } = await get(port, "/readyz");
  assert.deepEqual(await get(port, "/readyz", "HEAD"), { status: 200, head, body: "" });
});

test("other paths, methods and protocols are refused", async (t) => {
  const port = serve(t);
  assert.equal((await get(port, "/nope")).status, 404);
  assert.equal((await get(port, "/readyz/")).status, 404);
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"]) {
    const { status, head } = await get(port, "/readyz", method);
    assert.deepEqual([status, /\r\nAllow: GET, HEAD\r\n/.test(head)], [405, true], method);
  }
  for (const text of [
    "hello\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\n",
    "GET /livez\r\n\r\n",
    "\r\n\r\n\r\n",
    "GET  HTTP/1.1\r\n\r\n",
    "\x16\x03\x01\n\n",
  ]) {
    assert.match(await send(port, text), /^HTTP\/1.1 400 /, JSON.stringify(text));
  }
  assert.match(await send(port, "GET /livez HTTP/1.0\n\n"), /^HTTP\/1.1 200 /);
});

test("an answer that fails is a 500, not an end", async (t) => {
  const fail = () => {
    throw new Error("no");
  };
  const port = serve(t, { answer: (path) => (path === "/now" ? fail() : Promise.reject(new Error("later"))) });
  assert.equal((await get(port, "/now")).status, 500);
  assert.equal((await get(port, "/later")).status, 500);
});

test("a request in two pieces is answered", async (t) => {
  const socket = connect(serve(t), "127.0.0.1");
  await once(socket, "connect");
  socket.write("GET /livez HT");
  await new Promise(setImmediate);
  socket.write("TP/1.1\r\n\r\n");
  assert.match(await readAll(socket), /^HTTP\/1.1 200 /);
});

test("a second request on the connection is not answered", async (t) => {
  const request = "GET /livez HTTP/1.1\r\n\r\n";
  const text = await send(serve(t), request + request);
  assert.equal(text.match(/HTTP\/1\.1 200/g)?.length, 1);
});

test("a request that is too long, or comes byte by byte, is refused", async (t) => {
  const port = serve(t);
  assert.match(await send(port, `GET /livez HTTP/1.1\r\nX: ${"x".repeat(8192)}`), /^HTTP\/1.1 431 /);
  const socket = connect(port, "127.0.0.1").setNoDelay();
  let text = "";
  socket.on("data", (chunk) => (text += chunk)).on("error", () => {});
  const closed = once(socket, "close");
  while (!socket.closed && !text.includes("431 ")) {
    if (socket.writable) socket.write("G");
    await new Promise(setImmediate);
  }
  await closed;
  assert.match(text, /^HTTP\/1.1 431 /);
});

test("who says nothing is closed in time", async (t) => {
  const port = serve(t, { limits: { connectionMs: 20 } });
  const idle = connect(port, "127.0.0.1").resume();
  const half = connect(port, "127.0.0.1").resume();
  half.write("GET /livez");
  await Promise.all([once(idle, "close"), once(half, "close")]);
});

test("idle connections do not keep probes out: the oldest give way", async (t) => {
  const before = openDescriptors();
  const port = serve(t, { limits: { connections: 10 } });
  const sockets = Array.from({ length: 50 }, () =>
    connect(port, "127.0.0.1")
      .on("error", () => {})
      .resume(),
  );
  const gone = sockets.slice(0, 30).map((socket) => once(socket, "close"));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  assert.equal((await get(port, "/livez")).status, 200);
  await Promise.all(gone);
  assert.ok(openDescriptors() - before <= 1 + 20 + 10, "its own, and both ends of what is left");
  for (const socket of sockets) socket.destroy();
});

test("clients that ask and do not read hold a bounded amount", async (t) => {
  const body = "x".repeat(8_000_000);
  const answer = () => ({ status: 200, type: "text/plain", body });
  const port = serve(t, { answer, limits: { unreadBytes: 20_000_000 } });
  const sockets = Array.from({ length: 5 }, () => connect(port, "127.0.0.1"));
  for (const socket of sockets) {
    socket.on("error", () => {});
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await once(socket, "readable");
  }
  const lengths = await Promise.all(
    sockets.map((socket) =>
      readAll(socket).then(
        (text) => text.length,
        () => 0,
      ),
    ),
  );
  assert.ok((lengths[0] ?? 0) < body.length, "the oldest was cut off");
  assert.ok((lengths[4] ?? 0) > body.length, "the newest has all");
});

test("a UNIX socket serves as well", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "einhorn-http-"));
  const path = join(directory, "http.sock");
  const fd = listenUnix(path);
  const server = new HttpServer({ fd, reactor: { watch, unwatch }, sockets: native, answer: () => json(200, "unix") });
  t.after(() => {
    server.close();
    closeSync(fd);
    rmSync(directory, { recursive: true });
  });
  assert.equal((await get(path, "/")).body, '"unix"\n');
});

test("over a re-exec no request is lost: neither one half sent nor those that come meanwhile", async () => {
  const child = spawn(process.execPath, [join(import.meta.dirname, "../fixtures/http-reexec.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const lines = on(child.stdout.setEncoding("utf8"), "data");
  const next = async () => String((await lines.next()).value).trim();
  const port = Number(await next());
  const half = connect(port, "127.0.0.1");
  half.write("GET / HTTP/1.1\r\n");
  const idle = connect(port, "127.0.0.1");
  assert.equal((await get(port, "/")).body, '{"image":1}\n');
  child.stdin.write("x");
  const meanwhile = await Promise.all(Array.from({ length: 50 }, () => get(port, "/")));
  for (const { body } of meanwhile) assert.match(body, /^\{"image":[12]\}\n$/);
  assert.equal(await next(), "again");
  half.write("\r\n");
  assert.match(await readAll(half), /\{"image":2\}\n$/);
  idle.write("GET / HTTP/1.1\r\n\r\n");
  assert.match(await readAll(idle), /\{"image":2\}\n$/);
  child.stdin.end();
  assert.deepEqual(await once(child, "exit"), [0, null]);
});
