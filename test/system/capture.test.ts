/** Pipes as workers have them, relayed to a pipe that stands for the master's stderr. */
import assert from "node:assert/strict";
import { closeSync, constants, fstatSync, readdirSync, readFileSync, readlinkSync, writeSync } from "node:fs";
import { type TestContext, test } from "node:test";
import { Capture } from "../../src/system/capture.ts";
import { type CaptureState, captureFrom, captureParts } from "../../src/system/capture-state.ts";
import { native } from "../../src/system/native.ts";
import { Outlet } from "../../src/system/outlet.ts";
import * as reactor from "../../src/system/reactor.ts";
import { until } from "../support/until.ts";

/** How many descriptors of pipes this process has. */
const descriptors = () => readdirSync("/proc/self/fd").filter((fd) => isPipe(`/proc/self/fd/${fd}`)).length;

function isPipe(path: string): boolean {
  try {
    return readlinkSync(path).startsWith("pipe:");
  } catch {
    return false;
  }
}

class Stderr {
  readonly #reader: number;
  readonly writer: number;
  readonly outlet: Outlet;

  constructor() {
    [this.#reader, this.writer] = native.pipe({ private: true });
    native.setNonBlocking({ fd: this.writer, nonBlocking: false });
    this.outlet = new Outlet({ watcher: reactor, poll: native.poll, fd: this.writer });
  }

  /** What is in it now. */
  read(): string {
    const buffer = Buffer.alloc(1 << 20);
    let text = "";
    for (;;) {
      const length = native.read({ fd: this.#reader, buffer });
      if (length <= 0) return text;
      text += buffer.toString("latin1", 0, length);
    }
  }

  /** Until nothing more fits; the number of bytes. */
  fill(): number {
    let bytes = 0;
    for (;;) {
      const written = this.outlet.write(Buffer.alloc(4096, "."));
      if (written === 0) return bytes;
      bytes += written;
    }
  }

  async reads(text: string): Promise<void> {
    let got = "";
    const more = () => {
      got += this.read();
      return got.length >= text.length;
    };
    await until(`${text.length} bytes`, more, () => JSON.stringify(got.slice(0, 500)), { limitMs: 20_000, everyMs: 5 });
    assert.ok(got === text, `got ${got.length} bytes: ${got.slice(0, 200)}`);
  }

  close(): void {
    this.outlet.close();
    for (const fd of [this.#reader, this.writer]) closeSync(fd);
  }
}

interface Setting {
  from?: CaptureState;
  stderr?: Stderr;
  relay?: typeof native.relay;
}

function set(t: TestContext, { from, stderr = new Stderr(), relay = native.relay }: Setting = {}) {
  const { pipe, setNonBlocking } = native;
  const kept: string[] = [];
  const troubles: string[] = [];
  const capture = new Capture({
    from: from ?? null,
    outlet: stderr.outlet,
    native: { pipe, setNonBlocking, relay },
    reactor,
    keep: () => kept.push(JSON.stringify(capture.takeChanges())),
    trouble: (message) => troubles.push(message),
  });
  t.after(() => assert.deepEqual(troubles, []));
  return { capture, stderr, kept };
}

/** A pipe and a worker of this pid. */
function start(capture: Capture, pid: number): { id: number; stderr: number } {
  const pipe = capture.open(null);
  assert.ok(pipe !== null);
  capture.belongs(pipe.id, pid);
  return pipe;
}

test("what a worker writes arrives unchanged, and its end is kept for the report of its death", async (t) => {
  const before = descriptors();
  const { capture, stderr } = set(t);
  const { stderr: end } = start(capture, 41);
  const text = `\u0000\u001b[31m${"a line of text\n".repeat(1000)}and half a line`;
  writeSync(end, text);
  await stderr.reads(text);
  assert.match(capture.lastWords(41) ?? "", /^(a line of text\n){9}and half a line$/);
  assert.equal(capture.lastWords(41), null, "they are given once");
  closeSync(end);
  await until("the end was noticed", () => capture.toState().pipes.length === 0);
  stderr.close();
  assert.equal(descriptors(), before);
});

test("what was written just before the death is in the last words, whichever is noticed first", async (t) => {
  const { capture, stderr } = set(t);
  const [first, second] = [start(capture, 41), start(capture, 42)];
  writeSync(first.stderr, "I am first\n");
  closeSync(first.stderr);
  assert.equal(capture.lastWords(41), "I am first", "the death");
  writeSync(second.stderr, "I am second\n");
  closeSync(second.stderr);
  await until("the end was noticed", () => capture.toState().pipes.every(({ fd }) => fd === null));
  assert.equal(capture.lastWords(42), "I am second", "the end of the pipe");
  assert.deepEqual(capture.toState().pipes, []);
  assert.equal(stderr.read(), "I am first\nI am second\n");
  stderr.close();
});

test("children that outlive a worker go on being relayed; the descriptor goes with the last of them", async (t) => {
  const { capture, stderr } = set(t);
  const { stderr: end } = start(capture, 41);
  writeSync(end, "dying\n");
  assert.equal(capture.lastWords(41), "dying");
  writeSync(end, "I am its child\n");
  await stderr.reads("dying\nI am its child\n");
  closeSync(end);
  await until("the end was noticed", () => capture.toState().pipes.length === 0);
  stderr.close();
});

test("a worker that could not be started leaves nothing behind", async (t) => {
  const before = descriptors();
  const { capture, stderr, kept } = set(t);
  const pipe = capture.open(null);
  closeSync(pipe?.stderr ?? -1);
  await until("the end was noticed", () => capture.toState().pipes.length === 0);
  assert.match(kept[0] ?? "", /^\[\["capture\/1",\{.*"pid":null/, "it was written down before there was a worker");
  assert.deepEqual(capture.takeChanges(), [["capture/1"]]);
  stderr.close();
  assert.equal(descriptors(), before);
});

test("a stderr that nobody reads holds the workers up, not us; later everything comes, each worker's lines whole", async (t) => {
  let looks = 0;
  const relay: typeof native.relay = (o) => {
    looks += 1;
    return native.relay(o);
  };
  const { capture, stderr } = set(t, { relay });
  const filled = stderr.fill();
  const workers = [start(capture, 41), start(capture, 42)];
  const line = (n: number) => `${n} ${"x".repeat(700)}\n`;
  for (const { stderr: end } of workers) native.setNonBlocking({ fd: end, nonBlocking: true });
  const written = workers.map(({ stderr: end, id }) => {
    let text = "";
    // As much as its pipe takes.
    while (native.poll({ fd: end, events: 2 }) === 2 && native.write({ fd: end, buffer: Buffer.from(line(id)) }) > 0)
      text += line(id);
    return text;
  });
  assert.ok(written.every((text) => text.length > 50_000));
  for (let turn = 0; turn < 200; turn += 1) await new Promise(setImmediate);
  assert.ok(looks <= workers.length, `it looked ${looks} times while there was nothing to do`);
  let got = "";
  const total = filled + written.join("").length;
  await until(
    "everything",
    () => {
      got += stderr.read();
      return got.length >= total;
    },
    () => `${got.length} of ${total}`,
    { everyMs: 1 },
  );
  const lines = got.slice(filled).split(/(?<=\n)/);
  assert.ok(
    lines.every((each) => each === line(1) || each === line(2)),
    "a line was cut",
  );
  assert.equal(lines.filter((each) => each === line(1)).join(""), written[0]);
  for (const { stderr: end } of workers) closeSync(end);
  await until("the ends were noticed", () => capture.toState().pipes.every(({ fd }) => fd === null));
  stderr.close();
});

test("lines are whole, whoever else writes to the same stderr", async (t) => {
  const relay: typeof native.relay = (o) => {
    const moved = native.relay(o);
    if (moved !== null && moved.written > 0) stderr.outlet.write(Buffer.from("somebody else\n"));
    return moved;
  };
  const { capture, stderr } = set(t, { relay });
  const { stderr: end } = start(capture, 41);
  const lines = Array.from({ length: 200 }, (_, n) => `${n} ${"x".repeat(n)}`);
  // The last one has no end, and is given all the same.
  writeSync(end, lines.join("\n"));
  let got = "";
  await until("the last line", () => {
    got += stderr.read();
    return got.includes(lines[199] ?? "");
  });
  const own = got.split("\n").filter((line) => line !== "somebody else");
  assert.deepEqual(own, [...lines.slice(0, 199), `${lines[199]}somebody else`, ""]);
  closeSync(end);
  await until("the end was noticed", () => capture.toState().pipes.every(({ fd }) => fd === null));
  stderr.close();
});

test("the next image goes on where this one was, last words included", async (t) => {
  const stderr = new Stderr();
  const first = set(t, { stderr });
  const { stderr: end } = start(first.capture, 41);
  writeSync(end, "before\n");
  await stderr.reads("before\n");
  const state = JSON.parse(JSON.stringify(first.capture.toState())) as CaptureState;
  for (const { fd } of state.pipes) reactor.unwatch(fd ?? -1);
  writeSync(end, "between\n");
  const next = set(t, { from: state, stderr });
  next.capture.resume();
  writeSync(end, "after\n");
  await stderr.reads("between\nafter\n");
  closeSync(end);
  assert.equal(next.capture.lastWords(41), "before\nbetween\nafter");
  const later = next.capture.open(null);
  assert.ok(later !== null && state.pipes.every(({ id }) => id !== later.id), "an id is never given twice");
  closeSync(later.stderr);
  await until("the end was noticed", () => next.capture.toState().pipes.length === 0);
  stderr.close();
});

test("after a crash a descriptor that is something else by now is left alone", async (t) => {
  const { capture, stderr } = set(t);
  const [kept, gone] = [start(capture, 41), start(capture, 42)];
  const state = capture.toState();
  const [fd = -1] = state.pipes.flatMap((pipe) => (pipe.id === gone.id ? [pipe.fd as number] : []));
  closeSync(gone.stderr);
  await until("the end was noticed", () => !capture.toState().pipes.some(({ id }) => id === gone.id));
  const [otherReader, otherWriter] = native.pipe({ private: true });
  assert.equal(otherReader, fd, "the number was used again");
  const parts = new Map(captureParts(state).map(([name, value]) => [name, value]));
  assert.deepEqual(
    captureFrom(parts).pipes.map(({ id }) => id),
    [kept.id],
  );
  for (const each of [otherReader, otherWriter, kept.stderr]) closeSync(each);
  await until("the end was noticed", () => capture.toState().pipes.length === 0);
  stderr.close();
});

test("what was read and does not fit any more is written down for the next image", async (t) => {
  // The master's descriptor is shared: who else writes may be faster between our look and our write. Here it always is.
  const relay: typeof native.relay = (o) => {
    const length = native.read({ fd: o.from, buffer: o.buffer });
    return length <= 0 ? { length, written: 0 } : { length, written: Math.min(length, 3) };
  };
  const { capture, stderr, kept } = set(t, { relay });
  const { stderr: end } = start(capture, 41);
  writeSync(end, "abcdef");
  await until("it was read", () => kept.length > 1);
  const rest = Buffer.from("def").toString("base64");
  assert.equal(
    kept[1],
    JSON.stringify([
      ["capture/1", { ...capture.toState().pipes[0], words: "" }],
      ["capture/rest", rest],
    ]),
  );
  await stderr.reads("def");
  closeSync(end);
  await until("the end was noticed", () => capture.toState().pipes.every(({ fd }) => fd === null));
  assert.equal(capture.toState().rest, "");
  stderr.close();
});

test("a worker's stderr blocks as any, and is its user's", (t) => {
  const { capture, stderr } = set(t);
  const pipe = capture.open({ uid: 12_345, gid: 54_321 });
  assert.ok(pipe !== null);
  const { uid, gid } = fstatSync(pipe.stderr);
  assert.deepEqual([uid, gid], [12_345, 54_321]);
  const [, flags] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${pipe.stderr}`, "utf8")) ?? [];
  assert.equal(Number.parseInt(flags ?? "", 8) & constants.O_NONBLOCK, 0);
  closeSync(pipe.stderr);
  capture.farewell();
  stderr.close();
});
