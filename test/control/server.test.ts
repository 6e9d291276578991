/** The server with the real kernel: what clients see, and what the master is told. Waits for facts only. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync } from "node:fs";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import { Client, kernel, serve } from "./harness.ts";

const rlimitNofile = 7;

test("a command is answered with its id", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.ask("echo", ["100% + é"], 7);
  client.send("---%0Acommand: echo%0Aargs:%0A- yaml%0Arequest_id: 8%0A\n");
  await fixture.until(() => client.replies.length === 2);
  assert.deepEqual(client.replies, [
    { message: "100% + é", request_id: 7 },
    { message: "yaml", request_id: 8 },
  ]);
  client.socket.destroy();
});

test("pipelined requests are answered in order, whatever pieces they come in", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  const text = Array.from({ length: 2_000 }, (_, i) => `{"command":"echo","args":["${i}"],"id":${i}}\n\n`).join("");
  for (let at = 0; at < text.length; at += 777) client.send(text.slice(at, at + 777));
  await fixture.until(() => client.replies.length === 2_000);
  assert.deepEqual(
    client.replies.map((reply) => reply.request_id),
    Array.from({ length: 2_000 }, (_, i) => i),
  );
  client.socket.destroy();
});

test("all replies but the last of a request say that more follow", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.ask("twice", [], 1);
  await fixture.until(() => client.replies.length === 2);
  assert.deepEqual(client.replies, [
    { message: "one", request_id: 1, wait: true },
    { message: "two", request_id: 1 },
  ]);
  client.socket.destroy();
});

test("nonsense gets an error, and the next request its answer", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.send('state\n\u0000\u0001\n{"command":\n');
  client.ask("echo", ["still here"]);
  await fixture.until(() => client.replies.length === 4);
  assert.deepEqual(
    client.replies.map((reply) => reply.error === true),
    [true, true, true, false],
  );
  client.socket.destroy();
});

test("a line of 64 KiB is read, a longer one is an error and the end", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  const frame = '{"command":"echo","args":[""]}';
  client.send(`${frame.replace('""', `"${"x".repeat(64 * 1024 - frame.length)}"`)}\n`);
  await fixture.until(() => client.replies.length === 1);
  assert.equal(client.replies[0]?.error, undefined);
  client.send("y".repeat(64 * 1024 + 1));
  await fixture.until(() => client.closed);
  assert.match(client.messages()[1] ?? "", /at most 65536 bytes/);
  const finished = new Client(fixture.path);
  finished.send(`${frame.replace('""', `"${"x".repeat(100_000)}"`)}\n`);
  await fixture.until(() => finished.closed);
  assert.match(finished.messages()[0] ?? "", /at most 65536 bytes/);
});

test("who closes its sending half gets its replies first", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.ask("upgrade");
  client.socket.end();
  await fixture.until(() => fixture.unanswered.length === 1);
  const asker = fixture.unanswered[0];
  assert.ok(asker);
  fixture.server.reply(asker, { message: "working", wait: true, error: false });
  await fixture.until(() => client.replies.length === 1);
  assert.equal(client.ended, false);
  fixture.server.reply(asker, { message: "done", wait: false, error: false });
  await fixture.until(() => client.closed);
  assert.deepEqual(client.messages(), ["working", "done"]);
  assert.deepEqual(fixture.heard, ["command upgrade"]);
});

test("a request that was cut off is not carried out", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.send("---%0Acommand: set_workers%0Aargs: [1");
  client.socket.end();
  await fixture.until(() => client.closed);
  assert.match(client.messages()[0] ?? "", /ends with a line break/);
  assert.deepEqual(fixture.heard, []);
});

test("the master hears that a client is gone if it owes it an answer, and only then", async () => {
  using fixture = serve();
  const idle = new Client(fixture.path);
  const owed = new Client(fixture.path);
  idle.ask("echo", ["x"]);
  owed.ask("events");
  await fixture.until(() => idle.replies.length === 1 && fixture.unanswered.length === 1);
  idle.socket.destroy();
  owed.socket.destroy();
  await fixture.until(() => fixture.server.size === 0);
  assert.deepEqual(fixture.heard, ["command events", `hung-up ${fixture.unanswered[0]?.connection}`]);
  assert.doesNotThrow(() => {
    for (const asker of fixture.unanswered) fixture.server.reply(asker, { message: "late", wait: false, error: false });
  });
});

test("a reply may be long, but who reads none of many is closed", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.ask("big", [3_000_000]);
  await fixture.until(() => client.replies.length === 1);
  assert.equal(client.messages()[0]?.length, 3_000_000);

  const deaf = new Client(fixture.path, { reading: false });
  deaf.ask("events");
  await fixture.until(() => fixture.unanswered.length === 1);
  const asker = fixture.unanswered[0];
  assert.ok(asker);
  let sent = 0;
  while (fixture.server.size === 2 && sent < 100) {
    fixture.server.reply(asker, { message: "x".repeat(100_000), wait: true, error: false });
    sent++;
  }
  assert.ok(sent > 10 && sent < 20, `closed after ${sent} replies of 100,000 bytes`);
  assert.deepEqual(fixture.heard, ["command events", `hung-up ${asker.connection}`]);
  client.socket.destroy();
});

test("requests of a client that does not read wait until it does", async () => {
  using fixture = serve();
  const client = new Client(fixture.path, { reading: false });
  for (let i = 0; i < 300; i++) client.ask("big", [20_000], i);
  const other = new Client(fixture.path);
  other.ask("echo", ["not held up"]);
  await fixture.until(() => other.replies.length === 1);
  assert.equal(fixture.server.size, 2, "it was not closed");
  client.read();
  await fixture.until(() => client.replies.length === 300);
  assert.deepEqual(
    client.replies.map((reply) => reply.request_id),
    Array.from({ length: 300 }, (_, i) => i),
  );
  client.socket.destroy();
  other.socket.destroy();
});

test("a flood on some connections delays others by a round, not by the flood", async () => {
  using fixture = serve();
  const floods = Array.from({ length: 10 }, () => new Client(fixture.path));
  const line = '{"command":"echo","args":["flood"]}\n';
  for (const flood of floods) flood.send(line.repeat(20_000));
  await fixture.until(() => floods.every((flood) => flood.replies.length > 0));
  const good = new Client(fixture.path);
  good.ask("echo", ["good"]);
  await fixture.until(() => good.replies.length === 1);
  const answered = floods.reduce((sum, flood) => sum + flood.replies.length, 0);
  assert.ok(answered < 200_000, "the flood was over before the good client had its turn");
  await fixture.until(() => floods.every((flood) => flood.replies.length === 20_000));
  for (const client of [...floods, good]) client.socket.destroy();
});

test("what a client said counts although it is gone before its turn: workers ACK and close", async () => {
  using fixture = serve();
  fixture.workers.add(process.pid);
  const flood = new Client(fixture.path);
  flood.send('{"command":"echo","args":["flood"]}\n'.repeat(20_000));
  await fixture.until(() => flood.replies.length > 0);
  const acks = 900;
  for (let i = 0; i < acks; i++) sayAndGo(fixture.path, '{"command":"worker:ack","pid":1}\n');
  await fixture.until(() => flood.replies.length === 20_000);
  await fixture.until(() => fixture.heard.length >= acks);
  assert.deepEqual(
    fixture.heard,
    Array.from({ length: acks }, () => `ack ${process.pid}`),
  );
  flood.socket.destroy();
});

/** Connects, writes and closes without a turn of the event loop between, as a worker in C does. */
function sayAndGo(path: string, line: string): void {
  const fd = native.socket({ family: 1, type: 1, private: true });
  const address = Buffer.alloc(110);
  address.writeUInt16LE(1, 0);
  address.write(path, 2);
  native.connect({ fd, address: address.subarray(0, 2 + Buffer.byteLength(path) + 1) });
  native.write({ fd, buffer: Buffer.from(line) });
  closeSync(fd);
}

