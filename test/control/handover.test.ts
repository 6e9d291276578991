/** What the next image gets: nothing that a client said or was to hear is lost, and no client is reset. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import { Client, serve } from "./harness.ts";

test("a request cut in two by a re-exec is read whole", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  const line = '{"command":"echo","args":["é was cut here"],"id":1}\n';
  const bytes = Buffer.from(line);
  client.socket.write(bytes.subarray(0, bytes.indexOf(0xc3) + 1));
  await fixture.until(() => client.socket.bytesWritten > 0 && fixture.server.toState().connections[0]?.input !== "");
  await fixture.until(() => fixture.server.toState().connections.length === 1);
  fixture.handOver();
  client.socket.write(bytes.subarray(bytes.indexOf(0xc3) + 1));
  await fixture.until(() => client.replies.length === 1);
  assert.deepEqual(client.replies, [{ message: "é was cut here", request_id: 1 }]);
  client.socket.destroy();
});

test("an asker is answered by the next image, on the connection it asked on", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  client.ask("upgrade", [], 5);
  await fixture.until(() => fixture.unanswered.length === 1);
  const asker = fixture.unanswered[0];
  assert.ok(asker);
  fixture.server.reply(asker, { message: "old image", wait: true, error: false });
  fixture.handOver();
  fixture.server.reply(asker, { message: "new image", wait: false, error: false });
  await fixture.until(() => client.replies.length === 2);
  assert.deepEqual(client.replies, [
    { message: "old image", request_id: 5, wait: true },
    { message: "new image", request_id: 5 },
  ]);
  client.socket.destroy();
  await fixture.until(() => fixture.server.size === 0);
  assert.deepEqual(fixture.heard, ["command upgrade"], "nothing was owed any more");
});

test("replies and requests that wait in the middle of a flood go over", async () => {
  using fixture = serve();
  const client = new Client(fixture.path, { reading: false });
  for (let i = 0; i < 300; i++) client.ask("big", [20_000], i);
  await fixture.until(() => (fixture.server.toState().connections[0]?.output.length ?? 0) > 100_000);
  fixture.handOver();
  client.read();
  await fixture.until(() => client.replies.length > 50);
  fixture.handOver();
  await fixture.until(() => client.replies.length === 300);
  assert.deepEqual(
    client.replies.map((reply) => reply.request_id),
    Array.from({ length: 300 }, (_, i) => i),
  );
  assert.ok(client.messages().every((message) => message.length === 20_000));
  client.socket.destroy();
});

test("a re-exec in the middle of a batch of requests loses none and repeats none", async () => {
  using fixture = serve();
  const client = new Client(fixture.path);
  const line = (i: number) => `{"command":"${i === 500 ? "reload" : "echo"}","args":["${i}"],"id":${i}}\n`;
  client.send(Array.from({ length: 1_000 }, (_, i) => line(i)).join(""));
  // The command itself hands over, within the turn that read it, as the supervisor does.
  const push = fixture.unanswered.push.bind(fixture.unanswered);
  fixture.unanswered.push = (...askers) => {
    fixture.handOver();
    for (const asker of askers) fixture.server.reply(asker, { message: "reloaded", wait: false, error: false });
    return push(...askers);
  };
  await fixture.until(() => client.replies.length === 1_000);
  assert.deepEqual(
    client.replies.map((reply) => reply.request_id),
    Array.from({ length: 1_000 }, (_, i) => i),
  );
  client.socket.destroy();
});

test("numbers of connections are never used again", async () => {
  using fixture = serve();
  const seen = new Set<number>();
  for (let round = 0; round < 5; round++) {
    const client = new Client(fixture.path);
    client.ask("upgrade");
    await fixture.until(() => fixture.unanswered.length === round + 1);
    seen.add(fixture.unanswered[round]?.connection ?? -1);
    client.socket.destroy();
    await fixture.until(() => fixture.server.size === 0);
    fixture.handOver();
  }
  assert.equal(seen.size, 5);
});

test("who was half closed, adopted or told to go stays so", async () => {
  using fixture = serve();
  const [ours, theirs] = native.socketPair({ type: 1 });
  fixture.server.adopt({ fd: ours, pid: 4711, uid: 65534 });
  const half = new Client(fixture.path);
  half.ask("upgrade");
  half.socket.end();
  await fixture.until(() => fixture.unanswered.length === 1);
  fixture.handOver();
  native.write({ fd: theirs, buffer: Buffer.from('{"command":"worker:ack"}\n') });
  await fixture.until(() => fixture.heard.includes("ack 4711"));
  const asker = fixture.unanswered[0];
  assert.ok(asker);
  fixture.server.reply(asker, { message: "done", wait: false, error: false });
  await fixture.until(() => half.closed);
  assert.deepEqual(half.messages(), ["done"]);
  assert.equal(fixture.server.size, 1);
});

test("clients that connect while no image is looking are served by the next", async () => {
  using fixture = serve();
  const state = fixture.server.toState();
  assert.ok(state.listener !== null);
  const clients = Array.from({ length: 50 }, () => new Client(fixture.path));
  for (const client of clients) client.ask("echo", ["x"]);
  fixture.handOver();
  await fixture.until(() => clients.every((client) => client.replies.length === 1));
  for (const client of clients) client.socket.destroy();
});

test("what was said before a crash in the middle of it is heard by the next image, once", async () => {
  let crashes = 0;
  using fixture = serve({
    commands: {
      fault(reply) {
        if (crashes++ === 0) return fixture.crash();
        reply({ message: "answered" });
      },
    },
  });
  const client = new Client(fixture.path);
  client.ask("echo", ["before"], 1);
  await fixture.until(() => client.replies.length === 1);
  client.ask("fault", [], 2);
  client.ask("echo", ["after"], 3);
  await fixture.until(() => client.replies.length === 3);
  assert.deepEqual(client.replies, [
    { message: "before", request_id: 1 },
    { message: "answered", request_id: 2 },
    { message: "after", request_id: 3 },
  ]);
  assert.equal(crashes, 2);
  client.socket.destroy();
});

test("a request that the master crashes over each time is tried three times and then refused; the others are served", async () => {
  let crashes = 0;
  using fixture = serve({
    commands: {
      poison() {
        crashes++;
        fixture.crash();
      },
    },
  });
  const client = new Client(fixture.path);
  client.ask("poison", [], 1);
  await fixture.until(() => client.replies.length === 1);
  assert.match(client.messages()[0] ?? "", /crashed 3 times over this/);
  assert.equal(crashes, 3);
  client.ask("echo", ["on it goes"], 2);
  const other = new Client(fixture.path);
  other.ask("echo", ["and elsewhere"], 1);
  await fixture.until(() => client.replies.length === 2 && other.replies.length === 1);
  assert.deepEqual(client.replies[1], { message: "on it goes", request_id: 2 });
  client.socket.destroy();
  other.socket.destroy();
});
