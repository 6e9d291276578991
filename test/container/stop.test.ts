import assert from "node:assert/strict";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { until } from "../support/until.ts";
import { PLAIN, PROBE_PORT, startEinhorn } from "./harness.ts";

const PROBED = [...PLAIN, "--http", `0.0.0.0:${PROBE_PORT}`];

test("docker stop lets requests in flight finish and exits 0 well inside the timeout", async () => {
  await using app = await startEinhorn();
  const inFlight = Array.from({ length: 8 }, () => app.ask("/slow?ms=1500"));
  // Accepted by a worker, which is all that a stop must respect.
  await Promise.all(inFlight.map(({ begun }) => begun));
  const ended = await app.stop(30);
  for (const { status, body } of await Promise.all(inFlight.map(({ reply }) => reply))) {
    assert.equal(status, 200);
    assert.match(body, /^v1 /);
  }
  assert.equal(ended.exitCode, 0, await app.logs());
  assert.ok(ended.seconds < 15, `took ${ended.seconds} s`);
});

test("a worker that ignores the stop is killed inside the grace period and the log says so", async () => {
  await using app = await startEinhorn({
    options: [...PLAIN, "--grace-period", "3"],
    environment: { APP_DEAF: "1" },
  });
  const pids = (await app.status()).workers.map(({ pid }) => pid);
  assert.equal(pids.length, 2);
  const ended = await app.stop(30);
  assert.equal(ended.exitCode, 0, await app.logs());
  assert.ok(ended.seconds < 15, `the orchestrator's own limit would come before ${ended.seconds} s`);
  const log = await app.logs();
  for (const pid of pids) assert.match(log, new RegExp(`\\b${pid}\\b.*KILL|KILL.*\\b${pid}\\b`));
});

test("through the drain delay readiness is gone and requests are still served", async () => {
  await using app = await startEinhorn({ options: [...PROBED, "--drain-delay", "5", "--grace-period", "30"] });
  assert.equal((await app.get("/readyz", PROBE_PORT)).status, 200);
  const load = startLoad({ host: app.host, port: app.port(), pauseMs: 5 });
  await load.served(20);

  await app.kill("SIGTERM");
  // Counted from where the engine has sent it for certain.
  const since = performance.now();
  await until(
    "/readyz to be 503",
    async () => (await app.get("/readyz", PROBE_PORT)).status === 503,
    () => app.logs(),
    { everyMs: 10 },
  );
  const unreadyMs = performance.now() - since;
  await load.served(50);
  const report = await load.stop();
  const ended = await app.ended();

  assert.ok(unreadyMs < 4000, `unready only after ${unreadyMs} ms of a drain of 5 s`);
  assert.deepEqual(report.errors, []);
  assert.equal(ended.exitCode, 0, await app.logs());
  assert.ok(performance.now() - since < 30_000);
});

test("a third stop signal kills what is left at once", async () => {
  await using app = await startEinhorn({ environment: { APP_DEAF: "1" } });
  // The kernel keeps one of each signal that waits: the next is sent when the last was acted upon.
  for (const said of [/Got SIGTERM: stopping/, /again: telling all workers/, /again: killing all workers/]) {
    await app.kill("SIGTERM");
    await app.untilLogged(said);
  }
  const ended = await app.ended();
  assert.equal(ended.exitCode, 0, await app.logs());
});

test("SIGQUIT to the master exits 1 at once", async () => {
  await using app = await startEinhorn();
  await app.kill("SIGQUIT");
  assert.equal((await app.ended()).exitCode, 1);
});
