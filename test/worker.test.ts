/** The library for Node workers, as source, ES module and CommonJS, in processes of their own. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { build } from "esbuild";
import { native } from "../src/system/native.ts";
import { serve } from "./control/harness.ts";

const source = join(import.meta.dirname, "../src/worker.ts");
const program = join(import.meta.dirname, "fixtures/node-worker.mjs");
const folder = mkdtempSync(join(tmpdir(), "einhorn-worker-"));
const libraries = [source, join(folder, "worker.mjs"), join(folder, "worker.cjs")];
for (const outfile of libraries.slice(1)) {
  const format = outfile.endsWith(".cjs") ? "cjs" : "esm";
  await build({
    entryPoints: [source],
    outfile,
    format,
    bundle: true,
    platform: "node",
    target: "node20",
    logLevel: "error",
  });
}
after(() => rmSync(folder, { recursive: true }));

interface Worker {
  process: ChildProcess;
  pid: number;
  facts: Record<string, unknown>[];
  done: Promise<number | null>;
}

/** Starts one as the master would; descriptors become 3, 4, ... */
function start(library: string, env: NodeJS.ProcessEnv, o: { fds?: readonly number[]; stay?: boolean } = {}): Worker {
  const stdio = ["pipe", "pipe", "inherit", ...(o.fds ?? [])] as ("pipe" | "inherit" | number)[];
  const args = [program, ...(o.stay === true ? ["stay"] : [])];
  const child = spawn(process.execPath, args, {
    env: { PATH: process.env.PATH, EINHORN_LIBRARY: library, ...env },
    stdio,
  });
  const facts: Record<string, unknown>[] = [];
  let text = "";
  child.stdout?.on("data", (chunk) => {
    const lines = (text + String(chunk)).split("\n");
    text = lines.pop() ?? "";
    facts.push(...lines.map((line) => JSON.parse(line) as Record<string, unknown>));
  });
  const done = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { process: child, pid: child.pid ?? -1, facts, done };
}

const master = { EINHORN_MASTER_PID: String(process.pid), EINHORN_CHILD_INDEX: "3", EINHORN_GENERATION: "2" };

for (const library of libraries) {
  test(`${library.split("/").at(-1)}: a worker serves its socket, ACKs, pings and stops once`, async () => {
    using fixture = serve();
    const port = native.socket({ family: 2, type: 1 });
    native.bind({ fd: port, address: Buffer.from([2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]) });
    native.listen({ fd: port, backlog: 10 });
    const env = { ...master, EINHORN_SOCK_PATH: fixture.path, EINHORN_FD_COUNT: "1", EINHORN_FD_0: "3" };
    const worker = start(library, env, { fds: [port], stay: true });
    fixture.workers.add(worker.pid);
    await fixture.until(() => worker.facts.some((fact) => "ping" in fact));
    assert.deepEqual(worker.facts, [
      { isWorker: true, childIndex: 3, generation: 2, listenerCount: 1 },
      { listening: true },
      { ack: true },
      { ping: true },
    ]);
    assert.deepEqual(fixture.heard, [`ack ${worker.pid}`, `ping ${worker.pid} p 1`]);
    const address = Buffer.from(native.getSocketName({ fd: port }));
    assert.equal(await (await fetch(`http://127.0.0.1:${address.readUInt16BE(2)}/`)).text(), "served");
    worker.process.kill("SIGTERM");
    await fixture.until(() => worker.facts.length > 4);
    worker.process.kill("SIGUSR2");
    worker.process.kill("SIGINT");
    worker.process.kill("SIGTERM");
    worker.process.kill("SIGKILL");
    await worker.done;
    assert.deepEqual(worker.facts.slice(4), [{ stop: "SIGTERM" }]);
  });
}

test("with a connection of its own it uses that, again and again", async () => {
  using fixture = serve();
  const [ours, theirs] = native.socketPair({ type: 1 });
  const worker = start(source, { ...master, EINHORN_SOCK_FD: "3", EINHORN_SOCK_PATH: "/nowhere" }, { fds: [theirs] });
  fixture.server.adopt({ fd: ours, pid: worker.pid, uid: 0 });
  assert.equal(await worker.done, 0, "the connection does not keep it alive");
  await fixture.until(() => fixture.heard.length === 2);
  assert.deepEqual(fixture.heard, [`ack ${worker.pid}`, `ping ${worker.pid} p 1`]);
});

test("an abstract command socket is reached as well", async () => {
  const name = `einhorn-test-${process.pid}`.padEnd(107, ".");
  const lines: string[] = [];
  const server = net.createServer((socket) => {
    socket.once("data", (data) => {
      lines.push(JSON.parse(String(data)).command);
      socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(`\0${name}`, resolve));
  const worker = start(source, { ...master, EINHORN_SOCK_PATH: `@${name}` });
  assert.equal(await worker.done, 0);
  assert.deepEqual(lines, ["worker:ack", "worker:ping"]);
  server.close();
});

test("outside of einhorn nothing is asked, promised or broken", async () => {
  const worker = start(source, {});
  assert.equal(await worker.done, 0);
  assert.deepEqual(worker.facts, [
    { isWorker: false, childIndex: null, generation: null, listenerCount: 0 },
    { listener: "RangeError: There is no socket 0: einhorn has bound none. Give einhorn one -b ADDR for each." },
    { ack: false },
    { ping: false },
  ]);
});

test("a child that inherited a worker's environment is no worker", async () => {
  const worker = start(source, { ...master, EINHORN_MASTER_PID: "1" });
  assert.equal(await worker.done, 0);
  assert.equal(worker.facts[0]?.isWorker, false);
});

test("an ACK that the master refuses, or cannot hear, is an error", async () => {
  using fixture = serve();
  const stranger = start(source, { ...master, EINHORN_SOCK_PATH: fixture.path });
  await stranger.done;
  assert.match(String(stranger.facts.at(-2)?.ack), /^Error: Refused: This counts only from a worker/);
  const deaf = start(source, { ...master, EINHORN_SOCK_PATH: "/nowhere" });
  await deaf.done;
  assert.match(String(deaf.facts.at(-2)?.ack), /ENOENT/);
});
