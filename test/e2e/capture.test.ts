/** `--capture-stderr`: what workers write reaches the master's stderr unchanged, and its end is in the report of a death. */
import assert from "node:assert/strict";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { until } from "../support/until.ts";

const quick = ["--capture-stderr", "-n", "2", "-m", "0.1"];

function temporary(t: TestContext): string {
  const directory = fs.mkdtempSync("/tmp/einhorn-capture-");
  fs.chmodSync(directory, 0o755);
  t.after(() => fs.rmSync(directory, { recursive: true }));
  return directory;
}

/** Descriptors of pipes that the master reads workers' stderr from. */
function pipesOf(master: Master): number {
  const folder = `/proc/${master.pid}/fd`;
  return fs.readdirSync(folder).filter((fd) => {
    try {
      const isPipe = fs.readlinkSync(path.join(folder, fd)).startsWith("pipe:");
      const [, flags] = /^flags:\s*(\d+)/m.exec(fs.readFileSync(`/proc/${master.pid}/fdinfo/${fd}`, "utf8")) ?? [];
      // Node's own are close-on-exec (O_CLOEXEC), those of signals come as a pair.
      return isPipe && (Number.parseInt(flags ?? "0", 8) & 0o2000001) === 0;
    } catch {
      return false;
    }
  }).length;
}

/** A program for `sh -c` that fails with these words unless the file `release` says "good". */
const release = (file: string, words: string) =>
  `read code < ${file}; [ "$code" = good ] || { ${words}; exit 7; }; exec sleep 1000`;

test("a release that dies before its ACK: its last lines are in the log, in status and in what upgrade answers", async (t) => {
  const file = path.join(temporary(t), "release");
  fs.writeFileSync(file, "good\n");
  const words = `echo "reading config" >&2; printf 'FATAL: no database at \\033[31mdb:5432\\033[0m' >&2`;
  // Long enough that it dies before its ACK on a busy machine too.
  const master = await startMaster(t, { args: [...quick, "-m", "2"], program: ["sh", "-c", release(file, words)] });
  const before = await master.workers();
  fs.writeFileSync(file, "bad\n");
  const upgrade = await master.sh("upgrade");
  assert.equal(upgrade.code, 1);
  const expected = "Its last words on stderr:\nreading config\nFATAL: no database at db:5432";
  assert.ok((upgrade.stdout + upgrade.stderr).includes(expected), upgrade.stdout + upgrade.stderr);
  assert.match(upgrade.stdout + upgrade.stderr, /3 new workers failed.*exited with code 7.*before its ACK/);
  // One that was being started when the third died is told to go, before it has said anything.
  const status = await master.onlyGeneration(0);
  assert.deepEqual(
    status.workers.map(({ pid }) => pid),
    before.map(({ pid }) => pid),
  );
  const death = status.recentDeaths.filter(({ expected }) => !expected).at(-1) as unknown as {
    lastWords: string;
    text: string;
  };
  assert.equal(death.lastWords, "reading config\nFATAL: no database at db:5432");
  assert.ok(death.text.includes(expected));
  assert.ok((await master.sh("status")).stdout.includes(expected));
  const logged =
    /exited with code 7.* before its ACK; next start in \S+\\nIts last words on stderr:\\nreading config\\nFATAL/;
  await master.waitForLog(logged);
  assert.ok(master.log().includes("FATAL: no database at \u001b[31mdb:5432\u001b[0m"), "it is relayed as it was");
});

test("without the option a worker has the master's own stderr", async (t) => {
  const program = ["sh", "-c", "readlink /proc/self/fd/2 >&2; exec sleep 1000"];
  const link = (master: Master) => fs.readlinkSync(`/proc/${master.pid}/fd/2`).replace(/[[\]]/g, "\\$&");
  const plain = await startMaster(t, { args: ["-n", "1", "-m", "0.1"], program });
  await plain.waitForLog(new RegExp(`^${link(plain)}$`, "m"));
  const capturing = await startMaster(t, { args: ["-n", "1", "-m", "0.1", "--capture-stderr"], program });
  const [said] = await capturing.waitForLog(/^pipe:.*$/m);
  assert.doesNotMatch(said, new RegExp(link(capturing)));
});

test("upgrades, reloads and crashes: every line of every worker arrives once and whole, and no descriptor stays", async (t) => {
  const args = ["--capture-stderr", "-n", "2", "-m", "manual"];
  const master = await startMaster(t, { args, program: [fixture("chatters.pl")] });
  const atFirst = pipesOf(master);
  const crash = async (signal: NodeJS.Signals) => {
    const from = master.log().length;
    master.kill(signal);
    await master.waitForLog(/crashed and goes on/, from);
  };
  await crash("SIGSEGV");
  assert.equal((await master.ask("reload")).error ?? false, false);
  const pids = new Set((await master.workers()).map(({ pid }) => pid));
  const upgrade = master.ask("upgrade");
  await master.until(({ generation }) => generation === 1, "the upgrade has begun");
  await crash("SIGABRT");
  assert.equal((await upgrade.catch(() => null))?.error ?? false, false);
  const { workers } = await master.until(({ mode, workers }) => mode === "running" && workers.length === 2);
  for (const { pid } of workers) pids.add(pid);
  await crash("SIGBUS");
  for (const pid of pids) await master.waitForLog(new RegExp(`^${pid} 50 `, "m"));
  await until("the pipes of the old workers are closed", () => pipesOf(master) === atFirst);
  const { code, stderr } = await master.stop();
  assert.equal(code, 0);
  const linesOf = new Map<number, string[]>();
  for (const line of stderr.split("\n").filter((each) => /^\d+ /.test(each))) {
    const pid = Number.parseInt(line, 10);
    linesOf.set(pid, [...(linesOf.get(pid) ?? []), line]);
  }
  for (const pid of pids) assert.ok(linesOf.has(pid ?? 0));
  for (const [pid, lines] of linesOf) {
    const expected = lines.map((_, index) => `${pid} ${index + 1} ${"-".repeat((index + 1) % 300)}`);
    expected[lines.length - 1] = `${pid} ${lines.length} end`;
    assert.deepEqual(lines, expected);
  }
});

