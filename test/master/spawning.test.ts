/** Workers are started a few in a turn of the event loop, and the others are not forgotten. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Event } from "../../src/core/model.ts";
import { Spawning, type SpawnOrder } from "../../src/master/spawning.ts";
import { now } from "../../src/system/clock.ts";
import { until } from "../system/child.ts";

const order = (id: number) => ({ kind: "spawn", id }) as SpawnOrder;

/** Each start takes all that one turn has, as if the machine were slow. */
function slowMachine(isBusy = false) {
  const events: Event[] = [];
  const started: number[] = [];
  const spawning = new Spawning(
    {
      execute: ({ id }) => {
        for (const from = now(); now() < from + 6; );
        if (id === 13) throw Object.assign(new Error("no"), { code: "EAGAIN", syscall: "fork" });
        started.push(id);
        return 1000 + id;
      },
      deliver: (event) => events.push(event),
    },
    isBusy,
  );
  return { spawning, events, started };
}

test("one that finds time is started at once, the others one after the other, and told", async () => {
  const { spawning, events, started } = slowMachine();
  assert.equal(spawning.order(order(1)), 1001);
  assert.equal(spawning.order(order(2)), null);
  assert.equal(spawning.order(order(3)), null);
  assert.deepEqual(
    [1, 2, 3].map((id) => spawning.expects(id)),
    [false, true, true],
  );
  assert.deepEqual(started, [1]);
  await new Promise(setImmediate);
  assert.deepEqual(started, [1, 2]);
  await until(() => events.length === 2);
  assert.deepEqual(events, [
    { kind: "spawned", id: 2, pid: 1002 },
    { kind: "spawned", id: 3, pid: 1003 },
  ]);
  assert.equal(spawning.expects(3), false);
  // The turn that started the last of them has no time left.
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  assert.equal(spawning.order(order(4)), 1004);
});

test("an image that has more urgent things to do starts nobody in its first turn", async () => {
  const { spawning, events } = slowMachine(true);
  assert.equal(spawning.order(order(1)), null);
  await until(() => events.length === 1);
  assert.deepEqual(events, [{ kind: "spawned", id: 1, pid: 1001 }]);
});

test("before an image is replaced all are started, and what fails is told too", () => {
  const { spawning, events } = slowMachine();
  for (const id of [1, 13, 2]) spawning.order(order(id));
  spawning.finish();
  assert.deepEqual(events, [
    { kind: "unspawned", id: 13, errno: "EAGAIN", syscall: "fork" },
    { kind: "spawned", id: 2, pid: 1002 },
  ]);
});
