/**
 * PID 1 of a container crashes every half second, below the limit of five a minute, under load: it is the same process afterwards, with the
 * same workers, no request fails, and commands are answered after each.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FaultsInside } from "../support/faults-inside.ts";
import { startLoad } from "../support/load.ts";
import { startEinhorn } from "./harness.ts";
import type { Einhorn } from "./running.ts";

const PAUSE_MS = 500;

/** Each way is one crash, and what the log then says of it. */
async function survives(app: Einhorn, ways: readonly { crash(): Promise<unknown>; says: RegExp }[]): Promise<void> {
  const identity = await app.identity();
  const { workers } = await app.status();
  const load = startLoad({ host: app.host, port: app.port(), pauseMs: 1 });
  try {
    await load.served(50);
    for (const [number, { crash, says }] of ways.entries()) {
      await sleep(PAUSE_MS);
      await crash();
      await app.untilLogged(new RegExp(`crashed and goes on where it was: ${says.source}`));
      const status = await app.status();
      assert.equal(status.crashes, number + 1);
      assert.equal(status.ready, workers.length);
      assert.deepEqual(
        status.workers.map(({ pid }) => pid),
        workers.map(({ pid }) => pid),
      );
      await load.served(50);
    }
  } finally {
    const { errors } = await load.stop();
    assert.deepEqual(errors, []);
  }
  assert.equal(await app.identity(), identity);
  assert.equal((await app.stop()).exitCode, 0, await app.logs());
}

test("signals from outside the container", async () => {
  await using app = await startEinhorn();
  const signals = ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL"];
  // Their sender is in no namespace that the container sees: 0 (pid_namespaces(7)).
  const ways = signals.map((signal) => ({
    crash: () => app.kill(signal),
    says: new RegExp(`${signal} sent by process 0`),
  }));
  await survives(app, ways);
});

function folder(t: TestContext): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-crash-"));
  fs.chmodSync(directory, 0o777);
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

test("from inside: a thrown error, real faults, and a signal of another process in the container", async (t) => {
  const directory = folder(t);
  const inside = new FaultsInside(directory);
  fs.writeFileSync(path.join(directory, "version"), "v1");
  await using app = await startEinhorn({
    environment: inside.env("/release"),
    mounts: [
      { source: path.join(import.meta.dirname, "app"), target: "/app" },
      { source: directory, target: "/release", writable: true },
    ],
  });
  const order = (way: string) => async () => inside.order(way);
  await survives(app, [
    { crash: order("throw"), says: /Error: thrown on purpose/ },
    { crash: order("fault SIGSEGV"), says: /SIGSEGV at address 0x0 \| at faults\.so/ },
    { crash: order("fault SIGBUS"), says: /SIGBUS at address \S+ \| at faults\.so/ },
    { crash: () => app.exec(["kill", "-SEGV", "1"]), says: /SIGSEGV sent by process [1-9]/ },
  ]);
});
