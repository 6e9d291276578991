/** How the master stops: what each signal means, what happens to requests, and what is left. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { appears, fixture, get, type Master, startMaster } from "../support/master.ts";
import { isAlive } from "../support/processes.ts";

const MANUAL = ["-m", "manual", "-b", "127.0.0.1:0"];

/** A master whose one worker holds a request until `release` is called. */
async function withHeldRequest(t: TestContext, args: readonly string[] = []) {
  const directory = fs.mkdtempSync("/tmp/einhorn-held-");
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  const gate = path.join(directory, "gate");
  const started = path.join(directory, "started");
  const master = await startMaster(t, {
    args: [...MANUAL, ...args],
    program: [fixture("slow-request.pl")],
    env: { GATE: gate, STARTED: started },
  });
  const reply = get(await master.port(), "/hold");
  reply.catch(() => {});
  await appears(started);
  return { master, reply, release: () => fs.writeFileSync(gate, "") };
}

for (const signal of ["SIGTERM", "SIGINT", "SIGUSR2"] as const) {
  test(`${signal} lets a request that is under way finish, and exits 0`, async (t) => {
    const { master, reply, release } = await withHeldRequest(t);
    master.kill(signal);
    await master.until((status) => status.mode === "stopping" && status.workers.every(({ phase }) => phase === "told"));
    assert.equal((await master.sh("ready")).code, 1, "no longer ready");
    release();
    assert.equal(await reply, "held to the end");
    const ended = await master.ended();
    assert.deepEqual([ended.code, ended.signal], [0, null]);
    assert.equal(fs.existsSync(master.sockPath), false, "the command socket is removed");
  });
}

test("die stops like TERM, and says so", async (t) => {
  const { master, reply, release } = await withHeldRequest(t);
  const answer = await master.sh("die");
  assert.equal(answer.code, 0, answer.stderr);
  assert.match(answer.stdout, /going down/i);
  release();
  assert.equal(await reply, "held to the end");
  assert.equal((await master.ended()).code, 0);
});

test("a third TERM kills workers that do not finish", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "2"],
    program: [fixture("deaf-to-everything.pl")],
  });
  const pids = (await master.workers()).map((worker) => worker.pid as number);
  for (const wanted of [/stopping 2 workers/, /again: telling/, /again: killing/]) {
    master.kill("SIGTERM");
    await master.waitForLog(wanted);
  }
  assert.equal((await master.ended()).code, 0);
  assert.deepEqual(pids.filter(isAlive), []);
});

test("QUIT: SIGQUIT to the workers and exit 1 at once", async (t) => {
  const reports = fs.mkdtempSync("/tmp/einhorn-quit-");
  t.after(() => fs.rmSync(reports, { recursive: true }));
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "2"],
    program: [fixture("reports-signals.pl")],
    env: { REPORT: reports },
  });
  master.kill("SIGQUIT");
  assert.equal((await master.ended()).code, 1);
  for (const slot of ["0", "1"]) assert.match(await appears(path.join(reports, slot)), /^QUIT$/m);
});

test("--grace-period ends in SIGKILL, and the log says for whom", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "--grace-period", "0.3"],
    program: [fixture("deaf-to-everything.pl")],
  });
  const pid = (await master.workers())[0]?.pid as number;
  const ended = await master.stop();
  assert.equal(ended.code, 0);
  assert.match(ended.stderr, new RegExp(`pid=${pid}.*SIGKILL`));
  assert.equal(isAlive(pid), false);
});

test("-t: a worker that ignores the request to go is killed, and an upgrade is complete without it", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "2", "-t", "0.3"],
    program: [fixture("deaf-to-everything.pl")],
  });
  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 0, upgrade.stderr);
  const { workers } = await master.until((status) => status.workers.length === 2, "the old ones are killed");
  assert.deepEqual(
    workers.map((worker) => worker.generation),
    [1, 1],
  );
  assert.equal((await master.stop()).code, 0);
});

test("--drain-delay: unready at once, and requests are answered until the delay is over", async (t) => {
  const master = await startMaster(t, {
    args: [...MANUAL, "--drain-delay", "30"],
    program: [fixture("http-server.pl")],
  });
  const port = await master.port();
  master.kill("SIGTERM");
  await master.until((status) => status.mode === "stopping");
  assert.equal((await master.sh("ready")).code, 1);
  for (let i = 0; i < 5; i += 1) assert.match(await get(port), /generation=0/);
  assert.deepEqual((await master.workers())[0]?.signals, []);
  // The second one ends the delay.
  assert.equal((await master.stop()).code, 0);
});

test("--graceful-signal auto: USR2 for a worker that catches it, else TERM", async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-auto-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const report = path.join(directory, "report");
  const deaf = await startMaster(t, {
    args: ["-m", "manual"],
    program: [fixture("deaf-to-usr2.pl")],
    env: { REPORT: report },
  });
  assert.equal((await deaf.stop()).code, 0);
  assert.equal(fs.readFileSync(report, "utf8"), "TERM");

  const hearing = await startMaster(t, {
    args: ["-m", "manual"],
    program: [fixture("reports-signals.pl")],
    env: { REPORT: directory },
  });
  assert.equal((await hearing.stop()).code, 0);
  assert.equal(fs.readFileSync(path.join(directory, "0"), "utf8"), "USR2\n");
});

async function killed(master: Master): Promise<number> {
  const pid = (await master.workers())[0]?.pid as number;
  master.kill("SIGKILL");
  await master.ended();
  return pid;
}

test("-k: the workers go when the master is killed; without it they stay", async (t) => {
  const with_ = await startMaster(t, { args: ["-m", "manual", "-k"], program: [fixture("idle.pl")] });
  const gone = await killed(with_);
  while (isAlive(gone)) await new Promise((resolve) => setTimeout(resolve, 10));
  const without = await startMaster(t, { args: ["-m", "manual"], program: [fixture("idle.pl")] });
  assert.equal(isAlive(await killed(without)), true);
});

test("processes that a worker left are reaped, and do not keep the master from ending", async (t) => {
  const master = await startMaster(t, { args: ["-m", "0", "-n", "2"], program: [fixture("leaves-orphans.sh")] });
  await master.until((status) => status.orphansReaped >= 2, "orphans reaped");
  assert.equal((await master.stop()).code, 0);
});
