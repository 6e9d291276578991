import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Log, type LogSettings } from "../../src/system/log.ts";
import { native } from "../../src/system/native.ts";
import { Outlet } from "../../src/system/outlet.ts";
import { unwatch, watch } from "../../src/system/reactor.ts";

const directory = mkdtempSync(join(tmpdir(), "einhorn-log-"));
chmodSync(directory, 0o755);
after(() => rmSync(directory, { recursive: true }));

const outletOf = (fd: number) => new Outlet({ watcher: { watch, unwatch }, poll: native.poll, fd });
const fixture = join(import.meta.dirname, "../fixtures/logs-more-than-fits.ts");
let files = 0;

function newFile(content = ""): string {
  files += 1;
  const path = join(directory, `log-${files}`);
  writeFileSync(path, content);
  return path;
}

/** What a log with these settings writes into a file. */
function written(settings: Partial<LogSettings>, use: (log: Log) => void): string {
  const path = newFile();
  const fd = openSync(path, "a");
  use(new Log({ format: "text", level: "info", outlet: outletOf(fd), ...settings }));
  closeSync(fd);
  return readFileSync(path, "utf8");
}

test("text: time, level, message, fields", () => {
  const text = written({}, (log) => {
    log.info("worker is ready", { slot: 2, pid: 41, ready: true, reason: null });
    log.error('odd "words"', { path: "/a b", quote: 'say "x"', empty: "", equals: "a=b", line: "a\nb" });
  });
  assert.deepEqual(text.replace(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/gm, "TIME").split("\n"), [
    "TIME [INFO] worker is ready slot=2 pid=41 ready=true",
    'TIME [ERROR] odd "words" path="/a b" quote="say \\"x\\"" empty="" equals="a=b" line="a\\nb"',
    "",
  ]);
});

test("json: one object a line; a field cannot replace time, level or message", () => {
  const text = written({ format: "json" }, (log) => log.info("a\nb", { slot: 2, level: "x", message: "y", no: null }));
  const { time, ...rest } = JSON.parse(text);
  assert.equal(new Date(time).toISOString(), time);
  assert.deepEqual(rest, { level: "info", message: "a\nb", slot: 2 });
  assert.ok(text.startsWith('{"time":') && text.indexOf("\n") === text.length - 1);
});

test("what a worker says cannot forge lines or command a terminal", () => {
  const text = written({}, (log) => log.info("a\nb\u001b[31mc\u007f", { x: "\u001b[0m\u0085" }));
  assert.ok(!/[\p{Cc}]/u.test(text.slice(0, -1)), JSON.stringify(text));
});

test("the threshold can change", () => {
  const text = written({ level: "error" }, (log) => {
    log.info("one");
    log.level = "debug";
    log.debug("two");
    log.level = "info";
    log.debug("three");
    log.info("four");
  });
  assert.deepEqual(
    text.match(/\] \w+/g)?.map((word) => word.slice(2)),
    ["two", "four"],
  );
});

test("a line is never longer than what a pipe takes at once", () => {
  for (const format of ["text", "json"] as const) {
    const text = written({ format }, (log) => {
      log.info("x".repeat(10_000));
      log.info("long fields", { a: "é\n".repeat(5000), b: "y".repeat(5000), c: 1 });
      log.info("many", Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`field${i}`, i])));
    });
    const lines = text.split("\n");
    assert.equal(lines.length, 4);
    for (const line of lines) assert.ok(Buffer.byteLength(line) < 4096);
    if (format === "json") assert.equal(JSON.parse(lines[1] ?? "").c, 1);
  }
});

test("lines that an earlier image could not write come first", () => {
  const text = written({ pending: "old 1\nold 2\n" }, (log) => log.info("new"));
  assert.match(text, /^old 1\nold 2\n\S+ \[INFO\] new\n$/);
});

test("a file that workers share is appended to, through the same description", () => {
  const path = newFile("");
  const fd = openSync(path, "w");
  const log = new Log({ format: "text", level: "info", outlet: outletOf(fd) });
  log.info("first");
  execFileSync("sh", ["-c", "echo second >&2"], { stdio: ["ignore", "ignore", fd] });
  log.info("third");
  closeSync(fd);
  assert.match(readFileSync(path, "utf8"), /first\nsecond\n.*third\n$/);
});

