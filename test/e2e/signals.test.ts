/** Signals that the master passes on, and HUP; those that stop it are in stop.test.ts. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fixture, type Master, startMaster } from "../support/master.ts";

async function reporting(t: TestContext): Promise<{ master: Master; report: (slot: number) => string }> {
  const reports = fs.mkdtempSync("/tmp/einhorn-signals-");
  t.after(() => fs.rmSync(reports, { recursive: true }));
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "2"],
    program: [fixture("reports-signals.pl")],
    env: { REPORT: reports },
  });
  const report = (slot: number): string => {
    const file = path.join(reports, String(slot));
    return fs.existsSync(file) ? fs.readFileSync(file, "utf8") : "";
  };
  return { master, report };
}

const passedOn: readonly (readonly [string, string])[] = [
  ["USR1", "USR1"],
  ["WINCH", "WINCH"],
  ["CONT", "CONT"],
  ["TTIN", "TTIN"],
  ["TTOU", "TTOU"],
  // By number, since shells and languages name them in different ways.
  ["35", "NUM35"],
  ["40", "NUM40"],
];

test("USR1, WINCH, CONT, TTIN, TTOU and real-time signals go to all workers, and the master stays", async (t) => {
  const { master, report } = await reporting(t);
  for (const [signal, name] of passedOn) {
    execFileSync("/bin/kill", [`-${signal}`, String(master.pid)]);
    for (const slot of [0, 1]) {
      while (!report(slot).split("\n").includes(name)) {
        assert.equal(master.hasEnded, false, `SIG${signal} ended the master`);
        await sleep(10);
      }
    }
  }
  assert.equal(report(0), `${passedOn.map(([, name]) => name).join("\n")}\n`, "each came once");
  assert.doesNotMatch(master.log(), /inspector|Debugger/i, "USR1 opened Node's inspector");
  assert.equal((await master.status()).ready, 2);
});

test("they still do after the master was replaced", async (t) => {
  const { master, report } = await reporting(t);
  assert.equal((await master.ask("reload")).error ?? false, false);
  master.kill("SIGUSR1");
  for (const slot of [0, 1]) while (!report(slot).includes("USR1")) await sleep(10);
  assert.doesNotMatch(master.log(), /inspector|Debugger/i);
});

test("HUP is a smooth upgrade in the same process", async (t) => {
  const { master } = await reporting(t);
  const before = (await master.workers()).map((worker) => worker.pid);
  master.kill("SIGHUP");
  const after = await master.until((status) => status.lastUpgrade?.result === "done" && status.workers.length === 2);
  assert.equal(after.pid, master.pid);
  assert.equal(after.reexecs, 1);
  for (const worker of after.workers) assert.ok(!before.includes(worker.pid));
});

test("einhornsh signal sends what it is told, to all", async (t) => {
  const { master, report } = await reporting(t);
  const answer = await master.sh("signal", "USR1");
  assert.equal(answer.code, 0, answer.stderr);
  for (const slot of [0, 1]) while (!report(slot).includes("USR1")) await sleep(10);
  assert.equal((await master.sh("signal", "NOSUCH")).code, 1);
});

test("signals that come during a re-exec are not lost", async (t) => {
  const { master, report } = await reporting(t);
  const count = (): number => report(0).match(/USR1/g)?.length ?? 0;
  let sent = 0;
  const reload = master.ask("reload");
  let over = false;
  reload.finally(() => {
    over = true;
  });
  while (!over) {
    // One at a time: signals of one kind that wait together are one (signal(7)).
    master.kill("SIGUSR1");
    sent += 1;
    while (count() < sent) {
      assert.equal(master.hasEnded, false, "the master died of USR1");
      await sleep(1);
    }
  }
  assert.equal((await reload).error ?? false, false);
  assert.equal(count(), sent);
});
