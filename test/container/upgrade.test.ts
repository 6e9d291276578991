import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { until } from "../support/until.ts";
import { PLAIN, startEinhorn } from "./harness.ts";

test("einhornsh upgrade under load replaces the code in the same PID 1 and loses no request", async () => {
  await using app = await startEinhorn();
  const before = await app.identity();
  const load = startLoad({ host: app.host, port: app.port() });
  await load.served(50);

  app.release.set("v2");
  const upgrade = await app.einhornsh("upgrade");
  const seen = [...load.soFar().bodies.keys()];
  await load.served(50);
  const report = await load.stop();

  assert.equal(upgrade.exitCode, 0, upgrade.output);
  assert.deepEqual(report.errors, []);
  assert.equal(report.failed, 0);
  assert.equal(await app.identity(), before);
  assert.ok(seen.some((body) => body.startsWith("v1 ")));
  await app.untilOnlyGeneration(1);
  const after = startLoad({ host: app.host, port: app.port() });
  await after.served(50);
  const bodies = [...(await after.stop()).bodies.keys()];
  assert.ok(
    bodies.every((body) => body.startsWith("v2 ")),
    `still the old code: ${bodies}`,
  );
});

test("twenty upgrades in a row under load lose no request", async () => {
  // No second for each release to stand before the old workers go.
  await using app = await startEinhorn({ options: ["-s", "0.1", ...PLAIN] });
  const before = await app.identity();
  const load = startLoad({ host: app.host, port: app.port(), concurrency: 2 });
  for (let round = 1; round <= 20; round += 1) {
    app.release.set(`round${round}`);
    const upgrade = await app.einhornsh("upgrade");
    assert.equal(upgrade.exitCode, 0, upgrade.output);
  }
  const report = await load.stop();
  assert.deepEqual(report.errors, []);
  assert.equal(report.failed, 0);
  assert.equal(await app.identity(), before);
});

for (const [version, options] of [
  ["broken", []],
  ["hangs", ["--upgrade-timeout", "3"]],
] as const) {
  test(`an upgrade to a version that ${version === "broken" ? "cannot start" : "never becomes ready"} exits 1 and the old code goes on serving`, async () => {
    await using app = await startEinhorn({ options: ["-s", "0.2", ...options, ...PLAIN] });
    const before = await app.identity();
    const load = startLoad({ host: app.host, port: app.port() });
    await load.served(50);

    app.release.set(version);
    const upgrade = await app.einhornsh("upgrade");
    await load.served(50);
    const report = await load.stop();

    assert.equal(upgrade.exitCode, 1, upgrade.output);
    assert.deepEqual(report.errors, []);
    assert.equal(await app.identity(), before);
    assert.ok([...report.bodies.keys()].every((body) => body.startsWith("v1 ")));
    assert.equal((await app.einhornsh("ready")).exitCode, 0);
  });
}

test("SIGHUP to PID 1 is a smooth upgrade", async () => {
  await using app = await startEinhorn();
  const load = startLoad({ host: app.host, port: app.port() });
  await load.served(20);
  app.release.set("v2");
  await app.kill("SIGHUP");
  await until(
    "the new code",
    () => [...load.soFar().bodies.keys()].some((body) => body.startsWith("v2 ")),
    () => app.logs(),
  );
  const report = await load.stop();
  assert.deepEqual(report.errors, []);
});
