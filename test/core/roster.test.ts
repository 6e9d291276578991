/** The index beside a list says what the list says, whatever was changed, and lists from before stay as they were. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Phase, Worker } from "../../src/core/model.ts";
import {
  find,
  freeSlot,
  type Index,
  indexOf,
  type Workers,
  withAdded,
  without,
  withReplaced,
} from "../../src/core/roster.ts";
import { Chance } from "../simulation/random.ts";
import { Pool } from "./pool.ts";

const template = new Pool({ number: 1 }).state.workers[0] as Worker;
const phases: readonly Phase[] = [
  { kind: "spawning" },
  { kind: "starting" },
  { kind: "ready", since: 1 },
  { kind: "told", since: 1, wasReady: true, killAt: null },
  { kind: "killed", since: 1, wasReady: false },
];

function randomWorker(chance: Chance, id: number): Worker {
  const phase = chance.pick(phases);
  const recycle = chance.oneIn(4) ? { reason: "old", killMs: null } : null;
  const pid = phase.kind === "spawning" ? null : 1000 + id;
  return { ...template, id, pid, slot: chance.below(8), generation: chance.below(3), phase, recycle };
}

function lowestFree(workers: Workers, generation: number, from: number): number {
  for (let slot = from; ; slot += 1)
    if (!workers.some((worker) => worker.generation === generation && worker.slot === slot)) return slot;
}

/** What an index says, in an order of its own. */
function said({ byPid, unacked, leaving, generations }: Index) {
  const counts = [...generations].map(([of, { lasting, recycled, slots }]) => ({
    of,
    lasting: { ...lasting },
    recycled: { ...recycled },
    slots: [...slots].sort(([a], [b]) => a - b),
  }));
  return {
    byPid: new Map(byPid),
    unacked: [...unacked],
    leaving: [...leaving],
    counts: counts.sort((a, b) => a.of - b.of),
  };
}

test("an index that has gone on with its list says what a fresh count says", () => {
  const chance = new Chance(7);
  let workers: Workers = [];
  let nextId = 1;
  indexOf(workers);
  for (let round = 0; round < 3_000; round += 1) {
    const before = [...workers];
    const old = workers;
    const roll = workers.length > 12 ? 0 : chance.below(3);
    if (roll === 0 && workers.length > 0) workers = without(workers, chance.pick(workers));
    else if (roll === 1 && workers.length > 0)
      workers = withReplaced(workers, randomWorker(chance, chance.pick(workers).id));
    else workers = withAdded(workers, [randomWorker(chance, nextId++)]);
    assert.deepEqual(old, before);
    const generation = chance.below(3);
    const from = chance.below(4);
    const slot = freeSlot(workers, generation, from);
    assert.equal(slot, lowestFree(workers, generation, from));
    // A copy has no index; counting it takes the place of the list's own, which is then counted afresh too.
    if (chance.oneIn(10)) assert.deepEqual(said(indexOf(workers)), said(indexOf([...workers])));
    for (const worker of workers) assert.equal(find(workers, worker.id), worker);
    assert.equal(find(workers, nextId), undefined);
  }
});
