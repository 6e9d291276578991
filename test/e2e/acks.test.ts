/** Whose ACK counts, who may speak on the command socket at all, and what happens without an ACK. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { fixture, root, run, startMaster } from "../support/master.ts";
import { sendRaw } from "../support/wire.ts";

const exec = promisify(execFile);
const NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
const NEVER = { args: ["-m", "manual", "-n", "1"], program: [fixture("never-acks.pl")], until: "running" } as const;

/** What an ACK of this kind says about a worker. */
const ackLine = (pid: number | null): string => `${JSON.stringify({ command: "worker:ack", pid })}\n`;

test("an ACK in a worker's name from a stranger does not count, root or not", async (t) => {
  const master = await startMaster(t, NEVER);
  const { workers } = await master.until(({ workers }) => workers.length === 1 && workers[0]?.phase === "starting");
  const pid = workers[0]?.pid ?? null;
  assert.match(await sendRaw(master.sockPath, ackLine(pid)), /^$|Refused/);
  await master.waitForLog(/Refused worker:ack from pid \d+ of uid 0/);
  assert.equal((await master.workers())[0]?.phase, "starting");

  fs.chmodSync(master.sockPath, 0o777);
  const script =
    "const s=require('net').connect(process.argv[1],()=>s.end(process.argv[2]));s.on('close',()=>process.exit())";
  await exec(NOBODY[0] as string, [
    ...NOBODY.slice(1),
    process.execPath,
    "-e",
    script,
    master.sockPath,
    ackLine(pid),
  ]).catch(() => {});
  assert.equal((await master.workers())[0]?.phase, "starting");
  assert.equal((await master.status()).ready, 0);
});

test("a worker's ACK counts once, whatever pid it says", async (t) => {
  const master = await startMaster(t, { ...NEVER, program: [fixture("acks-twice.pl")] });
  await master.waitForLog(/has ACKed already/);
  assert.equal((await master.status()).ready, 1);
});

test("an ACK from a worker's child counts for the worker", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual"],
    program: [fixture("acks-for-others.pl")],
  });
  assert.equal((await master.status()).ready, 1);
});

test("with -g a worker ACKs over its own connection", async (t) => {
  const master = await startMaster(t, { args: ["-m", "manual", "-g", "-n", "2"], program: [fixture("acks-by-fd.pl")] });
  assert.equal((await master.status()).ready, 2);
});

test("a loosened mode of the command socket lets no other user in", async (t) => {
  const master = await startMaster(t, { args: ["-m", "manual", "-n", "2"], program: [fixture("idle.pl")] });
  fs.chmodSync(master.sockPath, 0o777);
  for (const command of ["die", "state", "status", "upgrade", "set_workers 1"]) {
    const stranger = await run("einhornsh", ["-d", master.sockPath, ...command.split(" ")], { through: NOBODY });
    assert.notEqual(stranger.code, 0, `${command} of another user: ${stranger.stdout}`);
    assert.doesNotMatch(stranger.stdout, /pid|going down/);
  }
  await master.waitForLog(/65534/);
  const status = await master.status();
  assert.equal(status.mode, "running");
  assert.equal(status.ready, 2);
});

test("the command socket is made for its owner alone", async (t) => {
  const master = await startMaster(t, { args: ["-m", "manual"], program: [fixture("idle.pl")] });
  assert.equal(fs.statSync(master.sockPath).mode & 0o777, 0o600);
});

test("--ack-timeout: a worker that never ACKs is stopped, counted as dead before its ACK, and replaced", async (t) => {
  const master = await startMaster(t, { ...NEVER, args: ["-m", "manual", "--ack-timeout", "0.2", "-s", "0.1"] });
  await master.waitForLog(/did not ACK within \d+ms/);
  const first = /pid=(\d+) started/.exec(master.log())?.[1];
  const { workers } = await master.until(({ workers }) =>
    workers.some(({ pid }) => pid !== null && String(pid) !== first),
  );
  assert.ok(workers.length >= 1);
});

test("-m notify: READY=1 is the ACK", async (t) => {
  const master = await startMaster(t, { args: ["-m", "notify", "-n", "2"], program: [fixture("notifies-ready.pl")] });
  const { ready, workers } = await master.status();
  assert.equal(ready, 2);
  assert.ok(workers.every((worker) => worker.phase === "ready"));
});

test("the Ruby program's own wire format ACKs and gets its answers", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "2"],
    program: ["ruby", fixture("upstream-client.rb")],
  });
  assert.equal((await master.status()).ready, 2);
  const { stdout } = await exec("ruby", [path.join(root, "test/fixtures/upstream-shell.rb"), master.sockPath, "state"]);
  const state = JSON.parse(stdout);
  assert.equal(state.children, 2);
  assert.equal(state.number, 2);
  assert.deepEqual(state.acked, [true, true]);
  assert.deepEqual(state.signaled_ago, [null, null]);
  assert.equal((await master.sh("signal", "WINCH")).code, 0);
  const { stdout: later } = await exec("ruby", [fixture("upstream-shell.rb"), master.sockPath, "state"]);
  for (const ago of JSON.parse(later).signaled_ago) assert.ok(ago >= 0 && ago < 600, `signaled ${ago} s ago`);
});