test("a thousand idle clients and a hundred slow ones are in nobody's way", async () => {
  using fixture = serve();
  const idle = Array.from({ length: 1_000 }, () => new Client(fixture.path));
  await fixture.until(() => fixture.server.size === 1_000);
  const slow = Array.from({ length: 100 }, () => new Client(fixture.path));
  const line = '{"command":"echo","args":["slowly"]}\n';
  for (let at = 0; at < line.length; at++) {
    for (const client of slow) client.send(line[at] ?? "");
    const good = new Client(fixture.path);
    good.ask("echo", [String(at)]);
    await fixture.until(() => good.replies.length === 1);
    good.socket.destroy();
  }
  await fixture.until(() => slow.every((client) => client.replies.length === 1));
  assert.ok(idle.every((client) => !client.closed));
  for (const client of [...idle, ...slow]) client.socket.destroy();
});

test("over the limit, the one that was silent longest makes room, but none that is owed an answer", async () => {
  using fixture = serve({ limits: { connections: 3 } });
  const first = new Client(fixture.path);
  first.ask("upgrade");
  await fixture.until(() => fixture.unanswered.length === 1);
  const second = new Client(fixture.path);
  second.ask("echo", ["2"]);
  await fixture.until(() => second.replies.length === 1);
  const third = new Client(fixture.path);
  third.ask("echo", ["3"]);
  await fixture.until(() => third.replies.length === 1);
  second.ask("echo", ["again"]);
  await fixture.until(() => second.replies.length === 2);
  const fourth = new Client(fixture.path);
  fourth.ask("echo", ["4"]);
  await fixture.until(() => fourth.replies.length === 1);
  await fixture.until(() => third.closed);
  assert.deepEqual([first.closed, second.closed, fourth.closed], [false, false, false]);
  for (const client of [first, second, fourth]) client.socket.destroy();
});

