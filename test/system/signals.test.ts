/** Signals as the master gets them: by name, with their sender. Loss over a re-exec is hold-signals.test.ts. */
import assert from "node:assert/strict";
import { closeSync, readFileSync } from "node:fs";
import { after, before, beforeEach, test } from "node:test";
import { holdSignalsPath, native } from "../../src/system/native.ts";
import { reap, signalName } from "../../src/system/processes.ts";
import { catchSignals, hold, release, type SignalPipe, stop, withHold, withoutHold } from "../../src/system/signals.ts";
import { run, shell, statusField, until } from "./child.ts";

const delivered: { signal: string; sender: number }[] = [];
let pipe: SignalPipe;
before(() => {
  pipe = catchSignals((signal, sender) => delivered.push({ signal, sender }));
});
beforeEach(() => {
  delivered.length = 0;
});
after(() => {
  stop(pipe);
  closeSync(pipe.read);
});

const names = (): string[] => delivered.map(({ signal }) => signal);

/** Takes from the pipe what nobody has read. */
function unread(): string[] {
  const records = Buffer.alloc(4096);
  const length = native.read({ fd: pipe.read, buffer: records });
  return Array.from({ length: Math.max(0, length) / 8 }, (_, n) => signalName(records.readInt32LE(n * 8)));
}

/** The same when there is something: a child is a zombie an instant before its parent is told. */
async function told(): Promise<string[]> {
  const names: string[] = [];
  await until(() => names.push(...unread()) > 0);
  return names;
}

const die = (): number => native.spawn({ files: ["/bin/true"], args: ["true"], env: [], fds: [] });
const isZombie = (pid: number): boolean => readFileSync(`/proc/${pid}/stat`, "latin1").includes(") Z ");
function reapAll(): void {
  while (!reap().childless);
}

test("every signal of the master is caught, SIGUSR1 and the last real-time one included", async () => {
  const signals = "TERM INT HUP QUIT USR1 USR2 WINCH CONT TTIN TTOU";
  // One at a time: a TTIN takes a pending CONT with it (signal(7)).
  for (const signal of `${signals} 34 37 64`.split(" ")) {
    await run(shell(`kill -${signal} $PPID`));
  }
  const wanted = [
    ...signals.split(" ").map((name) => `SIG${name}`),
    "SIGCHLD",
    "SIGRTMIN",
    "SIGRTMIN+3",
    "SIGRTMIN+30",
  ];
  await until(() => wanted.every((name) => names().includes(name)));
  assert.deepEqual([...new Set(names())].sort(), wanted.sort());
});

test("the sender's pid comes along", async () => {
  const { pid } = await run(shell("kill -USR2 $PPID"));
  await until(() => names().includes("SIGUSR2"));
  assert.deepEqual(
    delivered.find(({ signal }) => signal === "SIGUSR2"),
    { signal: "SIGUSR2", sender: pid },
  );
});

test("many deaths are one SIGCHLD until somebody reaps, then there is one again", async () => {
  stop(pipe);
  reapAll();
  unread();
  const many = Array.from({ length: 300 }, die);
  await until(() => many.every(isZombie));
  assert.deepEqual(await told(), ["SIGCHLD"]);
  reapAll();
  assert.deepEqual(unread(), []);
  const one = die();
  await until(() => isZombie(one));
  assert.deepEqual(await told(), ["SIGCHLD"]);
  reapAll();
  catchSignals((signal, sender) => delivered.push({ signal, sender }), pipe);
});

test("while the caller looks by itself a death tells nobody, and is still there to be reaped", async () => {
  stop(pipe);
  reapAll();
  unread();
  reap(256, undefined, false);
  const unheard = [die(), die()];
  await until(() => unheard.every(isZombie));
  assert.deepEqual(unread(), []);
  assert.equal(reap(1, undefined, false).exits.length, 1);
  assert.equal(reap().exits.length, 1);
  const heard = die();
  await until(() => isZombie(heard));
  assert.deepEqual(await told(), ["SIGCHLD"]);
  reapAll();
  catchSignals((signal, sender) => delivered.push({ signal, sender }), pipe);
});

test("held signals wait on every thread, and arrive with the release", async () => {
  hold();
  const blocked = BigInt(`0x${statusField(readFileSync("/proc/self/status", "utf8"), "SigBlk")}`);
  assert.equal((blocked >> 14n) & 1n, 1n);
  await run(shell("kill -TERM $PPID; kill -36 $PPID; kill -36 $PPID"));
  assert.deepEqual(
    names().filter((name) => name !== "SIGCHLD"),
    [],
  );
  release();
  await until(() => names().filter((name) => name === "SIGRTMIN+2").length === 2 && names().includes("SIGTERM"));
});

test("the next image reads what the last one had not, from its pipe", async () => {
  stop(pipe);
  await run(shell("kill -HUP $PPID"));
  assert.ok(!names().includes("SIGHUP"));
  catchSignals((signal, sender) => delivered.push({ signal, sender }), pipe);
  await until(() => names().includes("SIGHUP"));
});

test("a signal is taken from the pipe when the one before has been handled: what it leads to may replace the image", async () => {
  stop(pipe);
  for (const signal of ["HUP", "USR2", "TERM"]) await run(shell(`kill -${signal} $PPID`));
  let left: string[] | null = null;
  catchSignals((signal) => {
    if (signal !== "SIGHUP") return;
    stop(pipe);
    left = unread();
  }, pipe);
  await until(() => left !== null);
  assert.deepEqual(
    (left ?? []).filter((signal) => signal !== "SIGCHLD"),
    ["SIGUSR2", "SIGTERM"],
  );
  catchSignals((signal, sender) => delivered.push({ signal, sender }), pipe);
});

test("the preload object is added for the re-exec and taken away again, and nothing else is touched", () => {
  assert.ok(holdSignalsPath);
  assert.deepEqual(withHold({ A: "1" }), { A: "1", LD_PRELOAD: holdSignalsPath });
  assert.deepEqual(withHold({ LD_PRELOAD: "/lib/jemalloc.so" }), { LD_PRELOAD: `${holdSignalsPath}:/lib/jemalloc.so` });
  assert.deepEqual(withHold(withHold({ LD_PRELOAD: "/lib/jemalloc.so" })), {
    LD_PRELOAD: `${holdSignalsPath}:/lib/jemalloc.so`,
  });
  assert.deepEqual(withoutHold(withHold({ A: "1" })), { A: "1" });
  assert.deepEqual(withoutHold(withHold({ LD_PRELOAD: "/a.so /b.so" })), { LD_PRELOAD: "/a.so:/b.so" });
});
