/** The check of a new image ends like any child, and its verdict waits until the drain that found it is over. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { Event } from "../../src/core/model.ts";
import { Checker } from "../../src/master/checker.ts";
import { type Options, readInvocation } from "../../src/options.ts";
import { exitOf, until } from "../system/child.ts";

async function optionsWith(reexecAs: string): Promise<Options> {
  const argv = ["--reexec-as", reexecAs, "--", "sleep", "1"];
  const invocation = await readInvocation({ argv, env: process.env, cwd: "/" });
  if (invocation.kind !== "run") throw new Error("no command line to run");
  return invocation.options;
}

test("the verdict comes after the drain of deaths: it leads to execve, and other deaths were found with it", async () => {
  const events: Event[] = [];
  const checker = new Checker(await optionsWith("/bin/false"), (event) => events.push(event));
  checker.start({});
  const pid = checker.pid as number;
  const exit = await exitOf(pid);
  assert.equal(checker.ended({ ...exit, pid: pid + 1 }), false);
  assert.equal(checker.ended(exit), true);
  assert.equal(events.length, 0);
  assert.equal(checker.pid, null);
  await until(() => events.length > 0);
  const verdict = events.at(0);
  assert.ok(verdict?.kind === "checked" && verdict.reason?.includes("exited with code 1"), JSON.stringify(verdict));
});

test("a check that cannot be started is a verdict too, and does not come within the turn that asked for it", async () => {
  const events: Event[] = [];
  const checker = new Checker(await optionsWith("/no/such/einhorn"), (event) => events.push(event));
  checker.start({});
  assert.equal(events.length, 0);
  await until(() => events.length > 0);
  const verdict = events.at(0);
  assert.ok(verdict?.kind === "checked" && verdict.reason?.includes("ENOENT"), JSON.stringify(verdict));
});

/** The verdict on a program that says what this script does, and ends well. */
async function verdictOn(t: TestContext, script: string): Promise<Event | undefined> {
  const folder = mkdtempSync("/tmp/einhorn-check-");
  t.after(() => rmSync(folder, { recursive: true }));
  const program = join(folder, "says");
  writeFileSync(program, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const events: Event[] = [];
  const checker = new Checker(await optionsWith(program), (event) => events.push(event));
  checker.start({});
  assert.equal(checker.ended(await exitOf(checker.pid as number)), true);
  await until(() => events.length > 0);
  return events.at(0);
}

test("what workers may be started from is taken from a check that says so, and from no other", async (t) => {
  const launch = { argv: ["server"], cwd: "/", env: { A: "1" } };
  const passed = "einhorn can take over";
  for (const [words, expected] of [
    [passed, null],
    [`workers start from ${JSON.stringify(launch)}\n${passed}`, launch],
    [`workers start from nowhere\n${passed}`, null],
    [`workers start from {"argv":"server"}\n${passed}`, null],
  ] as const) {
    assert.deepEqual(
      await verdictOn(t, `cat <<'END'\n${words}\nEND`),
      { kind: "checked", reason: null, launch: expected },
      words,
    );
  }
});

test("a check that writes more than can be read has failed, and that is all", async (t) => {
  const verdict = await verdictOn(t, "truncate -s 6G /proc/self/fd/1");
  assert.ok(verdict?.kind === "checked" && verdict.reason?.includes("what it runs is not einhorn"), "the reason");
});
