/** What is kept for a crash: here, what is said only once. The rest is what the simulator restores from (test/simulation). */
import assert from "node:assert/strict";
import { test } from "node:test";
import { initialState } from "../src/core/initial.ts";
import type { Event, State } from "../src/core/model.ts";
import { Keeper } from "../src/keeping.ts";
import type { Change } from "../src/system/journal.ts";
import { about, launch, plainConfig } from "./core/pool.ts";

const state = initialState(plainConfig, about, launch, 1);
const ack: Event = { kind: "acked", pid: 7, via: "command" };
const name = `pending/${JSON.stringify(ack)}`;

function keep(): { keeper: Keeper; written: Change[][]; write(): void } {
  const keeper = new Keeper(state, {
    shell: () => ({ control: { listener: null, nextId: 1, connections: [] } }),
    connectionChanges: () => [],
    captureChanges: () => [],
    changingShell: () => ({}),
  });
  keeper.changes();
  const written: Change[][] = [];
  return { keeper, written, write: () => written.push(keeper.changes()) };
}

const changed: State = { ...state, nextId: 2 };

test("an ACK is written before it is handled, and leaves in the write of what it changed", () => {
  const { keeper, written, write } = keep();
  keeper.surely(ack, write, () => {
    assert.deepEqual(written, [[[name, ack]]]);
    keeper.set(changed);
    write();
  });
  assert.deepEqual(written[1], [["core/nextId", 2], [name]]);
  assert.equal(written.length, 2);
});

test("an ACK that changed nothing is not heard again after a later crash", () => {
  const { keeper, written, write } = keep();
  keeper.surely(ack, write, () => undefined);
  assert.deepEqual(written, [[[name, ack]], [[name]]]);
});

test("what the image before heard stays until it has been handled, whatever is handled before it", () => {
  const { keeper, written, write } = keep();
  keeper.expect([ack]);
  write();
  keeper.set(changed);
  write();
  assert.ok(written[1]?.every((change) => change.length === 2));
  keeper.surely(ack, write, () => {
    keeper.set({ ...changed, nextId: 3 });
    write();
  });
  assert.deepEqual(written.at(-1), [["core/nextId", 3], [name]]);
});
