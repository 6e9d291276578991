/** Goal: `einhorn --no-respawn` in the place of tini: the program's exit code, its signals, its orphans. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { until } from "../support/until.ts";
import { type Einhorn, startEinhorn } from "./harness.ts";

const once = (program: string[]): Promise<Einhorn> =>
  startEinhorn({
    options: ["--no-respawn"],
    program,
    until: "running",
    unpublished: true,
  });

const codes: [string, string[], number][] = [
  ["of a program that succeeds", ["true"], 0],
  ["of a program that fails", ["sh", "-c", "exit 7"], 7],
  ["of a program killed by a signal", ["sh", "-c", "kill -KILL $$"], 137],
  ["of a program that does not exist", ["/no/such/program"], 127],
  ["of a file that cannot be executed", ["/etc/passwd"], 126],
];
for (const [what, program, exitCode] of codes) {
  test(`the exit code ${what} is ${exitCode}`, async () => {
    await using app = await once(program);
    assert.equal((await app.ended()).exitCode, exitCode, await app.logs());
  });
}

test("docker stop ends the program by its own SIGTERM handler and keeps its exit code", async () => {
  await using app = await once(["sh", "-c", "trap 'echo asked; exit 3' TERM; echo up; while :; do sleep 0.1; done"]);
  await app.untilLogged(/^up/m);
  const ended = await app.stop(20);
  assert.equal(ended.exitCode, 3, await app.logs());
  assert.match(await app.logs(), /asked/);
  assert.ok(ended.seconds < 10, `took ${ended.seconds} s`);
});

test("docker stop of a program without a handler exits 143", async () => {
  await using app = await once(["sleep", "1000"]);
  await app.untilRunning("sleep 1000");
  assert.equal((await app.stop(20)).exitCode, 143, await app.logs());
});

test("orphans of the program are reaped", async () => {
  await using app = await once([
    "sh",
    "-c",
    "i=0; while [ $i -lt 200 ]; do ( : & ); i=$((i+1)); done; echo made; exec sleep 1000",
  ]);
  await app.untilLogged(/made/);
  await until(
    "the last zombie to be reaped",
    async () => (await app.zombies()) === 0,
    () => app.logs(),
  );
});

test("--give-up-after ends the container with the status of the worker that cannot start", async () => {
  await using app = await startEinhorn({
    options: ["-n", "1", "-s", "0.1", "-m", "manual", "--give-up-after", "3"],
    program: ["sh", "-c", "echo attempt; exit 9"],
    until: "running",
    unpublished: true,
  });
  assert.equal((await app.ended()).exitCode, 9, await app.logs());
  assert.equal((await app.logs()).match(/^attempt/gm)?.length, 3);
});

test("a wrong option exits 2 with one sentence and no stack", async () => {
  await using app = await startEinhorn({
    options: ["-n", "none"],
    program: ["true"],
    until: "running",
    unpublished: true,
  });
  assert.equal((await app.ended()).exitCode, 2);
  const log = await app.logs();
  assert.match(log, /none/);
  assert.doesNotMatch(log, /^\s+at /m);
});
