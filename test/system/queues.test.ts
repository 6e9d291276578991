/** Queues of one port, as the kernel fills them. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { test } from "node:test";
import type { Worker } from "../../src/core/model.ts";
import { readBind } from "../../src/options/bind.ts";
import type { Bind } from "../../src/options.ts";
import { acceptQueue } from "../../src/system/accept-queue.ts";
import { closeListeners, type Listener, openListener } from "../../src/system/listeners.ts";
import { native } from "../../src/system/native.ts";
import { queueOf, Steering, steeringProgram } from "../../src/system/queues.ts";

const depths = ({ fds }: Listener) => fds.map((fd) => acceptQueue(native, fd, "AF_INET")?.depth);
const workers = (...slots: number[]) =>
  slots.map((slot) => ({ id: slot, slot, phase: { kind: "ready", since: 0 } }) as unknown as Worker);

async function queues(count: number): Promise<{ bind: Bind; listener: Listener }> {
  const bind = readBind("127.0.0.1:0,queues=per-worker");
  const listener = await openListener(bind, 128);
  queueOf(listener, bind, count - 1, 128);
  return { bind, listener };
}

async function clients(listener: Listener, count: number): Promise<Socket[]> {
  const sockets = Array.from({ length: count }, () => connect(listener.port as number, "127.0.0.1"));
  await Promise.all(sockets.map((socket) => once(socket, "connect")));
  return sockets;
}

test("a queue is opened for a slot that has none, and each slot keeps its own", async () => {
  const { bind, listener } = await queues(3);
  assert.equal(listener.fds.length, 3);
  assert.deepEqual(
    [0, 1, 2].map((slot) => queueOf(listener, bind, slot, 128)),
    [...listener.fds],
  );
  assert.equal(queueOf(listener, bind, 4, 128), listener.fds[4]);
  closeListeners([listener]);
});

test("new connections go to queues of ready workers alone, those that wait stay where they are", async () => {
  const { bind, listener } = await queues(4);
  const steering = new Steering([listener], [bind], assert.fail);
  steering.follow(workers(1, 3));
  const first = await clients(listener, 60);
  const [zero, one = 0, two, three = 0] = depths(listener);
  assert.deepEqual([zero, two, one + three], [0, 0, 60]);
  assert.ok(one > 0 && three > 0, `${one} and ${three}`);
  steering.follow(workers(0));
  const second = await clients(listener, 20);
  assert.deepEqual(depths(listener), [20, one, 0, three]);
  for (const socket of [...first, ...second]) socket.destroy();
  closeListeners([listener]);
});

test("a fixed number of queues is shared by the slots in turn", async () => {
  const bind = readBind("127.0.0.1:0,queues=2");
  const listener = await openListener(bind, 128);
  const given = [0, 1, 2, 3].map((slot) => queueOf(listener, bind, slot, 128));
  assert.deepEqual(given, [listener.fds[0], listener.fds[1], listener.fds[0], listener.fds[1]]);
  closeListeners([listener]);
});

test("a port that somebody listens on is refused, although SO_REUSEPORT would share it", async () => {
  const { listener } = await queues(1);
  const again = readBind(`127.0.0.1:${listener.port},queues=2`);
  await assert.rejects(openListener(again, 128), /EADDRINUSE/);
  closeListeners([listener]);
});

test("a worker is told to finish when what waits for it has been accepted", async () => {
  const { bind, listener } = await queues(2);
  const steering = new Steering([listener], [bind], assert.fail);
  const both = workers(0, 1);
  steering.follow(workers(1));
  const [client] = await clients(listener, 1);
  let accepted = false;
  const told = new Promise<boolean>((resolve) => {
    steering.whenServed(both[1] as Worker, [both[1] as Worker], () => resolve(accepted));
  });
  setTimeout(() => {
    native.accept({ fd: listener.fds[1] as number });
    accepted = true;
  }, 30);
  assert.equal(await told, true);
  client?.destroy();
  closeListeners([listener]);
});

test("the kernel takes programs for a thousand queues with every other one missing", async () => {
  const { listener } = await queues(1);
  const odd = Array.from({ length: 1000 }, (_, n) => 2 * n + 1);
  const program = steeringProgram(odd);
  assert.ok(program.length / 8 <= 2000, `${program.length / 8} instructions`);
  native.attachReuseportFilter({ fd: listener.fds[0] as number, program });
  closeListeners([listener]);
});
