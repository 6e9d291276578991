/** The dead, whosever they were; as a subreaper this process gets the orphans of its children. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import { livingChildren, reap } from "../../src/system/processes.ts";
import { exitOf, run, shell, until } from "./child.ts";

test("exit codes and signals, with times and sizes", async () => {
  const { exit } = await run(shell("exit 7"));
  assert.equal(exit.code, 7);
  assert.equal(exit.signal, null);
  assert.ok(exit.maxRssBytes > 0);
  const killed = (await run(shell("kill -KILL $$"))).exit;
  assert.equal(killed.code, null);
  assert.equal(killed.signal, "SIGKILL");
  assert.equal((await run(shell("kill -36 $$"))).exit.signal, "SIGRTMIN+2");
  const busy = (await run(shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"))).exit;
  assert.ok(busy.cpuMs > 0);
});

test("nobody dead is no error, and nobody left is said", async () => {
  const pid = native.spawn(shell("exec sleep 1000"));
  assert.deepEqual(reap(), { exits: [], strangers: 0, childless: false, more: false });
  assert.deepEqual(livingChildren(), [pid]);
  process.kill(pid, "SIGTERM");
  assert.equal((await exitOf(pid)).signal, "SIGTERM");
  assert.deepEqual(reap(), { exits: [], strangers: 0, childless: true, more: false });
});

test("a limit leaves the rest for the next time", async () => {
  const pids = [1, 2, 3].map(() => native.spawn({ ...shell(""), files: ["/bin/true"], args: ["true"] }));
  await until(() => livingChildren().length === 0);
  const first = reap(2);
  assert.equal(first.exits.length, 2);
  assert.equal(first.more, true);
  const rest = reap(2);
  assert.equal(rest.childless, true);
  assert.deepEqual([...first.exits, ...rest.exits].map(({ pid }) => pid).sort(), pids.sort());
});

test("orphans come to a subreaper and are reaped like its own", async () => {
  native.becomeSubreaper();
  const { pid, output } = await run(shell("sleep 1000 >/dev/null & echo $!"));
  const orphan = Number(output);
  await until(() => livingChildren().includes(orphan));
  assert.notEqual(orphan, pid);
  process.kill(orphan, "SIGKILL");
  assert.equal((await exitOf(orphan)).signal, "SIGKILL");
});

test("of children that nobody asked about only the number is told", async () => {
  const [asked] = [1, 2].map(() => native.spawn({ ...shell(""), files: ["/bin/true"], args: ["true"] })) as [number];
  await until(() => livingChildren().length === 0);
  const { exits, strangers } = reap(256, Int32Array.from([asked]));
  assert.deepEqual(
    exits.map(({ pid }) => pid),
    [asked],
  );
  assert.equal(strangers, 1);
});
