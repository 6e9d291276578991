/** What changed between two states, as parts: applied to the parts of the one they give those of the other. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Change, changesBetween, documentOf } from "../../src/core/changes.ts";
import type { State, Worker } from "../../src/core/model.ts";
import { Chance } from "../simulation/random.ts";
import { Pool } from "./pool.ts";

const { state } = new Pool({ number: 1 });
const template = state.workers[0] as Worker;

function stateOf(workers: readonly Worker[]): State {
  return { ...state, workers };
}

function apply(parts: Map<string, unknown>, changes: readonly Change[]): void {
  for (const [name, ...values] of changes) {
    if (values.length === 0) assert.ok(parts.delete(name), `${name} is taken away and was not there`);
    else parts.set(name, values[0]);
  }
}

test("any workers gone, changed and added: the document is the next state's, and nothing is written that stayed", () => {
  const chance = new Chance(1);
  let nextId = 1;
  let workers: readonly Worker[] = [];
  const parts = new Map<string, unknown>();
  apply(parts, changesBetween(null, stateOf(workers)));
  for (let round = 0; round < 2_000; round += 1) {
    const before = workers;
    workers = before.flatMap((worker) => {
      if (chance.oneIn(6)) return [];
      return chance.oneIn(6) ? [{ ...worker, spawnedAt: round }] : [worker];
    });
    for (let born = chance.below(4); born > 0; born -= 1) workers = [...workers, { ...template, id: nextId++ }];
    const changes = changesBetween(stateOf(before), stateOf(workers));
    const kept = before.filter((worker) => workers.includes(worker)).length;
    const touched = new Set([...before, ...workers].map(({ id }) => id)).size - kept;
    assert.equal(changes.length, touched);
    apply(parts, changes);
    assert.deepEqual(documentOf(parts).core.workers, workers);
  }
});
