/** What /proc says of real processes, and the tables of names. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import * as processes from "../../src/system/processes.ts";
import { exitOf, run, shell, until } from "./child.ts";

test("signals by name and number, in the spellings that operators use", () => {
  assert.deepEqual([1, 6, 9, 15, 29, 34, 35, 64, 99].map(processes.signalName), [
    "SIGHUP",
    "SIGABRT",
    "SIGKILL",
    "SIGTERM",
    "SIGIO",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+30",
    "SIG99",
  ]);
  for (const text of ["TERM", "SIGTERM", "sigterm", " term ", "15"])
    assert.equal(processes.signalNumber(text), 15, text);
  assert.equal(processes.signalNumber("SIGRTMIN"), 34);
  assert.equal(processes.signalNumber("rtmin+3"), 37);
  assert.equal(processes.signalNumber("SIGRTMAX-1"), 63);
  for (const text of ["", "NOPE", "0", "65", "-1", "RTMIN+31", "RTMAX-31", "TERM TERM", "__proto__"]) {
    assert.equal(processes.signalNumber(text), null, text);
  }
  for (let number = 1; number <= 64; number++) {
    const name = processes.signalName(number);
    if (number !== 32 && number !== 33) assert.equal(processes.signalNumber(name), number, name);
  }
});

test("a program's candidates are execvp's", () => {
  assert.deepEqual(processes.candidatesOf("./run", "/bin"), ["./run"]);
  assert.deepEqual(processes.candidatesOf("/x/run", "/bin"), ["/x/run"]);
  assert.deepEqual(processes.candidatesOf("run", "/a:/b/:"), ["/a/run", "/b/run", "run"]);
  assert.deepEqual(processes.candidatesOf("run", undefined), ["/bin/run", "/usr/bin/run"]);
  assert.deepEqual(processes.candidatesOf("", "/bin"), [""]);
});

test("who catches a signal", async () => {
  const pid = native.spawn(shell("trap : USR2; while :; do sleep 1000; done"));
  await until(() => processes.catchesSignal(pid, 12));
  assert.equal(processes.catchesSignal(pid, 15), false);
  process.kill(-pid, "SIGKILL");
  await exitOf(pid);
  assert.equal(processes.catchesSignal(pid, 12), false);
});

test("descendants, and those who are not", async () => {
  const parent = native.spawn(shell("sleep 1000 & sleep 1000"));
  const children = () => processes.livingChildren();
  await until(() => children().includes(parent));
  const { output } = await run(shell(`while ! pgrep -P ${parent} >/dev/null; do :; done; pgrep -P ${parent}`));
  const grandchild = Number(output.split("\n")[0]);
  assert.equal(processes.isDescendant(grandchild, parent), true);
  assert.equal(processes.isDescendant(grandchild, process.pid), true);
  assert.equal(processes.isDescendant(parent, parent), true);
  assert.equal(processes.isDescendant(parent, grandchild), false);
  assert.equal(processes.isDescendant(process.pid, parent), false);
  assert.equal(processes.isDescendant(1, parent), false);
  process.kill(-parent, "SIGKILL");
  await exitOf(parent);
  assert.equal(processes.isDescendant(parent, process.pid), false);
  await until(() => processes.rssBytes(grandchild) === null);
  assert.equal(processes.isDescendant(grandchild, parent), false);
});

test("a process name with parentheses and spaces does not mislead", () => {
  const rest = `S 7 ${"0 ".repeat(17)}4242 0`;
  assert.deepEqual(processes.parseStat(`12 (a) S 1 (b c) ${rest}\n`), { state: "S", parent: 7, startedAt: 4242 });
  assert.equal(processes.parseStat(""), null);
});

test("resident memory, and null for who is gone", async () => {
  const own = processes.rssBytes(process.pid) as number;
  assert.ok(own > process.memoryUsage.rss() / 2 && own < process.memoryUsage.rss() * 2);
  assert.equal(processes.rssBytes(2 ** 22 + 1), null);
});
