import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../support/until.ts";
import { PROBE_PORT, startEinhorn } from "./harness.ts";

const ORPHANS = 10_000;

test("10,000 orphans made as fast as can be leave no zombie and no error in the log", async () => {
  // Each subshell ends before its own child does.
  const make = `i=0; while [ $i -lt ${ORPHANS} ]; do ( : & ); i=$((i+1)); done; echo made them; exec sleep 1000`;
  await using app = await startEinhorn({
    options: ["-n", "1", "-m", "0", "--http", `0.0.0.0:${PROBE_PORT}`],
    program: ["sh", "-c", make],
    until: /made them/,
  });
  await until(
    "the last zombie to be reaped",
    async () => (await app.zombies()) === 0,
    () => app.logs(),
  );
  assert.doesNotMatch(await app.logs(), /error/i);
  const metrics = async (): Promise<string> => (await app.get("/metrics", PROBE_PORT)).body;
  const counted = async (): Promise<number> =>
    Number(/^einhorn_orphans\w*(?:\{.*\})? (\d+)$/m.exec(await metrics())?.[1]);
  await until("all of them to be counted", async () => (await counted()) >= ORPHANS, metrics);
  const ended = await app.stop(20);
  assert.equal(ended.exitCode, 0);
});

/** A worker that leaves a process in a session of its own behind, which does `onTerm` when asked to end. */
const leaves = (onTerm: string): string[] => [
  "sh",
  "-c",
  `setsid sh -c 'trap "${onTerm}" TERM; echo left behind; while :; do sleep 0.1; done' & exec node /app/server.mjs`,
];

test("what outlives the workers gets SIGTERM before PID 1 exits", async () => {
  await using app = await startEinhorn({ program: leaves("echo it got TERM; exit") });
  await app.untilLogged(/left behind/);
  const ended = await app.stop(30);
  assert.equal(ended.exitCode, 0);
  assert.match(await app.logs(), /it got TERM/);
  assert.ok(ended.seconds < 10, `took ${ended.seconds} s`);
});

test("what ignores that SIGTERM is killed and does not keep the container", async () => {
  await using app = await startEinhorn({ program: leaves("echo it stays") });
  await app.untilLogged(/left behind/);
  const ended = await app.stop(30);
  assert.equal(ended.exitCode, 0);
  assert.match(await app.logs(), /it stays/);
  assert.ok(ended.seconds < 15, `took ${ended.seconds} s`);
});

test("a worker killed for memory is replaced and status says OOM", async () => {
  await using app = await startEinhorn({ host: { Memory: 300 << 20, MemorySwap: 300 << 20 } });
  const identity = await app.identity();
  await assert.rejects(app.get("/eat"));
  await app.untilReady();
  assert.match((await app.einhornsh("status")).output, /oom|out of memory/i);
  assert.equal((await app.get("/")).status, 200);
  assert.equal(await app.identity(), identity);
});

test("PID 1 restores what Node changed: workers find default signals and the container's limits", async () => {
  await using app = await startEinhorn({
    options: ["-n", "1", "-m", "0", "--rlimit", "nofile=1024:4096"],
    program: ["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; ulimit -Sn; ulimit -Hn; exec sleep 1000"],
    host: { Ulimits: [{ Name: "nofile", Soft: 1024, Hard: 4096 }] },
    until: "running",
  });
  await app.untilLogged(/4096/);
  const log = await app.logs();
  assert.match(log, /^SigBlk:\s0{16}$/m);
  assert.match(log, /^SigIgn:\s0{16}$/m);
  assert.match(log, /^1024\r?\n4096$/m);
});

test("signals that ask for nothing are passed on to the workers", async () => {
  const trap = ["USR1", "WINCH", "CONT", "TTIN", "TTOU"].map((name) => `trap 'echo got ${name}' ${name}`).join("; ");
  await using app = await startEinhorn({
    options: ["-n", "1", "-m", "0"],
    program: ["sh", "-c", `${trap}; echo trapped; while :; do sleep 0.1; done`],
    until: /trapped/,
  });
  for (const name of ["USR1", "WINCH", "CONT", "TTIN", "TTOU"]) {
    await app.kill(`SIG${name}`);
    await app.untilLogged(new RegExp(`got ${name}`));
  }
  assert.equal((await app.inspect()).State.Running, true);
});
