/**
 * No request fails while workers are replaced, added, taken away or killed between requests.
 *
 * Every request of the load has a connection of its own: what is lost with a listener or a queue would show there.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import type { Load } from "../support/load.ts";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { underLoad } from "../support/under-load.ts";

const BIND = ["-b", "127.0.0.1:0", "-m", "manual"];
/** How long a new release must stand before old workers go: no second for each of many upgrades. */
const SOON = ["-s", "0.1"];

async function serving(
  t: TestContext,
  number: number,
  args: readonly string[] = [],
): Promise<{ master: Master; load: Load; version: string }> {
  const directory = fs.mkdtempSync("/tmp/einhorn-version-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const version = path.join(directory, "version");
  fs.writeFileSync(version, "v1");
  const master = await startMaster(t, {
    args: [...BIND, ...args, "-n", String(number)],
    program: [fixture("http-server.pl")],
    env: { VERSION_FILE: version },
  });
  return { master, load: underLoad(t, { port: await master.port() }), version };
}

async function noneFailed(load: Load): Promise<ReadonlyMap<string, number>> {
  const report = await load.stop();
  assert.deepEqual(report.errors, []);
  assert.equal(report.failed, 0);
  assert.ok(report.ok > 0);
  return report.bodies;
}

const bodiesOf = (bodies: ReadonlyMap<string, number>, key: string): Set<string | undefined> =>
  new Set([...bodies.keys()].map((body) => new RegExp(`${key}=(\\S+)`).exec(body)?.[1]));

test("a hundred smooth upgrades in a row fail no request", async (t) => {
  const { master, load } = await serving(t, 4, SOON);
  const { pid } = master;
  for (let upgrade = 1; upgrade <= 100; upgrade += 1) {
    const reply = await master.ask("upgrade");
    assert.equal(reply.error ?? false, false, reply.message);
    await load.served(1);
  }
  const status = await master.status();
  assert.equal(status.pid, pid);
  assert.equal(status.generation, 100);
  assert.equal(status.reexecs, 100);
  assert.deepEqual(
    status.workers.filter((worker) => worker.phase === "ready").map((worker) => worker.generation),
    [100, 100, 100, 100],
  );
  const bodies = await noneFailed(load);
  assert.ok(bodiesOf(bodies, "generation").size > 50, "most generations were seen by a client");
  assert.equal((await master.stop()).code, 0);
});

test("new code is what the workers run after an upgrade, and not before", async (t) => {
  const { master, load, version } = await serving(t, 2);
  await load.served(20);
  fs.writeFileSync(version, "v2");
  await load.served(20);
  assert.deepEqual(bodiesOf(load.soFar().bodies, "version"), new Set(["v1"]));
  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 0, upgrade.stderr);
  await master.onlyGeneration(1);
  const after = underLoad(t, { port: await master.port() });
  await after.served(20);
  assert.deepEqual(bodiesOf(await noneFailed(after), "version"), new Set(["v2"]));
  await noneFailed(load);
});

test("fleet upgrades fail no request, and the old workers go only when all new ones are ready", async (t) => {
  const { master, load } = await serving(t, 4, SOON);
  for (let upgrade = 1; upgrade <= 10; upgrade += 1) {
    const before = new Set((await master.workers()).map((worker) => worker.pid));
    const reply = await master.ask("upgrade_fleet");
    assert.equal(reply.error ?? false, false, reply.message);
    const current = (await master.workers()).filter((worker) => worker.phase === "ready");
    assert.equal(current.length, 4);
    for (const worker of current) assert.ok(!before.has(worker.pid));
    await load.served(1);
  }
  await noneFailed(load);
});

test("set_workers, inc and dec fail no request", async (t) => {
  const { master, load } = await serving(t, 2);
  for (const number of [6, 1, 5, 2, 8, 3]) {
    const answer = await master.sh("set_workers", String(number));
    assert.equal(answer.code, 0, answer.stderr);
    await master.until((status) => status.ready === number && status.workers.length === number, `${number} workers`);
    await load.served(50);
  }
  await master.ask("inc");
  await master.until((status) => status.ready === 4, "inc makes it 4");
  await master.ask("dec");
  await master.ask("dec");
  await master.until((status) => status.workers.length === 2, "dec twice makes it 2");
  await noneFailed(load);
});

test("a killed worker costs at most the request that it was answering", async (t) => {
  const { master, load } = await serving(t, 3);
  const kills = 12;
  for (let kill = 0; kill < kills; kill += 1) {
    await load.served(30);
    const victim = (await master.workers()).find((worker) => worker.phase === "ready")?.pid;
    assert.ok(victim);
    process.kill(victim, "SIGKILL");
    await master.until(
      (status) => status.ready === 3 && status.workers.every((worker) => worker.pid !== victim),
      "the killed worker is replaced",
    );
  }
  const report = await load.stop();
  // Each worker has one connection at a time.
  assert.ok(report.failed <= kills, `${report.failed} requests failed of ${kills} killed workers: ${report.errors}`);
});

test("kept connections to Node's HTTP server survive upgrades", async (t) => {
  const master = await startMaster(t, {
    args: [...BIND, ...SOON, "-n", "2"],
    program: ["node", fixture("http-server.mjs")],
  });
  const port = await master.port();
  const kept = underLoad(t, { port, keepAlive: true });
  const fresh = underLoad(t, { port, concurrency: 2 });
  for (let upgrade = 1; upgrade <= 10; upgrade += 1) {
    const reply = await master.ask(upgrade % 2 ? "upgrade" : "upgrade_fleet");
    assert.equal(reply.error ?? false, false, reply.message);
    await kept.served(20);
  }
  await noneFailed(kept);
  await noneFailed(fresh);
  assert.equal((await master.stop()).code, 0);
});
