/** `-m notify`: what a worker says by sd_notify(3), and who is not listened to. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { type TestContext, test } from "node:test";
import { fixture, type Master, type StartOptions, startMaster, type WorkerStatus } from "../support/master.ts";
import { isAlive, read } from "../support/processes.ts";

const notifier = fixture("notifier.py");

function start(t: TestContext, kind: string, args: string[] = [], more: Partial<StartOptions> = {}): Promise<Master> {
  return startMaster(t, { args: ["-m", "notify", ...args], program: ["/usr/bin/python3", notifier, kind], ...more });
}

const said = (worker: WorkerStatus | undefined): string | null =>
  (worker as unknown as { status: string | null } | undefined)?.status ?? null;

/** A variable of a running worker. */
function variable(pid: number | null | undefined, name: string): string {
  const found = read(`/proc/${pid}/environ`)
    ?.split("\0")
    .find((pair) => pair.startsWith(`${name}=`));
  assert.ok(found, `${name} of ${pid}`);
  return found.slice(name.length + 1);
}

/** Says `text` as a process that no worker started. */
function speakAsStranger(socket: string, text: string): void {
  execFileSync("/usr/bin/python3", [notifier, "speak", text], { env: { NOTIFY_SOCKET: socket } });
}

test("READY=1 is the ACK and STATUS= is shown", async (t) => {
  const master = await start(t, "ready", ["-n", "2"]);
  const { workers, ready } = await master.status();
  assert.equal(ready, 2);
  assert.deepEqual(workers.map(said), ["warming up", "warming up"]);
  assert.match((await master.sh("status")).stdout, /"warming up"/);
});

test("NOTIFY_SOCKET is the same for the master's life: workers from before a re-exec or a crash are heard after it", async (t) => {
  const master = await start(t, "ready");
  const [worker] = await master.workers();
  const socket = variable(worker?.pid, "NOTIFY_SOCKET");
  assert.match(socket, /^@einhorn\//);
  assert.equal((await master.sh("reload")).code, 0);
  process.kill(worker?.pid ?? 0, "SIGUSR1");
  await master.until(({ workers }) => said(workers[0]) === `told in ${socket}`);
  master.kill("SIGSEGV");
  await master.waitForLog(/The master crashed/);
  assert.equal((await master.sh("upgrade")).code, 0);
  const {
    workers: [next],
  } = await master.until(({ workers }) => workers.length === 1);
  assert.notEqual(next?.pid, worker?.pid);
  assert.equal(variable(next?.pid, "NOTIFY_SOCKET"), socket);
});

test("a child of the worker may speak for it, and a barrier tells it that it was heard", async (t) => {
  const master = await start(t, "by-child");
  assert.equal((await master.status()).ready, 1);
});

test("a stranger's READY=1 does not count, nor do a thousand, and the log stays short", async (t) => {
  const master = await start(t, "never", [], { until: "running" });
  const { workers } = await master.until(({ workers }) => workers[0]?.phase === "starting");
  const socket = variable(workers[0]?.pid, "NOTIFY_SOCKET");
  speakAsStranger(socket, "READY=1\nSTATUS=lies");
  await master.waitForLog(/Dropped an sd_notify message/);
  const flood = `import os,socket;s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);n=os.environ["NOTIFY_SOCKET"].replace("@","\\0",1)
for size in [8, 5000] * 500: s.sendto(b"READY=1\\n"+b"x"*size, n)`;
  execFileSync("/usr/bin/python3", ["-c", flood], { env: { NOTIFY_SOCKET: socket } });
  speakAsStranger(socket, "READY=1");
  const status = await master.status();
  assert.equal(status.ready, 0);
  assert.equal(said(status.workers[0]), null);
  assert.ok((master.log().match(/Dropped an sd_notify/g)?.length ?? 0) < 20);
});

for (const [where, through] of [
  ["a plain process", []],
  ["PID 1", ["unshare", "--pid", "--fork", "--mount-proc"]],
] as const) {
  for (const mode of ["notify", "manual"]) {
    test(`an orphan whose parent is the master, ${where}, cannot ACK with -m ${mode}`, async (t) => {
      const master = await startMaster(t, {
        args: ["-m", mode],
        program: ["/usr/bin/python3", notifier, "orphan"],
        through,
        until: "running",
      });
      await master.waitForLog(/the orphan has tried/);
      await master.waitForLog(/Refused worker:ack/);
      if (mode === "notify") await master.waitForLog(/Dropped an sd_notify message/);
      const status = await master.status();
      assert.equal(status.ready, 0);
      assert.equal(said(status.workers[0]), null);
    });
  }
}

test("--watchdog: a worker that falls silent is replaced, and killed when it does not go; the others stay", async (t) => {
  const master = await start(t, "watchdog", ["-n", "2", "--watchdog", "2"]);
  const before = await master.workers();
  assert.equal(variable(before[0]?.pid, "WATCHDOG_USEC"), "2000000");
  await master.waitForLog(/slot=0 .*sent no WATCHDOG=1/);
  const { workers } = await master.until(({ workers }) => workers.some(({ phase }) => phase === "told"));
  assert.equal(workers.filter(({ phase }) => phase === "ready").length, 2, "the replacement was ready first");
  await master.waitForLog(/slot=0 .*sent SIGKILL/);
  const old = before.find(({ slot }) => slot === 0)?.pid ?? 0;
  await master.until(({ workers }) => workers.every(({ pid }) => pid !== old));
  assert.ok(!isAlive(old));
  const other = before.find(({ slot }) => slot === 1)?.pid;
  assert.ok((await master.workers()).some(({ pid, phase }) => pid === other && phase === "ready"));
});

test("STOPPING=1 frees the worker's place at once", async (t) => {
  const master = await start(t, "stopping");
  const { workers } = await master.until(({ workers }) => workers.some(({ phase }) => phase === "told"));
  assert.equal(said(workers.find(({ phase }) => phase === "told")), "finishing");
  await master.until(({ ready, workers }) => ready === 1 && workers.length === 2);
  assert.ok(fs.existsSync(`${master.directory}/first`));
});

test("EXTEND_TIMEOUT_USEC puts off --ack-timeout", async (t) => {
  const master = await start(t, "slow", ["--ack-timeout", "3"]);
  assert.equal((await master.status()).recentDeaths.length, 0);
});

test("a preloaded worker's READY=1 counts, however fast it is", async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-notify-");
  t.after(() => fs.rmSync(directory, { recursive: true, force: true }));
  fs.writeFileSync(
    `${directory}/app.py`,
    `import os, signal, socket
SOCKET = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def einhorn_main():
    SOCKET.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
    signal.pause()
`,
  );
  const master = await startMaster(t, {
    args: ["-m", "notify", "-n", "20", "-p", "app.py"],
    program: ["python3", "app.py"],
    cwd: directory,
  });
  assert.equal((await master.status()).ready, 20);
});
