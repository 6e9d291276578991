/**
 * Goal: a stop signal that comes at any moment of an upgrade, the re-exec of PID 1 included, stops gracefully.
 * Method: a hundred containers; in each an upgrade is asked for and SIGTERM follows 4 ms later than in the one before, so that the hundred
 * cover check, re-exec, start of the new image and replacement of the workers. A request in flight shows that nothing was cut.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startEinhorn } from "./harness.ts";

const TRIALS = 100;
const STEP_MS = 4;
const AT_ONCE = 4;

/** What went wrong, or null. */
async function trial(delayMs: number): Promise<string | null> {
  await using app = await startEinhorn({ options: ["-n", "1", "-m", "manual", "-b", "0.0.0.0:8080"] });
  const inFlight = app.get("/slow?ms=700").then(
    ({ status }) => (status === 200 ? null : `request got ${status}`),
    (error: Error) => `request failed: ${error.message}`,
  );
  await sleep(50);
  await app.kill("SIGHUP");
  await sleep(delayMs);
  const ended = await app.stop(20);
  const request = await inFlight;
  if (ended.exitCode === 0 && request === null) return null;
  return `SIGTERM ${delayMs} ms after SIGHUP: exit ${ended.exitCode} after ${ended.seconds.toFixed(1)} s, ${request}\n${await app.logs()}`;
}

test("SIGTERM at any moment of an upgrade stops PID 1 gracefully, 100 of 100", async () => {
  const delays = Array.from({ length: TRIALS }, (_, nth) => nth * STEP_MS);
  const failures: string[] = [];
  const lane = async (): Promise<void> => {
    for (let delay = delays.shift(); delay !== undefined; delay = delays.shift()) {
      const failure = await trial(delay);
      if (failure !== null) failures.push(failure);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  assert.equal(
    failures.length,
    0,
    `${failures.length} of ${TRIALS} were not graceful:\n${failures.slice(0, 3).join("\n")}`,
  );
});
