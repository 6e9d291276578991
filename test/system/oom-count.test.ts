/** Which SIGKILLs count as the kernel's for want of memory. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";
import { claimableMs, OomCount, oomFiles, oomKills } from "../../src/system/oom-count.ts";

function counter(first: number | null): { oom: OomCount; set(kills: number | null): void } {
  let kills = first;
  return {
    oom: new OomCount(() => kills),
    set(next) {
      kills = next;
    },
  };
}

test("as many as the kernel counted, also when they are reaped in one drain", () => {
  const { oom, set } = counter(5);
  set(7);
  assert.deepEqual([oom.claim(0), oom.claim(0), oom.claim(0)], [true, true, false]);
});

test("one that is reaped a moment after the others", () => {
  const { oom, set } = counter(0);
  set(2);
  assert.equal(oom.claim(0), true);
  assert.equal(oom.claim(claimableMs), true);
});

test("not one long after: what the kernel killed then was somebody else", () => {
  const { oom, set } = counter(0);
  set(2);
  assert.equal(oom.claim(0), true);
  assert.equal(oom.claim(claimableMs + 1), false);
});

test("none without a counter", () => {
  const { oom } = counter(null);
  assert.equal(oom.claim(0), false);
});

test("the counter of either version of cgroups, read anew each time", (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-oom-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const file = path.join(folder, "memory.events");
  for (const before of ["low 0\nhigh 0\nmax 12\noom 9\n", "oom_kill_disable 0\nunder_oom 0\n"]) {
    fs.writeFileSync(file, `${before}oom_kill 3\noom_group_kill 1\n`);
    const read = oomKills([path.join(folder, "missing"), folder, file]);
    assert.equal(read(), 3);
    fs.writeFileSync(file, `${before}oom_kill 12\noom_group_kill 1\n`);
    assert.equal(read(), 12);
  }
});

test("no counter where no file has one", (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-oom-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.writeFileSync(path.join(folder, "memory.events"), "oom_group_kill 1\n");
  const before = fs.readdirSync("/proc/self/fd").length;
  assert.equal(oomKills([path.join(folder, "memory.events")])(), null);
  assert.equal(fs.readdirSync("/proc/self/fd").length, before);
});

test("where the OOM killer's count is, by cgroup version", () => {
  assert.deepEqual(oomFiles("0::/app\n"), ["/sys/fs/cgroup/app/memory.events", "/sys/fs/cgroup/memory.events"]);
  assert.deepEqual(oomFiles("5:cpu,cpuacct:/x\n4:memory:/docker/1\n0::/\n").slice(0, 2), [
    "/sys/fs/cgroup/memory/docker/1/memory.oom_control",
    "/sys/fs/cgroup/memory/memory.oom_control",
  ]);
  assert.deepEqual(oomFiles(""), []);
});
