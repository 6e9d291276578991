/** Goal: `--max-rss` and `--max-age` replace a worker before it goes, one at a time, and leave the others alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { until } from "../support/until.ts";

const ARGS = ["-b", "127.0.0.1:0", "-m", "manual", "-n", "2"];

/** Waits until none of `old` is there, looking all the time; gives the workers there are then. */
async function replaced(master: Master, old: ReadonlySet<number | null>): Promise<Set<number | null>> {
  let now = old;
  await until(
    "all of them to be replaced",
    async () => {
      const { workers, ready, number } = await master.status();
      assert.ok(ready >= number, `${ready} ready workers of ${number}`);
      assert.ok(workers.filter(({ phase }) => phase === "starting" || phase === "spawning").length <= 1);
      now = new Set(workers.map(({ pid }) => pid));
      return workers.length === number && workers.every(({ pid }) => !old.has(pid));
    },
    () => master.log(),
    { everyMs: 20 },
  );
  return new Set(now);
}

const pids = async (master: Master): Promise<Set<number | null>> =>
  new Set((await master.status()).workers.map(({ pid }) => pid));

test("a worker that has grown past --max-rss is replaced, the other stays", async (t) => {
  const master = await startMaster(t, {
    args: [...ARGS, "--max-rss", `${100 << 20}`],
    program: [fixture("grows-in-slot-0.pl")],
  });
  const { workers } = await master.status();
  const pidOf = (wanted: number) => workers.find(({ slot }) => slot === wanted)?.pid ?? null;
  const now = await replaced(master, new Set([pidOf(0)]));
  assert.ok(now.has(pidOf(1)));
  assert.match(master.log(), /worker slot=0 .* will be replaced: it uses \d+ MiB of memory/);
  assert.equal(master.log().match(/will be replaced/g)?.length, 1);
});

test("--max-age replaces every worker in turn", async (t) => {
  const master = await startMaster(t, { args: [...ARGS, "--max-age", "2"], program: [fixture("idle.pl")] });
  await replaced(master, await replaced(master, await pids(master)));
  assert.match(master.log(), /will be replaced: it has run for/);
});
