/**
 * Goal: a stop signal that comes at any moment of an upgrade, the re-exec of PID 1 included, stops gracefully.
 * Method: a few containers are upgraded without a stop, to see how long the parts of an upgrade take here and now. Then a hundred more, in
 * each of which SIGTERM follows SIGHUP at another distance: fifty spread over the time to the re-exec, fifty over the time from there to the
 * end. What each shows of its own pace is taken into account for the next, so that a machine that becomes faster or slower meanwhile moves
 * none of them into another part. The log of each tells in which part SIGTERM was acted upon; none may have been spared. A request in flight
 * shows that nothing was cut.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startEinhorn } from "./harness.ts";

const TRIALS = 100;
const AT_ONCE = 4;
/** Prime to half the number of trials: near and far distances alternate, however the machine's load changes meanwhile. */
const STRIDE = 37;

const CHECKING = /Preparing a smooth upgrade/;
const REPLACED = /Replaced the master's image/;
const DONE = /Upgrade done/;
const STOPPING = /Got SIGTERM/;

const start = () => startEinhorn({ options: ["-n", "1", "-m", "manual", "-b", "0.0.0.0:8080"] });

/** When the log's first such line was written; NaN where there is none. */
function timeOf(log: string, pattern: RegExp): number {
  const line = log.split("\n").find((text) => pattern.test(text));
  return Date.parse(line?.split(" ")[0] ?? "");
}

/** How long the parts of an upgrade took in each container that came so far. */
class Pace {
  readonly #untilReexecMs: number[] = [];
  readonly #fromReexecMs: number[] = [];

  learn(log: string): void {
    const replaced = timeOf(log, REPLACED);
    if (Number.isNaN(replaced)) return;
    this.#untilReexecMs.push(replaced - timeOf(log, CHECKING));
    const done = timeOf(log, DONE);
    if (!Number.isNaN(done)) this.#fromReexecMs.push(done - replaced);
  }

  get untilReexecMs(): number {
    return median(this.#untilReexecMs);
  }

  get fromReexecMs(): number {
    return median(this.#fromReexecMs);
  }

  /** The distance of the nth trial: even ones fall before the re-exec, odd ones after it. */
  delayMs(nth: number): number {
    const fraction = (((nth >> 1) * STRIDE) % (TRIALS / 2)) / (TRIALS / 2);
    return nth % 2 === 0 ? fraction * this.untilReexecMs : this.untilReexecMs + fraction * this.fromReexecMs;
  }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
}

/** What an upgrade takes when nothing comes between. */
async function undisturbed(pace: Pace): Promise<void> {
  await using app = await start();
  await app.kill("SIGHUP");
  await app.untilLogged(DONE);
  pace.learn(await app.logs());
}

/** In which part SIGTERM was acted upon, and what went wrong. */
async function trial(pace: Pace, nth: number): Promise<{ part: string; failure: string | null }> {
  await using app = await start();
  const { begun, reply } = app.ask("/slow?ms=700");
  const request = reply.then(
    ({ status }) => (status === 200 ? null : `request got ${status}`),
    (error: Error) => `request failed: ${error.message}`,
  );
  await begun;
  const delayMs = pace.delayMs(nth);
  // Both from one shell inside: a call to the engine takes as long as a re-exec, sometimes.
  await app.exec(["sh", "-c", `kill -HUP 1; sleep ${(delayMs / 1000).toFixed(4)}; kill -TERM 1`]);
  const ended = await app.ended();
  const failed = await request;
  const log = await app.logs();
  pace.learn(log);
  const until = log.slice(0, log.search(STOPPING));
  const part = DONE.test(until) ? "after it" : REPLACED.test(until) ? "after the re-exec" : "before the re-exec";
  if (ended.exitCode === 0 && failed === null && STOPPING.test(log)) return { part, failure: null };
  const end = `exit ${ended.exitCode} after ${ended.seconds.toFixed(1)} s, ${failed}`;
  return { part, failure: `SIGTERM ${delayMs} ms after SIGHUP, ${part}: ${end}\n${log}` };
}

test("SIGTERM at any moment of an upgrade stops PID 1 gracefully, 100 of 100", { timeout: 1_200_000 }, async (t) => {
  const pace = new Pace();
  await Promise.all(Array.from({ length: AT_ONCE }, () => undisturbed(pace)));
  const failures: string[] = [];
  const met: Record<string, number> = { "before the re-exec": 0, "after the re-exec": 0, "after it": 0 };
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < TRIALS) {
      const { part, failure } = await trial(pace, next++);
      met[part] = (met[part] ?? 0) + 1;
      if (failure !== null) failures.push(failure);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  const parts = `${pace.untilReexecMs} ms to the re-exec, ${pace.fromReexecMs} ms from there`;
  t.diagnostic(`an upgrade took ${parts}; SIGTERM was met ${JSON.stringify(met)}`);
  assert.equal(
    failures.length,
    0,
    `${failures.length} of ${TRIALS} were not graceful:\n${failures.slice(0, 3).join("\n")}`,
  );
  for (const part of ["before the re-exec", "after the re-exec"])
    assert.ok((met[part] ?? 0) >= 5, `${JSON.stringify(met)} where an upgrade took ${parts}`);
});
