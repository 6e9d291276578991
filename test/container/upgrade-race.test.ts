/**
 * Goal: a stop signal that comes at any moment of an upgrade, the re-exec of PID 1 included, stops gracefully.
 * Method: a few containers are upgraded without a stop, to see how long that takes here and now. Then a hundred more, in each of which SIGTERM
 * follows the request for an upgrade at another of a hundred distances from 0 to a little more than that. The log of each tells in which
 * phase SIGTERM was acted upon; none may have been spared. A request in flight shows that nothing was cut.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startEinhorn } from "./harness.ts";

const TRIALS = 100;
const AT_ONCE = 4;
/** Prime to the number of trials: near and far distances alternate, however the machine's load changes meanwhile. */
const STRIDE = 37;

const CHECKING = /Preparing a smooth upgrade/;
const REPLACED = /Replaced the master's image/;
const DONE = /Upgrade done/;
const STOPPING = /Got SIGTERM/;

const start = () => startEinhorn({ options: ["-n", "1", "-m", "manual", "-b", "0.0.0.0:8080"] });

/** When the log's first such line was written; null where there is none. */
function timeOf(log: string, pattern: RegExp): number | null {
  const line = log.split("\n").find((text) => pattern.test(text));
  return line === undefined ? null : Date.parse(line.split(" ")[0] ?? "");
}

/** How long an upgrade takes. */
async function upgradeMs(): Promise<number> {
  await using app = await start();
  await app.kill("SIGHUP");
  await app.untilLogged(DONE);
  const log = await app.logs();
  return Number(timeOf(log, DONE)) - Number(timeOf(log, CHECKING));
}

/** In which phase SIGTERM was acted upon, and what went wrong. */
async function trial(delayMs: number): Promise<{ phase: string; failure: string | null }> {
  await using app = await start();
  const { begun, reply } = app.ask("/slow?ms=700");
  const request = reply.then(
    ({ status }) => (status === 200 ? null : `request got ${status}`),
    (error: Error) => `request failed: ${error.message}`,
  );
  await begun;
  await app.kill("SIGHUP");
  await sleep(delayMs);
  const ended = await app.stop(30);
  const failed = await request;
  const log = await app.logs();
  const until = log.slice(0, log.search(STOPPING));
  const phase = DONE.test(until) ? "after it" : REPLACED.test(until) ? "after the re-exec" : "before the re-exec";
  if (ended.exitCode === 0 && failed === null) return { phase, failure: null };
  const end = `exit ${ended.exitCode} after ${ended.seconds.toFixed(1)} s, ${failed}`;
  return { phase, failure: `SIGTERM ${delayMs} ms after SIGHUP, ${phase}: ${end}\n${log}` };
}

test("SIGTERM at any moment of an upgrade stops PID 1 gracefully, 100 of 100", async (t) => {
  const longestMs = Math.max(...(await Promise.all(Array.from({ length: AT_ONCE }, upgradeMs))));
  const delays = Array.from({ length: TRIALS }, (_, nth) => (1.1 * longestMs * ((nth * STRIDE) % TRIALS)) / TRIALS);
  const failures: string[] = [];
  const met: Record<string, number> = { "before the re-exec": 0, "after the re-exec": 0, "after it": 0 };
  const lane = async (): Promise<void> => {
    for (let delay = delays.shift(); delay !== undefined; delay = delays.shift()) {
      const { phase, failure } = await trial(delay);
      met[phase] = (met[phase] ?? 0) + 1;
      if (failure !== null) failures.push(failure);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  t.diagnostic(`an upgrade took ${longestMs} ms at most; SIGTERM was met ${JSON.stringify(met)}`);
  assert.equal(
    failures.length,
    0,
    `${failures.length} of ${TRIALS} were not graceful:\n${failures.slice(0, 3).join("\n")}`,
  );
  for (const phase of ["before the re-exec", "after the re-exec"])
    assert.ok((met[phase] ?? 0) >= 10, JSON.stringify(met));
});
