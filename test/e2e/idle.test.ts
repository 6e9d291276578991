/** At rest the master does nothing: no timer fires, no system call happens, on any of its threads. */
import assert from "node:assert/strict";
import fs from "node:fs";
import { test } from "node:test";
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

/** Waits until a second passes in which nothing happened: V8's last work after the start is done. */
async function untilQuiet(pid: number): Promise<void> {
  for (;;) {
    const before = JSON.stringify(switches(pid));
    await sleep(1000);
    if (JSON.stringify(switches(pid)) === before) return;
  }
}

for (const [when, upgrades] of [
  ["after its start", 0],
  ["after an upgrade", 1],
] as const) {
  test(`no thread of the master runs in ${REST_S} s of rest ${when}`, async (t) => {
    const master = await startMaster(t, {
      args: ["-b", "127.0.0.1:0", "-m", "manual", "-n", "2"],
      program: [fixture("sleeps.pl")],
    });
    for (let i = 0; i < upgrades; i += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
    await untilQuiet(master.pid);
    const before = { switches: switches(master.pid), ticks: ticks(master.pid) };
    await sleep(REST_S * 1000);
    assert.deepEqual({ switches: switches(master.pid), ticks: ticks(master.pid) }, before);
    assert.equal((await master.stop()).code, 0);
  });
}
