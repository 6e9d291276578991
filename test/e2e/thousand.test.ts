/** One master and a thousand workers: starts, lists, upgrades, stops; and a death costs one replacement, not a look at all. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startMaster } from "../support/master.ts";
import { isAlive } from "../support/processes.ts";

const NUMBER = 1000;

test(`${NUMBER} workers: start, list, a death, an upgrade, stop`, async (t) => {
  const master = await startMaster(t, { args: ["-n", String(NUMBER), "-m", "0", "-q"], program: ["sleep", "100000"] });
  const { workers, ready } = await master.status();
  assert.equal(ready, NUMBER);
  assert.equal(new Set(workers.map((worker) => worker.slot)).size, NUMBER);
  const listed = await master.sh("status");
  assert.equal(listed.stdout.match(/^worker slot=/gm)?.length, NUMBER);

  const victim = workers[500]?.pid as number;
  process.kill(victim, "SIGKILL");
  const replaced = await master.until(
    (status) => status.ready === NUMBER && !status.workers.some((w) => w.pid === victim),
  );
  assert.equal(replaced.workers.filter((worker) => !workers.some((old) => old.pid === worker.pid)).length, 1);

  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 0, upgrade.stderr);
  const after = await master.until((status) => status.workers.length === NUMBER, "the old ones are gone");
  assert.ok(after.workers.every((worker) => worker.generation === 1 && worker.phase === "ready"));
  assert.equal((await master.stop()).code, 0);
  assert.deepEqual(after.workers.filter((worker) => isAlive(worker.pid as number)).length, 0);
});