test("nobody reads the master's stderr: the master answers, the workers wait, and nothing is lost", async (t) => {
  const directory = temporary(t);
  const fifo = path.join(directory, "stderr");
  const size = 3_000_000;
  const flood = `head -c ${size} /dev/zero | tr '\\0' '~' >&2; echo >&2; touch ${directory}/done; exec sleep 1000`;
  const reader = { fd: -1, text: "" };
  const master = await startMaster(t, {
    args: ["--capture-stderr", "-n", "1", "-m", "0.1"],
    program: ["sh", "-c", flood],
    // Open for reading and writing, so that nobody waits for the other side (fifo(7)).
    through: ["sh", "-c", `mkfifo ${fifo}; exec "$@" 2<>${fifo}`, "sh"],
    until: "running",
  });
  reader.fd = fs.openSync(fifo, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  t.after(() => fs.closeSync(reader.fd));
  await master.until(({ ready }) => ready === 1, "ready by time, although it waits for its stderr");
  assert.equal((await master.ask("reload")).error ?? false, false);
  master.kill("SIGSEGV");
  await master.until(({ crashes, ready }) => crashes === 1 && ready === 1, "going on after a crash");
  assert.ok(!fs.existsSync(`${directory}/done`), "the worker waits");
  const buffer = Buffer.alloc(65_536);
  const read = () => {
    try {
      reader.text += buffer.toString("latin1", 0, fs.readSync(reader.fd, buffer));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
    return fs.existsSync(`${directory}/done`);
  };
  const arrived = () => reader.text.split("~").length - 1;
  await until("the worker to be done", read, () => `${reader.text.length} bytes came`, { everyMs: 0 });
  const count = () => {
    read();
    return arrived() >= size;
  };
  await until("everything to come", count, () => `${reader.text.length} bytes came`, { everyMs: 5 });
  assert.equal(arrived(), size);
});

test("children that keep a dead worker's stderr are relayed on; the descriptor goes with the last of them", async (t) => {
  const directory = temporary(t);
  const wait = (file: string) => `until [ -e ${directory}/${file} ]; do sleep 0.05; done`;
  const child = `(${wait("speak")}; echo "I am still here" >&2; ${wait("end")}) & `;
  fs.writeFileSync(path.join(directory, "release"), "bad\n");
  const program = `${child} ${release(path.join(directory, "release"), `cp ${directory}/good ${directory}/release; echo dying >&2`)}`;
  fs.writeFileSync(path.join(directory, "good"), "good\n");
  const master = await startMaster(t, {
    args: ["--capture-stderr", "-n", "1", "-m", "0.1", "-s", "0.1"],
    program: ["sh", "-c", program],
    until: "running",
  });
  // On a busy machine the first may count as ready before it dies.
  const { recentDeaths } = await master.until((status) => status.recentDeaths.length === 1 && status.ready === 1);
  assert.deepEqual(
    recentDeaths.map((death) => (death as unknown as { lastWords: string }).lastWords),
    ["dying"],
  );
  assert.equal(pipesOf(master), 3, "the dead worker's, the living one's, and the signals'");
  assert.equal((await master.ask("reload")).error ?? false, false);
  assert.equal(pipesOf(master), 3, "in the next image too");
  // One child of each of two workers.
  fs.writeFileSync(`${directory}/speak`, "");
  await master.waitForLog(/I am still here\n(.*\n)*I am still here\n/);
  fs.writeFileSync(`${directory}/end`, "");
  await until("the pipe to be closed", () => pipesOf(master) === 2);
});

test("a worker of another user can open /dev/stderr", async (t) => {
  const program = ["sh", "-c", "echo by name > /dev/stderr && exec sleep 1000"];
  const master = await startMaster(t, { args: [...quick, "--worker-user", "65534:65534"], program });
  await master.waitForLog(/^by name\n/m);
});

const applications = [
  {
    language: "python3",
    file: "app.py",
    code: 'import sys\ndef einhorn_main():\n  sys.exit("no database, says Python")\n',
  },
  { language: "ruby", file: "app.rb", code: 'def einhorn_main\n  abort "no database, says Ruby"\nend\n' },
];
for (const { language, file, code } of applications) {
  test(`forked workers have stderr of their own: ${language}`, async (t) => {
    const app = path.join(temporary(t), file);
    fs.writeFileSync(app, code);
    const args = [...quick, "-g", "-p", app];
    const master = await startMaster(t, { args, program: [language, app], until: "running" });
    const { recentDeaths } = await master.until((status) => status.recentDeaths.length >= 3);
    for (const death of recentDeaths) assert.match(death.text, /code 1 .*\n.*\nno database, says (Python|Ruby)$/);
    await master.waitForLog(/^no database, says (Python|Ruby)$/m);
    assert.equal(((await master.status()) as unknown as { preload: { active: boolean } }).preload.active, true);
    await until("the pipes of the dead are closed", () => pipesOf(master) <= 4);
  });
}
