/** Sockets: every kind serves and is the same socket after an upgrade; what cannot be bound is said before any worker starts. */
import assert from "node:assert/strict";
import fs from "node:fs";
import net, { type AddressInfo } from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fixture, get, type Master, run, startMaster } from "../support/master.ts";
import { isAlive } from "../support/processes.ts";
import { underLoad } from "../support/under-load.ts";
import { until } from "../support/until.ts";

const SERVER = [fixture("http-server.pl")];

function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync("/tmp/einhorn-bind-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

const serve = (t: TestContext, ...binds: string[]): Promise<Master> =>
  startMaster(t, { args: ["-m", "manual", ...binds.flatMap((bind) => ["-b", bind])], program: SERVER });

test("a UNIX socket serves through upgrades, with the mode asked for, and is removed at the end", async (t) => {
  const file = path.join(temporary(t), "web.sock");
  const master = await serve(t, `unix:${file},mode=0640`);
  assert.equal(fs.statSync(file).mode & 0o777, 0o640);
  const load = underLoad(t, { socketPath: file });
  for (let upgrade = 0; upgrade < 3; upgrade += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
  await load.served(20);
  assert.deepEqual((await load.stop()).errors, []);
  assert.equal((await master.stop()).code, 0);
});

test("a stale UNIX socket is replaced, a live one is an error", async (t) => {
  const file = path.join(temporary(t), "web.sock");
  const first = await serve(t, `unix:${file}`);
  const second = await run("einhorn", ["-d", `${file}.control`, "-b", `unix:${file}`, "--", "true"]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /web\.sock/);
  first.kill("SIGKILL");
  await first.ended();
  const workers = [...first.log().matchAll(/pid=(\d+) started/g)].map(([, pid]) => Number(pid));
  for (const pid of workers) process.kill(pid, "SIGKILL");
  await until("the workers to be gone", () => !workers.some(isAlive), undefined, { everyMs: 10 });
  const third = await serve(t, `unix:${file}`);
  assert.equal((await third.status()).ready, 1);
});

test("IPv6, with port 0 as everywhere", async (t) => {
  const master = await serve(t, "[::1]:0");
  assert.match(await get(await master.port(), "/", "::1"), /generation=0/);
});

test("port 0 is the same port after an upgrade, shown in log, state and status", async (t) => {
  const master = await serve(t, "127.0.0.1:0");
  const port = await master.port();
  assert.ok(port > 0);
  assert.match(master.log(), new RegExp(`127\\.0\\.0\\.1:${port}`));
  assert.match(await master.state(), new RegExp(`:bound_ports: \\[${port}\\]`));
  assert.match((await master.sh("status")).stdout, new RegExp(`127\\.0\\.0\\.1:${port}`));
  await master.ask("upgrade");
  assert.equal(await master.port(), port);
});

test("a name is resolved, several binds come in their order", async (t) => {
  const master = await serve(t, "localhost:0", "127.0.0.1:0,r,n");
  const { sockets } = await master.status();
  assert.deepEqual(
    sockets.map((socket) => socket.workerFd),
    [3, 4],
  );
});

test("queues=per-worker: no request fails while workers are replaced", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "manual", "-n", "3", "-b", "127.0.0.1:0,queues=per-worker"],
    program: SERVER,
  });
  const load = underLoad(t, { port: await master.port(), concurrency: 8 });
  for (let upgrade = 0; upgrade < 10; upgrade += 1) {
    assert.equal((await master.ask("upgrade")).error ?? false, false);
    await load.served(20);
  }
  assert.deepEqual((await load.stop()).errors, []);
});

test("a descriptor that einhorn was started with is adopted", async (t) => {
  // The shell's parent, Perl, makes a listening socket and keeps it as descriptor 7 over exec.
  const opener =
    "use Socket; use POSIX; $^F = 99; socket(my $s, AF_INET, SOCK_STREAM, 0); bind($s, sockaddr_in(0, INADDR_LOOPBACK)); listen($s, 99); POSIX::dup2(fileno($s), 7); exec @ARGV";
  const master = await startMaster(t, {
    args: ["-m", "manual", "-b", "fd:7"],
    program: SERVER,
    through: ["perl", "-e", opener],
  });
  assert.match(await get(await master.port()), /generation=0/);
  await master.ask("upgrade");
  await master.onlyGeneration(1);
  assert.match(await get(await master.port()), /generation=1/);
});

test("an address in use names the address, the error and who has it; no worker starts", async (t) => {
  const holder = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => holder.once("listening", resolve));
  t.after(() => holder.close());
  const { port } = holder.address() as AddressInfo;
  const marker = path.join(temporary(t), "started");
  const failed = await run("einhorn", ["-d", `${marker}.sock`, "-b", `127.0.0.1:${port}`, "--", "touch", marker]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, new RegExp(`127\\.0\\.0\\.1:${port}`));
  assert.match(failed.stderr, /EADDRINUSE/);
  assert.match(failed.stderr, new RegExp(`${process.pid}`), "who has it");
  assert.doesNotMatch(failed.stderr, /\n\s+at /, "no stack");
  assert.equal(fs.existsSync(marker), false);
});

for (const [what, bind, pattern] of [
  ["an address that is not here", "192.0.2.1:0", /192\.0\.2\.1.*EADDRNOTAVAIL/],
  ["a folder that is not there", "unix:/nonexistent/web.sock", /\/nonexistent\/web\.sock.*(ENOENT|folder)/s],
  ["a descriptor that is not open", "fd:99", /fd:99.*(EBADF|socket)/s],
  ["a name that nobody passed", "fd:web", /fd:web/],
  ["a host that does not exist", "no-such-host.invalid:0", /no-such-host\.invalid/],
] as const) {
  test(`binding ${what} fails with exit 1 and one message`, async () => {
    const failed = await run("einhorn", ["-d", `/tmp/einhorn-bind-${process.pid}.sock`, "-b", bind, "--", "true"]);
    assert.equal(failed.code, 1, failed.stderr);
    assert.match(failed.stderr, pattern);
    assert.doesNotMatch(failed.stderr, /\n\s+at /, "no stack");
  });
}
