/** Goal: with `docker run -it` the program of --no-respawn owns the terminal as it would without einhorn. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { startEinhorn } from "./harness.ts";

test("with docker run -it a shell has job control", async () => {
  await using app = await startEinhorn({
    options: ["--no-respawn"],
    program: ["sh", "-i"],
    until: "running",
    unpublished: true,
    terminal: true,
  });
  const terminal = await app.terminal();
  await terminal.until(/[$#] /);
  terminal.type("sleep 500\n");
  await terminal.until(/sleep 500/);
  await app.untilRunning("sleep 500");
  terminal.type("\x1a");
  await terminal.until(/Stopped/);
  terminal.type("jobs; fg\n");
  await terminal.until(/Stopped[\s\S]*sleep 500[\s\S]*Stopped/);
  await app.untilRunning("sleep 500");
  terminal.type("\x03");
  terminal.type("echo still $((40 + 2))\n");
  await terminal.until(/still 42/);
  assert.doesNotMatch(terminal.output(), /job control turned off|can't access tty/);
  terminal.type("exit 5\n");
  assert.equal((await app.ended()).exitCode, 5, terminal.output());
});
