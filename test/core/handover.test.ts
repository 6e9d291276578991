import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { decodeState, encodeState } from "../../src/core/handover.ts";
import type { State } from "../../src/core/model.ts";
import { Pool, plainConfig } from "./pool.ts";

/** Through JSON, as a re-exec does. */
const through = (state: State, config = plainConfig) =>
  decodeState(JSON.parse(JSON.stringify(encodeState(state))), config);

/** A state with something in every part. */
function busyState(): State {
  const pool = new Pool({ number: 3, maxUnacked: 1, drainDelayMs: 50 }).ackAll().ackAll().ackAll();
  pool.die(100, { signal: "SIGSEGV" });
  pool.ask("events");
  pool.upgrade("upgrade", "--canary", "1", "--soak", "9");
  pool.ask("reload");
  return pool.state;
}

test("a state comes back exactly as it was", () => {
  const state = busyState();
  assert.equal(state.mode.kind, "upgrading");
  assert.deepEqual(through(state, state.config), state);
});

test("a document of a newer einhorn is read: what is not known is left out", () => {
  const state = busyState();
  const document = JSON.parse(JSON.stringify(encodeState(state)));
  document.core.invented = { a: 1 };
  document.core.config.inventedMs = 5;
  document.core.counters.invented = 7;
  document.core.workers[0].invented = true;
  document.extra = "x";
  const read = decodeState(document, plainConfig);
  assert.deepEqual({ ...read, workers: [] }, { ...state, workers: [] });
  assert.equal(read.workers.length, state.workers.length);
});

test("a document of an older einhorn is read: what is missing has its default", () => {
  const document = JSON.parse(JSON.stringify(encodeState(busyState())));
  for (const key of ["recentDeaths", "waiters", "lastUpgrade", "measureAt", "random"]) delete document.core[key];
  for (const key of ["watchdogMs", "giveUpAfter", "readyMin"]) delete document.core.config[key];
  delete document.core.counters.crashes;
  for (const worker of document.core.workers) {
    delete worker.recycle;
    delete worker.watchdogAt;
  }
  const read = decodeState(document, { ...plainConfig, watchdogMs: 500 });
  assert.deepEqual(read.recentDeaths, []);
  assert.equal(read.config.watchdogMs, 500);
  assert.deepEqual(read.config.readyMin, plainConfig.readyMin);
  assert.equal(read.counters.crashes, 0);
  assert.ok(read.workers.every((worker) => worker.recycle === null && worker.watchdogAt === null));
});

test("what is no state is refused in words", () => {
  const good = JSON.parse(JSON.stringify(encodeState(busyState())));
  const refused: [unknown, RegExp][] = [
    [null, /not a mapping/],
    [{ format: 1 }, /not a mapping/],
    [{ ...good, format: 99 }, /format 99; this einhorn reads formats up to 1/],
    [{ ...good, core: { ...good.core, workers: "none" } }, /no list of workers/],
    [{ ...good, core: { ...good.core, workers: [{ id: 1 }] } }, /worker without id, slot or phase/],
  ];
  for (const [document, message] of refused) assert.throws(() => decodeState(document, plainConfig), message);
});

const folder = join(import.meta.dirname, "../compatibility/handover");
for (const file of readdirSync(folder)) {
  test(`the document of release ${file.replace(".json", "")} is read`, () => {
    const read = decodeState(JSON.parse(readFileSync(join(folder, file), "utf8")), plainConfig);
    assert.equal(read.workers.length, 4);
    assert.equal(read.generation, 1);
    assert.equal(read.mode.kind, "upgrading");
  });
}
