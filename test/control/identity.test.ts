/** Who may say what. Clients are processes of their own, so that the kernel has something to tell about them. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { test } from "node:test";
import { native } from "../../src/system/native.ts";
import { type Fixture, serve } from "./harness.ts";

/** Connects, waits for a line on stdin, sends what its argument says, and prints what comes back until the end (or once, if told to leave). */
const script = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
sys.stdin.readline()
s.sendall(sys.argv[2].encode() + b"\\n")
while True:
    data = s.recv(65536)
    if not data: break
    sys.stdout.write(data.decode())
    if sys.argv[3:]: break
`;

class Speaker {
  readonly process: ChildProcess;
  readonly said: Promise<string>;

  constructor(fixture: Fixture, line: string, o: { uid?: number; below?: boolean; leave?: boolean } = {}) {
    const python = ["/usr/bin/python3", "-c", script, fixture.path, line, ...(o.leave === true ? ["leave"] : [])];
    // With `below`, our child is a shell that waits for the one who speaks.
    const [file = "", ...args] = o.below === true ? ["/bin/sh", "-c", '"$@"; exit', "sh", ...python] : python;
    const uid = o.uid === undefined ? {} : { uid: o.uid };
    this.process = spawn(file, args, { ...uid, stdio: ["pipe", "pipe", "inherit"], cwd: "/" });
    this.said = new Promise((resolve) => {
      let text = "";
      this.process.stdout?.on("data", (chunk) => {
        text += String(chunk);
      });
      this.process.on("close", () => resolve(text));
    });
  }

  get pid(): number {
    return this.process.pid ?? -1;
  }

  /** Lets it speak; resolves with what it was told. */
  async speak(): Promise<{ message: string; error?: boolean }[]> {
    this.process.stdin?.write("\n");
    const lines = (await this.said).split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as { message: string; error?: boolean });
  }
}

const ack = '{"command":"worker:ack","pid":1}';
const nobody = 65534;

test("a worker's ACK counts for that worker, whatever pid it claims, and gets no reply but the end", async () => {
  using fixture = serve();
  const worker = new Speaker(fixture, ack);
  fixture.workers.add(worker.pid);
  assert.deepEqual(await worker.speak(), []);
  assert.deepEqual(fixture.heard, [`ack ${worker.pid}`]);
});

test("a ping is told with its id, and gets no reply but the end", async () => {
  using fixture = serve();
  const worker = new Speaker(fixture, "---%0Acommand: worker:ping%0Apid: 1%0Arequest_id: req 9%0A");
  fixture.workers.add(worker.pid);
  assert.deepEqual(await worker.speak(), []);
  assert.deepEqual(fixture.heard, [`ping ${worker.pid} req 9`]);
});

test("what a process below a worker says is said by the worker", async () => {
  using fixture = serve();
  const worker = new Speaker(fixture, ack, { below: true });
  fixture.workers.add(worker.pid);
  assert.deepEqual(await worker.speak(), []);
  assert.deepEqual(fixture.heard, [`ack ${worker.pid}`]);
});

test("a worker that connects before the master knows of its birth is believed", async () => {
  using fixture = serve();
  const worker = new Speaker(fixture, ack, { uid: nobody });
  await fixture.until(() => fixture.server.size === 1);
  fixture.workers.add(worker.pid);
  assert.deepEqual(await worker.speak(), []);
  assert.deepEqual(fixture.heard, [`ack ${worker.pid}`]);
});

test("nobody ACKs for a worker from outside it, not even root", async () => {
  using fixture = serve();
  const worker = new Speaker(fixture, ack);
  fixture.workers.add(worker.pid);
  const other = new Speaker(fixture, `{"command":"worker:ack","pid":${worker.pid},"id":3}`);
  const replies = await other.speak();
  assert.equal(replies.length, 1);
  assert.equal(replies[0]?.error, true);
  assert.match(replies[0]?.message ?? "", /only from a worker/);
  assert.deepEqual(fixture.heard, ["refused 0 worker:ack 0"]);
  await worker.speak();
});

test("another user is refused, told why, and logged once a second at most", async () => {
  using fixture = serve();
  for (const command of ["upgrade", "state", "worker:ack"]) {
    const replies = await new Speaker(fixture, `{"command":"${command}"}`, { uid: nobody }).speak();
    assert.equal(replies[0]?.error, true);
    assert.match(replies[0]?.message ?? "", /^Refused: /);
  }
  assert.equal(fixture.heard[0], "refused 65534 upgrade 0");
  assert.ok(fixture.heard.every((fact) => fact.startsWith("refused 65534")));
});

test("a worker that runs as another user speaks for itself and gives no commands", async () => {
  using fixture = serve();
  const first = new Speaker(fixture, ack, { uid: nobody });
  const second = new Speaker(fixture, '{"command":"die"}', { uid: nobody });
  fixture.workers.add(first.pid).add(second.pid);
  assert.deepEqual(await first.speak(), []);
  const replies = await second.speak();
  assert.match(replies[0]?.message ?? "", /Only root and the user that runs einhorn/);
  assert.deepEqual(fixture.heard, [`ack ${first.pid}`, "refused 65534 die 0"]);
});

test("the master's own user may give commands where it is not root", async () => {
  using fixture = serve({ authority: { trusts: (uid) => uid === 0 || uid === nobody } });
  const operator = new Speaker(fixture, '{"command":"upgrade"}', { uid: nobody, leave: true });
  operator.process.stdin?.write("\n");
  await fixture.until(() => fixture.unanswered.length === 1);
  for (const asker of fixture.unanswered) fixture.server.reply(asker, { message: "done", wait: false, error: false });
  assert.equal(await operator.said, '{"message":"done"}\n');
});

test("a stranger cannot make the master hold much", async () => {
  using fixture = serve();
  const replies = await new Speaker(fixture, "x".repeat(5_000), { uid: nobody }).speak();
  assert.match(replies[0]?.message ?? "", /at most 4096 bytes/);
});

test("the private connection of a worker stays open after its ACK", async () => {
  using fixture = serve();
  const [ours, theirs] = native.socketPair({ type: 1 });
  fixture.server.adopt({ fd: ours, pid: 4711, uid: nobody });
  const say = (line: string) => native.write({ fd: theirs, buffer: Buffer.from(`${line}\n`) });
  say(ack);
  say('{"command":"worker:ping","request_id":1}');
  await fixture.until(() => fixture.heard.length === 2);
  assert.deepEqual(fixture.heard, ["ack 4711", "ping 4711 1"]);
  assert.equal(fixture.server.size, 1);
  say('{"command":"die"}');
  await fixture.until(() => fixture.server.size === 0);
  const buffer = Buffer.alloc(4096);
  assert.match(buffer.toString("utf8", 0, native.read({ fd: theirs, buffer })), /^\{"message":"Refused: Only root/);
});
