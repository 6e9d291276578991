/** Clients that mean harm, on the built product: it answers the good ones, stays small, and does not restart. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import fs from "node:fs";
import net, { type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { statusField } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { sendRaw } from "../support/wire.ts";

/** The sanitizers' allocator keeps what was freed for a while, to see who uses it. */
const isSanitized = process.env.EINHORN_TEST_ADDON !== undefined;
const grownBytesMax = (isSanitized ? 60 : 30) * 1024 * 1024;
/** Grows ninefold with each name. */
const laughs = `a: &a [x,x,x,x,x,x,x,x,x], b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a], c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]`;
const rssBytes = (master: Master) => Number.parseInt(statusField(master.pid, "VmRSS"), 10) * 1024;

async function start(t: TestContext): Promise<Master> {
  const master = await startMaster(t, {
    args: ["-b", "127.0.0.1:0", "-m", "manual", "-n", "1"],
    program: [fixture("http-server.pl")],
  });
  // What it has loaded for the first answers is not growth.
  for (let i = 0; i < 20; i += 1) await master.ask("status");
  await sendRaw(master.sockPath, "command: ehlo\n");
  return master;
}

/** Still the same image, and not much larger. */
async function unharmed(t: TestContext, master: Master, before: number): Promise<void> {
  const status = await master.status();
  assert.equal(status.crashes, 0);
  assert.equal(status.ready, 1);
  const grownKb = () => Math.round((rssBytes(master) - before) / 1024);
  t.diagnostic(`grew by ${grownKb()} KiB`);
  // Garbage is looked for a few times a second.
  const isSmall = () => grownKb() < grownBytesMax / 1024;
  await until("the master to be small again", isSmall, () => `it grew by ${grownKb()} KiB`, { limitMs: 10_000 });
}

function connect(master: Master): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(master.sockPath);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.removeListener("error", reject);
      socket.on("error", () => {});
      resolve(socket);
    });
  });
}

test("lines of 10 MB: an error or a close, and the good client is answered meanwhile", async (t) => {
  const master = await start(t);
  const before = rssBytes(master);
  const huge = "x".repeat(10 * 1024 * 1024);
  const attacks = ["", "\n", '{"command":"'].map((ending) => sendRaw(master.sockPath, huge + ending).catch(() => ""));
  for (let i = 0; i < 10; i += 1) assert.match((await master.ask("ready")).message, /1 of 1/);
  for (const answer of await Promise.all(attacks)) assert.doesNotMatch(answer, /"error":false/);
  await unharmed(t, master, before);
});

test("YAML bombs, tags, prototype names and wrong types are refused in words", async (t) => {
  const master = await start(t);
  const before = rssBytes(master);
  const lines = [
    `{${laughs}, command: [*c,*c,*c,*c,*c,*c]}`,
    `${"[".repeat(30_000)}`,
    `{command: ${"{a: ".repeat(10_000)}`,
    "--- !ruby/object:Gem::Installer\\ni: x",
    "command: !!js/function 'function(){ process.exit() }'",
    '{"__proto__":{"command":"die"}}',
    '{"command":{"toString":1}}',
    '{"command":"config","args":[{"__proto__":{"number":0}}]}',
    '{"command":"set_workers","args":[1e309]}',
    '{"command":"set_workers","args":[-1]}',
    '{"command":"signal","args":["KILL","; rm -rf"]}',
    "%00%01%ff",
    `command: ${"&x ".repeat(5000)}`,
  ];
  for (const line of lines) {
    const reply = await sendRaw(master.sockPath, `${line}\n`).catch(() => "");
    assert.match(reply, /"error":true|^$/, `to ${line.slice(0, 60)}`);
    assert.equal((await master.status()).number, 1);
  }
  await unharmed(t, master, before);
});

test("1,000 idle and 100 slow clients, lines of 10 MB and YAML bombs at once: the good one is answered", async (t) => {
  const master = await start(t);
  const before = rssBytes(master);
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let i = 0; i < 1100; i += 50) {
    sockets.push(...(await Promise.all(Array.from({ length: 50 }, () => connect(master)))));
    // Connected is not accepted: the backlog must not fill up.
    assert.match((await master.ask("ready")).message, /1 of 1/);
  }
  const slow = sockets.slice(0, 100);
  const line = '{"command":"status","id":1}\n';
  let at = 0;
  const drip = setInterval(() => {
    for (const socket of slow) socket.write(line[at % line.length] as string);
    at += 1;
  }, 20);
  t.after(() => clearInterval(drip));
  const loud = ["x".repeat(10 * 1024 * 1024), `{${laughs}, command: *c}\n`].map((bytes) =>
    sendRaw(master.sockPath, bytes).catch(() => ""),
  );
  const took: number[] = [];
  for (let i = 0; i < 50; i += 1) {
    const startedAt = performance.now();
    assert.match((await master.ask("ready")).message, /1 of 1/);
    took.push(performance.now() - startedAt);
    await sleep(10);
  }
  took.sort((a, b) => a - b);
  await Promise.all(loud);
  t.diagnostic(`answered within ${took[25]?.toFixed(1)} ms in the median, ${took.at(-1)?.toFixed(1)} ms at the most`);
  await unharmed(t, master, before);
});

test("clients that ask without end, and lines that are too long between: it stays small while they do", async (t) => {
  const master = await start(t);
  const before = rssBytes(master);
  let largest = 0;
  let left = 4000;
  const asker = async () => {
    for (; left > 0; left -= 1) {
      await master.ask("status");
      if (left % 50 === 0) largest = Math.max(largest, rssBytes(master));
    }
  };
  const shouter = async () => {
    while (left > 0) await sendRaw(master.sockPath, "x".repeat(1024 * 1024)).catch(() => "");
  };
  await Promise.all([...Array.from({ length: 8 }, asker), shouter()]);
  t.diagnostic(`grew by ${Math.round((largest - before) / 1024)} KiB at the most`);
  // On the way it may be more: how soon garbage is seen depends on the machine.
  assert.ok(largest - before < 1.3 * grownBytesMax, `the master grew by ${largest - before} bytes`);
  await unharmed(t, master, before);
});

test("half a request of 60 KB from each of a thousand: what is held is bounded, and the good one is answered", async (t) => {
  const master = await start(t);
  const before = rssBytes(master);
  const sockets: Socket[] = [];
  t.after(() => {
    for (const socket of sockets) socket.destroy();
  });
  for (let i = 0; i < 1000; i += 50) {
    sockets.push(...(await Promise.all(Array.from({ length: 50 }, () => connect(master)))));
    for (const socket of sockets.slice(-50)) socket.write(`{"command":"${"x".repeat(60_000)}`);
    assert.match((await master.ask("ready")).message, /1 of 1/);
  }
  await unharmed(t, master, before);
});

test("another user is refused although the socket's mode was loosened", async (t) => {
  const master = await start(t);
  fs.chmodSync(master.sockPath, 0o777);
  const script = `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => "${master.sockPath}") or die $!;
    print $s qq({"command":"die","id":1}\\n); print while <$s>;`;
  const { stdout } = await promisify(execFile)("perl", ["-e", script], { uid: 65534, gid: 65534, cwd: "/" });
  assert.match(stdout, /"error":true/);
  assert.match(stdout, /Refused: Only root and the user that runs einhorn/);
  await master.waitForLog(/Refused die from pid \d+ of uid 65534/);
  assert.equal((await master.status()).mode, "running");
});
