import assert from "node:assert/strict";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { acceptQueue } from "../../src/system/accept-queue.ts";
import { native } from "../../src/system/native.ts";
import { listenTcp, listenUnix } from "../fixtures/listening.ts";

test("TCP: connections that nobody accepted, and how many may wait", async () => {
  const { fd, port } = listenTcp(7);
  assert.deepEqual(acceptQueue(native, fd, "AF_INET"), { depth: 0, limit: 7 });
  const clients = Array.from({ length: 3 }, () => connect(port, "127.0.0.1"));
  await Promise.all(clients.map((client) => once(client, "connect")));
  assert.deepEqual(acceptQueue(native, fd, "AF_INET"), { depth: 3, limit: 7 });
  closeSync(native.accept({ fd }));
  assert.deepEqual(acceptQueue(native, fd, "AF_INET"), { depth: 2, limit: 7 });
  for (const client of clients) client.destroy();
  closeSync(fd);
});

test("UNIX: the same through sock_diag, or null where the kernel has none", async () => {
  const directory = mkdtempSync(join(tmpdir(), "einhorn-queue-"));
  const path = join(directory, "s");
  const fd = listenUnix(path, 7);
  const clients = Array.from({ length: 2 }, () => connect(path));
  await Promise.all(clients.map((client) => once(client, "connect")));
  const queue = acceptQueue(native, fd, "AF_UNIX");
  assert.ok(queue === null || (queue.depth === 2 && queue.limit === 7), JSON.stringify(queue));
  for (const client of clients) client.destroy();
  closeSync(fd);
  rmSync(directory, { recursive: true });
});

test("what is no listening socket has no queue", () => {
  const fd = openSync("/dev/null", "r");
  assert.equal(acceptQueue(native, fd, "AF_INET"), null);
  assert.equal(acceptQueue(native, fd, "AF_UNIX"), null);
  closeSync(fd);
  assert.equal(acceptQueue(native, fd, "AF_INET"), null);
  const unconnected = native.socket({ family: 2, type: 1 });
  assert.equal(acceptQueue(native, unconnected, "AF_INET"), null);
  closeSync(unconnected);
});
