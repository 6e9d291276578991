/**
 * ACKs pace an upgrade, not a clock. Judged by the order of the master's own log, not by how long anything took: at most
 * `--max-unacked` are starting at any moment, and before the next ACK comes all those places are in use again, as long as workers are missing.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { fixture, logLines, startMaster, type WorkerStatus } from "../support/master.ts";

const ARGS = ["-b", "127.0.0.1:0", "-m", "manual", "-n", "8", "--log-format", "json"];

/** Starts and ACKs of one generation in the order of the log: +1 and -1. */
function course(log: string, generation: number): (1 | -1)[] {
  return logLines(log).flatMap((line): (1 | -1)[] => {
    const text = String(line.message ?? line.msg);
    if (line.generation !== generation) return [];
    if (/^worker .* started$/.test(text)) return [1];
    return /^worker .* is ready/.test(text) ? [-1] : [];
  });
}

/** How many were starting when each ACK came, that one included. */
function startingAtAcks(steps: readonly (1 | -1)[]): number[] {
  let starting = 0;
  return steps.flatMap((step) => {
    starting += step;
    return step === -1 ? [starting + 1] : [];
  });
}

/** Not looked at from ACK to ACK: two that come in one turn of the master's loop are followed by two starts. */
function assertPaced(steps: readonly (1 | -1)[], { workers, unacked }: { workers: number; unacked: number }): void {
  let starting = 0;
  let started = 0;
  for (const [at, step] of steps.entries()) {
    starting += step;
    if (step === 1) started += 1;
    assert.ok(starting <= unacked, `${starting} starting: ${steps}`);
    const isLastOfRun = step === 1 && steps[at + 1] !== 1;
    if (isLastOfRun && started < workers) assert.equal(starting, unacked, `${steps}`);
  }
  assert.equal(started, workers);
}

test("a smooth upgrade keeps --max-unacked workers starting from the first to the last", async (t) => {
  const master = await startMaster(t, { args: [...ARGS, "--max-unacked", "2"], program: [fixture("slow-boot.pl")] });
  const pace = { workers: 8, unacked: 2 };
  // The first fill obeys it too.
  assertPaced(course(master.log(), 0), pace);
  const from = master.log().length;
  const reply = await master.ask("upgrade");
  assert.equal(reply.error ?? false, false, reply.message);
  await master.waitForLog(/Upgrade done/, from);
  assertPaced(course(master.log().slice(from), 1), pace);
});

test("ready workers never fall below the number during a smooth upgrade", async (t) => {
  const master = await startMaster(t, { args: [...ARGS, "--max-unacked", "2"], program: [fixture("slow-boot.pl")] });
  let over = false;
  const upgrade = master.ask("upgrade").finally(() => {
    over = true;
  });
  let samples = 0;
  while (!over) {
    const { workers, ready } = await master.status();
    assert.ok(ready >= 8, `${ready} ready workers`);
    assert.ok(workers.filter((worker) => worker.phase === "starting").length <= 2);
    samples += 1;
  }
  assert.equal((await upgrade).error ?? false, false);
  assert.ok(samples > 5);
});

test("--max-upgrade-additional limits the workers above the number", async (t) => {
  const args = [...ARGS, "--max-unacked", "8", "--max-upgrade-additional", "1"];
  const master = await startMaster(t, { args, program: [fixture("slow-boot.pl")] });
  let over = false;
  const upgrade = master.ask("upgrade").finally(() => {
    over = true;
  });
  while (!over) {
    const { workers } = await master.status();
    const serving = workers.filter((worker) => worker.phase === "ready" || worker.phase === "starting");
    assert.ok(serving.length <= 9, `${serving.length} workers`);
  }
  assert.equal((await upgrade).error ?? false, false);
});

test("a fleet upgrade starts all new workers before the first of them is ready", async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-pacing-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const gate = path.join(directory, "gate");
  fs.writeFileSync(gate, "");
  const master = await startMaster(t, { args: ARGS, program: [fixture("acks-late.pl")], env: { GATE: gate } });
  fs.rmSync(gate);
  const upgrade = master.ask("upgrade_fleet");
  const isStarting = (worker: WorkerStatus): boolean => worker.generation === 1 && worker.phase === "starting";
  await master.until(({ workers }) => workers.filter(isStarting).length === 8);
  fs.writeFileSync(gate, "");
  const reply = await upgrade;
  assert.equal(reply.error ?? false, false, reply.message);
  await master.waitForLog(/Upgrade done/);
  assert.deepEqual(startingAtAcks(course(master.log(), 1)), [8, 7, 6, 5, 4, 3, 2, 1]);
});
