import assert from "node:assert/strict";
import { test } from "node:test";
import { OrphanPace } from "../../src/system/orphan-pace.ts";

test("orphans far apart are reaped when they die", () => {
  const pace = new OrphanPace(assert.fail);
  assert.equal(pace.again(1, 0), false);
  assert.equal(pace.again(1, 1000), false);
  assert.equal(pace.crowded, false);
});

test("in a stream the next look comes by itself, however late, until one finds nobody", async () => {
  let looked = () => {};
  const look = new Promise<void>((resolve) => {
    looked = resolve;
  });
  const pace = new OrphanPace(() => looked());
  pace.again(1, 0);
  assert.equal(pace.again(3, 1), false);
  assert.equal(pace.crowded, true);
  await look;
  assert.equal(pace.again(5, 60_000), false);
  assert.equal(pace.crowded, true, "SIGCHLD is not told until a look has said that it should be");
  assert.equal(pace.again(0, 60_004), true, "one more look, with SIGCHLD told again");
  assert.equal(pace.crowded, false);
});

test("in a stream a look comes when some twenty are dead, after one to four ms", (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  for (const { orphans, pauseMs } of [
    { orphans: 400, pauseMs: 1 },
    { orphans: 20, pauseMs: 2 },
    { orphans: 1, pauseMs: 4 },
  ]) {
    let looks = 0;
    const pace = new OrphanPace(() => looks++);
    pace.again(1, 0);
    pace.again(orphans, 2);
    t.mock.timers.tick(pauseMs - 1);
    assert.equal(looks, 0, `${orphans} in 2 ms`);
    t.mock.timers.tick(1);
    assert.equal(looks, 1, `${orphans} in 2 ms`);
  }
});