test("a closed descriptor is not a reason to throw", () => {
  const fd = openSync(newFile(), "a");
  const log = new Log({ format: "text", level: "info", outlet: outletOf(fd) });
  closeSync(fd);
  log.info("x");
  log.info("y");
});

function fifo(): { path: string; reader: number; writer: number } {
  files += 1;
  const path = join(directory, `fifo-${files}`);
  execFileSync("mkfifo", ["-m", "600", path]);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { path, reader, writer: openSync(path, constants.O_WRONLY) };
}

/** Runs the fixture with `stderr`; reads nothing of it before it has logged all. Returns what it logged. */
async function overfill(
  stderr: number,
  reader: number,
  asNobody = false,
): Promise<{ n?: number; message: string; lost?: number }[]> {
  const ids = asNobody && process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
  const child = spawn(process.execPath, [fixture, "1000", "100000"], { stdio: ["pipe", "pipe", stderr], ...ids });
  assert.ok(child.stdout !== null && child.stdin !== null);
  await once(child.stdout, "data");
  let text = "";
  const exited = once(child, "exit");
  let running = true;
  exited.then(() => (running = false));
  let ended = false;
  while (running) {
    text += readAvailable(reader);
    // The last lines are there: there is room again, so the next line is preceded by the number of the lost.
    if (!ended && text.includes('"lost"')) ended = child.stdin.end() !== undefined;
    await new Promise(setImmediate);
  }
  const [code, signal] = await exited;
  assert.deepEqual([code, signal], [0, null]);
  text += readAvailable(reader);
  return text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
}

function readAvailable(fd: number): string {
  const chunk = Buffer.alloc(65_536);
  try {
    return chunk.toString("utf8", 0, readSync(fd, chunk));
  } catch {
    return "";
  }
}

function checkOverfilled(lines: readonly { n?: number; message: string; lost?: number }[]): void {
  const numbers = lines.flatMap(({ n }) => n ?? []);
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => i),
    "in order, none twice",
  );
  const lost = lines.find((line) => line.lost !== undefined);
  assert.equal(numbers.length + (lost?.lost ?? 0), 1000, "what is missing is counted");
  assert.ok(numbers.length * 500 > 100_000, "the limit is used");
  assert.equal(lines.at(-1)?.message, "after");
  assert.equal(lines.at(-2), lost);
}

test("a pipe that nobody reads does not stop us; what was lost is counted; its flags stay", async () => {
  const { path, reader, writer } = fifo();
  const flags = () => /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${writer}`, "utf8"))?.[1];
  const before = flags();
  checkOverfilled(await overfill(writer, reader));
  assert.equal(flags(), before);
  for (const fd of [reader, writer]) closeSync(fd);
  rmSync(path);
});

test("nor does a pipe that may not be opened again", async () => {
  const { path, reader, writer } = fifo();
  chmodSync(path, 0);
  checkOverfilled(await overfill(writer, reader, true));
  for (const fd of [reader, writer]) closeSync(fd);
});

test("nor does a socket", async () => {
  const sockStream = 1;
  const [reader, writer] = native.socketPair({ type: sockStream });
  native.setNonBlocking({ fd: writer, nonBlocking: false });
  checkOverfilled(await overfill(writer, reader));
  for (const fd of [reader, writer]) closeSync(fd);
});

test("a reader that went away is not a reason to throw", () => {
  const { reader, writer } = fifo();
  const log = new Log({ format: "text", level: "info", outlet: outletOf(writer) });
  closeSync(reader);
  log.info("x");
  log.info("y");
  assert.equal(log.takePending(), "");
  closeSync(writer);
});

test("what is not written is handed over, with the number of the lost", () => {
  const { reader, writer } = fifo();
  const log = new Log({
    format: "text",
    level: "info",
    outlet: outletOf(writer),
    maxPendingBytes: 5000,
  });
  for (let n = 0; n < 100; n++) log.info(`line ${n} ${"x".repeat(2000)}`);
  const pending = log.takePending();
  assert.match(pending, /line \d+ x+\n.*log lines were lost: stderr was not read lost=\d+\n$/);
  assert.equal(log.takePending(), "");
  for (const fd of [reader, writer]) closeSync(fd);
});
