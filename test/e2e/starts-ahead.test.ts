/** A fleet upgrade starts its workers before the re-exec, unless that may change how they are started. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fixture, type Master, root, startMaster } from "../support/master.ts";

const ARGS = ["-n", "3", "-m", "manual"];

function temporary(t: TestContext): string {
  const folder = fs.mkdtempSync("/tmp/einhorn-ahead-");
  fs.chmodSync(folder, 0o755);
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

/** Upgrades, and tells on which side of the re-exec each new worker was started. */
async function sides(master: Master): Promise<string[]> {
  const from = master.log().length;
  const reply = await master.ask("upgrade_fleet");
  assert.equal(reply.error ?? false, false, reply.message);
  await master.waitForLog(/Upgrade done/, from);
  const log = master.log().slice(from);
  const reexec = log.indexOf("Replaced the master's image");
  assert.ok(reexec >= 0, log);
  return [...log.matchAll(/worker \S+ \S+ \S+ started/g)].map(({ index }) => (index < reexec ? "before" : "after"));
}

const before = ["before", "before", "before"];
const after = ["after", "after", "after"];

test("workers are started before the re-exec, and from where a link leads now", async (t) => {
  const folder = temporary(t);
  for (const release of ["one", "two"]) fs.mkdirSync(path.join(folder, release));
  const current = path.join(folder, "current");
  fs.symlinkSync("one", current);
  const args = [...ARGS, "--chdir", current];
  const master = await startMaster(t, { args, program: [fixture("idle.pl")] });
  fs.rmSync(current);
  fs.symlinkSync("two", current);
  assert.deepEqual(await sides(master), before);
  await master.onlyGeneration(1);
  for (const { pid } of await master.workers())
    assert.equal(fs.readlinkSync(`/proc/${pid}/cwd`), path.join(folder, "two"));
  assert.deepEqual(await sides(master), before);
});

test("with other options they are started by the image that has read them", async (t) => {
  const file = path.join(temporary(t), "einhorn.yaml");
  fs.writeFileSync(file, "nice: '0:1'\n");
  const master = await startMaster(t, { args: [...ARGS, "--config", file], program: [fixture("idle.pl")] });
  fs.writeFileSync(file, "nice: '0:2'\n");
  assert.deepEqual(await sides(master), after);
  await master.onlyGeneration(1);
  for (const { pid } of await master.workers()) {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    assert.equal(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[16], "2", "nice, of proc_pid_stat(5)");
  }
  assert.deepEqual(await sides(master), before);
});

test("with another einhorn they are started by it", async (t) => {
  const folder = temporary(t);
  fs.cpSync(path.join(root, "dist"), folder, { recursive: true });
  const einhorn = path.join(folder, "einhorn.cjs");
  const master = await startMaster(t, { args: ARGS, einhorn, program: [fixture("idle.pl")] });
  const program = fs.readFileSync(einhorn, "utf8");
  const other = program.replace(/programHash = "\w+"/, 'programHash = "another"');
  assert.notEqual(other, program);
  fs.writeFileSync(einhorn, other);
  assert.deepEqual(await sides(master), after);
  assert.deepEqual(await sides(master), before);
});

test("with --reexec-as, which may do anything to them on the way, they wait", async (t) => {
  const script = path.join(temporary(t), "again");
  fs.writeFileSync(script, `#!/bin/sh\nexec node ${root}/dist/einhorn.cjs "$@"\n`, { mode: 0o755 });
  const args = [...ARGS, "--reexec-as", script];
  const master = await startMaster(t, { args, program: [fixture("idle.pl")] });
  assert.deepEqual(await sides(master), after);
});
