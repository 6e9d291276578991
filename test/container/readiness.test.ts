import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../support/until.ts";
import { type Einhorn, PLAIN, PROBE_PORT, startEinhorn } from "./harness.ts";

const PROBED = ["--http", `0.0.0.0:${PROBE_PORT}`, ...PLAIN];

/** Asks /readyz every 10 ms; `stop` gives how often each status (or error) came. */
function pollReadiness(app: Einhorn): { stop(): Promise<Map<number | string, number>> } {
  const seen = new Map<number | string, number>();
  const asked: Promise<void>[] = [];
  const timer = setInterval(() => {
    const answer = app.get("/readyz", PROBE_PORT).then(
      ({ status }) => status,
      (error: Error) => error.message,
    );
    asked.push(answer.then((status) => void seen.set(status, (seen.get(status) ?? 0) + 1)));
  }, 10);
  return {
    stop: async () => {
      clearInterval(timer);
      await Promise.all(asked);
      return seen;
    },
  };
}

test("/readyz is 200 at every moment of smooth upgrades", async () => {
  await using app = await startEinhorn({ options: PROBED });
  const poll = pollReadiness(app);
  for (const version of ["v2", "v3", "v4"]) {
    app.release.set(version);
    const upgrade = await app.einhornsh("upgrade");
    assert.equal(upgrade.exitCode, 0, upgrade.output);
  }
  const seen = await poll.stop();
  assert.deepEqual([...seen.keys()], [200]);
  assert.ok((seen.get(200) ?? 0) > 20);
});

test("/readyz stays 200 through an upgrade that fails", async () => {
  await using app = await startEinhorn({ options: ["-s", "0.2", ...PROBED] });
  const poll = pollReadiness(app);
  app.release.set("broken");
  assert.equal((await app.einhornsh("upgrade")).exitCode, 1);
  assert.deepEqual([...(await poll.stop()).keys()], [200]);
});

test("before the first worker is ready only /livez answers 200, and einhornsh ready exits 1", async () => {
  await using app = await startEinhorn({ options: PROBED, version: "hangs", until: "running" });
  const livez = () => app.get("/livez", PROBE_PORT).catch(() => ({ status: 0 }));
  await until(
    "/livez to answer 200",
    async () => (await livez()).status === 200,
    () => app.logs(),
  );
  assert.equal((await app.get("/startupz", PROBE_PORT)).status, 503);
  const ready = await app.get("/readyz", PROBE_PORT);
  assert.equal(ready.status, 503);
  assert.equal(typeof JSON.parse(ready.body), "object");
  assert.equal((await app.einhornsh("ready")).exitCode, 1);
});

test("once ready every probe answers 200 and /metrics and /status tell the pool", async () => {
  await using app = await startEinhorn({ options: PROBED });
  for (const path of ["/livez", "/readyz", "/startupz", "/metrics", "/status"]) {
    assert.equal((await app.get(path, PROBE_PORT)).status, 200, path);
  }
  assert.match((await app.get("/metrics", PROBE_PORT)).body, /^# TYPE einhorn_\w+ (counter|gauge|histogram)$/m);
  assert.equal(typeof JSON.parse((await app.get("/status", PROBE_PORT)).body), "object");
  assert.equal((await app.einhornsh("status")).exitCode, 0);
});

test("the image's HEALTHCHECK turns healthy, and unhealthy when a worker is missing", async () => {
  await using app = await startEinhorn({
    options: PLAIN,
    health: { test: ["CMD", "einhornsh", "ready"], interval: 500, timeout: 5000, retries: 2, startPeriod: 10_000 },
  });
  await app.untilHealth("healthy");
  app.release.set("hangs");
  // Its successor runs the release that never becomes ready.
  const [, pid] = (await app.get("/")).body.split(" ");
  await app.exec(["kill", "-KILL", pid ?? ""]);
  await app.untilHealth("unhealthy");
});
