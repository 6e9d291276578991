/** An upgrade that cannot succeed says why, exits 1, and changes nothing for those who are served. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fixture, get, type Master, root, type Status, startMaster } from "../support/master.ts";
import { underLoad } from "../support/under-load.ts";

const BIND = ["-b", "127.0.0.1:0", "-m", "manual", "-n", "2"];

function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync("/tmp/einhorn-failed-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

async function refuses(master: Master, reason: RegExp): Promise<void> {
  const before = await master.workers();
  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 1, `exit code of einhornsh; it said: ${upgrade.stdout}${upgrade.stderr}`);
  assert.match(upgrade.stdout + upgrade.stderr, reason);
  // The new ones that still end are not of interest.
  const isOver = ({ workers }: Status) => workers.every(({ generation }) => generation === before[0]?.generation);
  const after = await master.until(isOver, "the new workers are gone");
  assert.deepEqual(
    after.workers.map((worker) => worker.pid),
    before.map((worker) => worker.pid),
    "the workers are those from before",
  );
  assert.equal(after.mode, "running");
}

for (const [what, command] of [
  ["is a program that fails", "false"],
  ["does not exist", "/nonexistent/einhorn"],
  ["is a broken script", "node broken.cjs"],
] as const) {
  test(`a new master that ${what}: the upgrade is refused with the reason`, async (t) => {
    const cwd = temporary(t);
    fs.writeFileSync(path.join(cwd, "broken.cjs"), "syntax error here");
    const args = [...BIND, "--reexec-as", command];
    const master = await startMaster(t, { args, program: [fixture("http-server.pl")], cwd });
    await refuses(master, /cannot start|could not/i);
    // A second try is answered as well, and the pool goes on serving and ends as always.
    await refuses(master, /cannot start|could not/i);
    assert.match(await get(await master.port()), /generation=0/);
    assert.equal((await master.stop()).code, 0);
  });
}

test("--reexec-as with a command that works is how the next master is started", async (t) => {
  const directory = temporary(t);
  const wrapper = path.join(directory, "wrapper.sh");
  fs.writeFileSync(
    wrapper,
    `#!/bin/sh\necho wrapped >> ${directory}/calls\nexec node ${root}/dist/einhorn.cjs "$@"\n`,
    {
      mode: 0o755,
    },
  );
  const master = await startMaster(t, {
    args: [...BIND, "--reexec-as", wrapper],
    program: [fixture("http-server.pl")],
  });
  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 0, upgrade.stderr);
  assert.match(fs.readFileSync(path.join(directory, "calls"), "utf8"), /wrapped/);
  assert.equal((await master.onlyGeneration(1)).pid, master.pid);
  assert.match(await get(await master.port()), /generation=1/);
});

test("new code that dies before its ACK: the upgrade fails after three deaths, and no request does", async (t) => {
  const version = path.join(temporary(t), "version");
  fs.writeFileSync(version, "good");
  const master = await startMaster(t, {
    args: BIND,
    program: [fixture("dies-as-told.pl")],
    env: { VERSION_FILE: version },
  });
  const load = underLoad(t, { port: await master.port() });
  fs.writeFileSync(version, "bad");
  await refuses(master, /3 new workers failed.*exited with code 9.*before its ACK/s);
  const { lastUpgrade } = await master.status();
  assert.equal(lastUpgrade?.result, "failed");
  await load.served(20);
  fs.writeFileSync(version, "good");
  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 0, upgrade.stderr);
  assert.deepEqual((await load.stop()).errors, []);
});

test("new code that ACKs and dies soon after: no old worker has gone, and no request fails", async (t) => {
  const version = path.join(temporary(t), "version");
  fs.writeFileSync(version, "good");
  const args = ["-b", "127.0.0.1:0", "-m", "manual", "-n", "4", "--max-unacked", "2"];
  const program = [fixture("dies-as-told.pl")];
  const master = await startMaster(t, { args, program, env: { VERSION_FILE: version } });
  const load = underLoad(t, { port: await master.port() });
  fs.writeFileSync(version, "late");
  await refuses(master, /3 new workers failed.*exited with code 8.*after its ACK/s);
  await load.served(20);
  assert.deepEqual((await load.stop()).errors, []);
});

test("an upgrade to a program that cannot be executed fails with the kernel's reason", async (t) => {
  const program = path.join(temporary(t), "program");
  fs.copyFileSync(fixture("idle.pl"), program);
  fs.copyFileSync(fixture("Worker.pm"), path.join(path.dirname(program), "Worker.pm"));
  fs.chmodSync(program, 0o755);
  const master = await startMaster(t, { args: ["-m", "manual", "-n", "2"], program: [program] });
  fs.renameSync(program, `${program}.moved`);
  await refuses(master, /ENOENT/);
});

test("--upgrade-timeout: an upgrade whose workers never ACK is given up", async (t) => {
  const version = path.join(temporary(t), "gate");
  fs.writeFileSync(version, "");
  const master = await startMaster(t, {
    args: [...BIND, "--upgrade-timeout", "0.5"],
    program: [fixture("acks-late.pl")],
    env: { GATE: version },
  });
  fs.rmSync(version);
  await refuses(master, /were ready after/);
});

test("abort: the new workers go, the old ones stay, and who asked for the upgrade is told", async (t) => {
  const gate = path.join(temporary(t), "gate");
  fs.writeFileSync(gate, "");
  const master = await startMaster(t, { args: BIND, program: [fixture("acks-late.pl")], env: { GATE: gate } });
  const before = (await master.workers()).map((worker) => worker.pid);
  fs.rmSync(gate);
  const upgrade = master.sh("upgrade");
  await master.until((status) => status.mode === "upgrading", "upgrading");
  const abort = await master.sh("abort");
  assert.equal(abort.code, 0, abort.stderr);
  const outcome = await upgrade;
  assert.equal(outcome.code, 1);
  assert.match(outcome.stdout + outcome.stderr, /aborted/);
  const after = await master.until((status) => status.workers.length === 2, "the new workers are gone");
  assert.deepEqual(
    after.workers.map((worker) => worker.pid),
    before,
  );
});

test("an upgrade asked for during an upgrade starts over, and both who asked get the outcome", async (t) => {
  const gate = path.join(temporary(t), "gate");
  fs.writeFileSync(gate, "");
  const master = await startMaster(t, { args: BIND, program: [fixture("acks-late.pl")], env: { GATE: gate } });
  fs.rmSync(gate);
  const first = master.sh("upgrade");
  await master.until((status) => status.mode === "upgrading", "upgrading");
  const second = master.sh("upgrade");
  await master.until((status) => status.generation === 2, "started over");
  fs.writeFileSync(gate, "");
  assert.equal((await first).code, 0);
  assert.equal((await second).code, 0);
  const { workers } = await master.until((status) => status.workers.length === 2, "only the newest are left");
  assert.deepEqual(
    workers.map((worker) => worker.generation),
    [2, 2],
  );
});