test("without a free descriptor a silent client makes room", async () => {
  using fixture = serve();
  const limits = native.getResourceLimit({ resource: rlimitNofile });
  const setSoft = (soft: number) => {
    assert.equal(spawnSync("prlimit", [`--pid=${process.pid}`, `--nofile=${soft}:`]).status, 0);
  };
  const silent = new Client(fixture.path);
  silent.ask("echo", ["x"]);
  await fixture.until(() => silent.replies.length === 1);
  const opened: number[] = [];
  setSoft(128);
  assert.throws(
    () => {
      for (;;) opened.push(native.socket({ family: 1, type: 1 }));
    },
    { code: "EMFILE" },
  );
  closeSync(opened.pop() ?? -1); // For the client's own end.
  const late = new Client(fixture.path);
  late.ask("echo", ["late"]);
  await fixture.until(() => late.replies.length === 1 || fixture.heard.length > 0);
  for (const fd of opened) closeSync(fd);
  setSoft(limits.soft);
  await fixture.until(() => silent.closed);
  assert.deepEqual(fixture.heard, [], "no trouble: there was room to make");
  assert.deepEqual(late.messages(), ["late"]);
  late.socket.destroy();
});

test("without a free descriptor and nobody to close, it says so and accepts later", async () => {
  let full = true;
  const accept: typeof kernel.accept = (o) => {
    if (!full) return kernel.accept(o);
    throw Object.assign(new Error("accept: Too many open files"), { code: "EMFILE" });
  };
  using fixture = serve({ kernel: { ...kernel, accept } });
  const client = new Client(fixture.path);
  client.ask("echo", ["x"]);
  await fixture.until(() => fixture.heard.length > 0);
  assert.match(fixture.heard[0] ?? "", /trouble The command socket cannot accept: .*Trying again every 100 ms/);
  full = false;
  await fixture.until(() => client.replies.length === 1);
  client.socket.destroy();
});
