/** Many starts do not keep the loop from its other work, and those that nobody wants any more are not made. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Event, State } from "../../src/core/model.ts";
import { type SpawnOrder, Starts } from "../../src/master/starts.ts";
import { until } from "../system/child.ts";

const order = (id: number, generation = 0): SpawnOrder => ({
  id,
  slot: id,
  generation,
  launch: {} as SpawnOrder["launch"],
});

function starts(areClientsWaiting = false) {
  const began: number[] = [];
  const events: Event[] = [];
  const now = { mode: { kind: "running" }, generation: 0 } as State;
  const made = new Starts({
    state: () => now,
    start: ({ id }) => {
      began.push(id);
      for (const from = performance.now(); performance.now() < from + 1; );
      return 1000 + id;
    },
    deliver: (...list) => events.push(...list),
    areClientsWaiting,
  });
  return { made, began, events, now };
}

test("the first are started at once, the others in their order, with turns of the loop between", async () => {
  const { made, began, events } = starts();
  const answers = Array.from({ length: 40 }, (_, id) => made.order(order(id)));
  const atOnce = answers.filter((pid) => pid !== null).length;
  assert.ok(atOnce >= 1 && atOnce < 40, `${atOnce} at once`);
  assert.equal(made.expects(0), false);
  assert.equal(made.expects(39), true);
  await until(() => events.length === 40 - atOnce);
  assert.deepEqual(
    began,
    Array.from({ length: 40 }, (_, id) => id),
  );
  assert.deepEqual(events[0], { kind: "spawned", id: atOnce, pid: 1000 + atOnce });
  assert.equal(made.expects(39), false);
});

test("the loop turns before the last one is started", async () => {
  const { made, began } = starts();
  for (let id = 0; id < 40; id++) made.order(order(id));
  const startedBefore = await new Promise<number>((resolve) => setTimeout(() => resolve(began.length), 1));
  assert.ok(startedBefore < 40);
  await until(() => began.length === 40);
});

test("an image that takes over starts nobody before who waited can be accepted, read and answered", async () => {
  const { made, began, events } = starts(true);
  assert.equal(made.order(order(1)), null);
  for (let turn = 0; turn < 2; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(began, []);
  }
  await until(() => events.length === 1);
  assert.deepEqual(events, [{ kind: "spawned", id: 1, pid: 1001 }]);
});

test("what a stop or the next generation made superfluous is called off", async () => {
  const { made, began, events, now } = starts();
  for (let id = 0; id < 20; id++) made.order(order(id));
  const before = began.length;
  Object.assign(now, { generation: 1 });
  await until(() => events.length === 20 - before);
  assert.equal(began.length, before);
  assert.ok(events.every((event) => event.kind === "unspawned" && event.errno === "ECANCELED"));
});

test("an error of the kernel is an event", async () => {
  const events: Event[] = [];
  const made = new Starts({
    state: () => ({ mode: { kind: "running" }, generation: 0 }) as State,
    start: ({ id }) => {
      for (const from = performance.now(); performance.now() < from + 5; );
      if (id === 0) return 1;
      throw Object.assign(new Error("no"), { code: "EAGAIN", syscall: "clone" });
    },
    deliver: (...list) => events.push(...list),
    areClientsWaiting: false,
  });
  made.order(order(0));
  assert.equal(made.order(order(1)), null);
  await until(() => events.length === 1);
  assert.deepEqual(events, [{ kind: "unspawned", id: 1, errno: "EAGAIN", syscall: "clone" }]);
});
