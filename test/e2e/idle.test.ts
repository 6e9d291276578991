/** At rest the master does nothing: no timer fires, no system call happens, on any of its threads. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fixture, startMaster } from "../support/master.ts";
import { statusField } from "../support/processes.ts";

const REST_S = 20;

/** Times that each thread gave up the processor or lost it: a thread that slept throughout has the same numbers after. */
function switches(pid: number): Record<string, string> {
  const threads = fs.readdirSync(`/proc/${pid}/task`);
  return Object.fromEntries(
    threads.map((thread) => {
      const id = Number(thread);
      const counts = ["voluntary_ctxt_switches", "nonvoluntary_ctxt_switches"].map((name) => statusField(id, name));
      return [thread, counts.join(" ")];
    }),
  );
}

/** What was done since the start, in clock ticks, user and kernel. */
function ticks(pid: number): string {
  const fields = fs.readFileSync(`/proc/${pid}/stat`, "latin1").split(") ").at(-1)?.split(" ") ?? [];
  return fields.slice(11, 13).join(" ");
}

/**
 * Waits until nothing happened for this long: V8 tidies up once, some 8 s after the last work (its memory reducer), and memory is
 * given back a last time after that.
 */
async function untilQuiet(pid: number, quietS: number): Promise<void> {
  let last = "";
  for (let quiet = 0; quiet < quietS; quiet += 1) {
    await sleep(1000);
    const now = JSON.stringify(switches(pid));
    if (now !== last) quiet = 0;
    last = now;
  }
}

async function rests(t: TestContext, args: readonly string[], upgrades: number): Promise<void> {
  const master = await startMaster(t, {
    args: ["-b", "127.0.0.1:0", "-m", "manual", ...args],
    program: [fixture("sleeps.pl")],
  });
  for (let i = 0; i < upgrades; i += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
  await untilQuiet(master.pid, 12);
  const before = { switches: switches(master.pid), ticks: ticks(master.pid) };
  await sleep(REST_S * 1000);
  assert.deepEqual({ switches: switches(master.pid), ticks: ticks(master.pid) }, before);
  assert.equal((await master.stop()).code, 0);
}

// Side by side: they wait, and do nothing else.
test(`no thread of the master runs in ${REST_S} s of rest`, { concurrency: true }, async (t) => {
  await Promise.all([
    t.test("after its start", (it) => rests(it, ["-n", "2"], 0)),
    t.test("after an upgrade", (it) => rests(it, ["-n", "2"], 1)),
    t.test("with the HTTP server, a drain delay and limits set", (it) =>
      rests(
        it,
        ["--http", "127.0.0.1:0", "--drain-delay", "5", "--grace-period", "30", "--ack-timeout", "5", "-t", "5"],
        0,
      ),
    ),
  ]);
});
