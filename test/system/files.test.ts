/** Where socket and pidfile go, on the real file system: in private mount namespaces where something must not be writable. */
import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { socketName } from "../../src/core/places.ts";

const fixture = join(import.meta.dirname, "../fixtures/take-over.ts");
const root = mkdtempSync(join(tmpdir(), "einhorn-files-"));
chmodSync(root, 0o755);
const staying: ChildProcess[] = [];
after(() => {
  for (const child of staying) child.kill("SIGKILL");
  rmSync(root, { recursive: true });
});

interface Outcome {
  files: { listener: number; socketPath: string; identity: object | null; pidfile: string | null };
  notes: string[];
  pid: number;
  code: string;
  message: string;
  exitCode: number;
}

interface Where {
  tmpdir: string;
  uid?: number;
  /** Directories that are read-only file systems for it. */
  readOnly?: readonly string[];
}

function folder(mode = 0o777): string {
  const path = mkdtempSync(join(root, "t-"));
  chmodSync(path, mode);
  return path;
}

function command(options: object, then: string, where: Where): [string, string[], object] {
  const uid = where.uid === undefined ? {} : { uid: where.uid, gid: where.uid };
  const node = [process.execPath, fixture, JSON.stringify(options), then];
  const o = { env: { ...process.env, TMPDIR: where.tmpdir }, cwd: "/" };
  if (where.readOnly === undefined) return [node[0] ?? "", node.slice(1), { ...o, ...uid }];
  const mounts = where.readOnly.map((path) => `mount -t tmpfs -o ro none '${path}' &&`).join(" ");
  return ["unshare", ["-m", "sh", "-c", `${mounts} exec "$@"`, "sh", ...node], o];
}

function takeOver(options: object, where: Where, then = "leave"): Outcome {
  const [file, args, o] = command(options, then, where);
  return JSON.parse(execFileSync(file, args, { ...o, encoding: "utf8" })) as Outcome;
}

/** Takes over and stays; resolves when it is listening. */
async function stay(options: object, where: Where): Promise<{ outcome: Outcome; child: ChildProcess }> {
  const [file, args, o] = command(options, "stay", where);
  const child = spawn(file, args, { ...o, stdio: ["ignore", "pipe", "inherit"] });
  staying.push(child);
  const text = await new Promise<string>((resolve) => child.stdout?.once("data", (chunk) => resolve(String(chunk))));
  return { outcome: JSON.parse(text) as Outcome, child };
}

function end(child: ChildProcess): Promise<unknown> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  return gone;
}

function connects(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = net.connect(path, () => {
      socket.destroy();
      resolve();
    });
    socket.on("error", reject);
  });
}

test("by default all is in the temporary directory, private from the first moment", () => {
  const directory = folder();
  const { files, notes, pid } = takeOver({}, { tmpdir: directory });
  assert.deepEqual(notes, []);
  assert.equal(files.socketPath, `${directory}/einhorn.sock`);
  assert.equal(lstatSync(files.socketPath).mode & 0o777, 0o600);
  assert.equal(files.pidfile, `${directory}/einhorn.pid`);
  assert.equal(readFileSync(files.pidfile, "utf8"), `${pid}\n`);
  assert.deepEqual(readdirSync(directory).sort(), ["einhorn.lock", "einhorn.pid", "einhorn.sock"]);
});

test("a command name becomes part of the names, and must be able to", () => {
  const directory = folder();
  const { files } = takeOver({ commandName: "web" }, { tmpdir: directory });
  assert.equal(files.socketPath, `${directory}/einhorn-web.sock`);
  assert.equal(files.pidfile, `${directory}/einhorn-web.pid`);
  for (const name of ["", "a/b", "x".repeat(61)]) {
    const { message, exitCode } = takeOver({ commandName: name }, { tmpdir: directory });
    assert.match(message, /--command-name cannot be used/);
    assert.equal(exitCode, 2);
  }
});

test("a stale socket is replaced, a live one is an error with the fix", async () => {
  const directory = folder();
  const first = await stay({}, { tmpdir: directory });
  const refused = takeOver({}, { tmpdir: directory });
  assert.match(refused.message, /Another einhorn is already answering on .*einhorn\.sock/);
  assert.match(refused.message, /-c NAME.*-d PATH/);
  assert.equal(refused.exitCode, 1);
  assert.equal(readFileSync(`${directory}/einhorn.pid`, "utf8"), `${first.outcome.pid}\n`, "its files were left alone");
  await end(first.child);
  const second = takeOver({}, { tmpdir: directory });
  assert.equal(second.files.socketPath, `${directory}/einhorn.sock`);
});

test("of many that start at once on one stale socket, one wins and the others say why", async () => {
  const directory = folder();
  takeOver({}, { tmpdir: directory });
  const starts = await Promise.all(Array.from({ length: 6 }, () => stay({}, { tmpdir: directory })));
  const winners = starts.filter(({ outcome }) => outcome.files !== undefined);
  assert.equal(winners.length, 1);
  const path = `${directory}/einhorn.sock`;
  await connects(path);
  assert.equal(readFileSync(`${directory}/einhorn.pid`, "utf8").trim(), String(winners[0]?.outcome.pid));
});

test("a file that is no socket is left alone", () => {
  const directory = folder();
  writeFileSync(`${directory}/einhorn.sock`, "precious");
  const { message } = takeOver({}, { tmpdir: directory });
  assert.match(message, /einhorn\.sock: what is there is no UNIX stream socket, and is left alone/);
  assert.equal(readFileSync(`${directory}/einhorn.sock`, "utf8"), "precious");
  assert.match(takeOver({ socketPath: `${directory}/einhorn.sock` }, { tmpdir: folder() }).message, /left alone/);
});

test("the lockfile is no way to make einhorn write through somebody's link", () => {
  const directory = folder();
  symlinkSync(`${directory}/elsewhere`, `${directory}/einhorn.lock`);
  assert.equal(takeOver({}, { tmpdir: directory }).files.socketPath, `${directory}/einhorn.sock`);
  assert.equal(existsSync(`${directory}/elsewhere`), false);
});

test("a path that -d names is made absolute, and has to work", async () => {
  const directory = folder();
  const { files } = takeOver(
    { socketPath: `${directory}/../${directory.split("/").at(-1)}/my.socket` },
    { tmpdir: "/nowhere" },
  );
  assert.equal(files.socketPath, `${directory}/my.socket`);
  const missing = takeOver({ socketPath: `${directory}/no/such/s` }, { tmpdir: directory });
  assert.match(missing.message, /no\/such\/s: there is no such directory \(ENOENT\)/);
  const long = takeOver({ socketPath: `${directory}/${"x".repeat(120)}` }, { tmpdir: directory });
  assert.match(long.message, /at most 107 bytes/);
  const readOnly = takeOver({ socketPath: `${directory}/s` }, { tmpdir: "/nowhere", readOnly: [directory] });
  assert.match(readOnly.message, /read-only \(EROFS\)/);
  const live = await stay({ socketPath: `${directory}/live` }, { tmpdir: directory });
  assert.match(
    takeOver({ socketPath: `${directory}/live` }, { tmpdir: directory }).message,
    /another process is answering/,
  );
  await end(live.child);
});

test("pidfile and lockfile that cannot be written are a note, not an error", () => {
  const directory = folder();
  const options = { pidfile: "/nowhere/p", lockfile: "/nowhere/l" };
  const { files, notes } = takeOver(options, { tmpdir: directory });
  assert.equal(files.pidfile, null);
  assert.deepEqual(notes, [
    "Starting without the lockfile /nowhere/l: ENOENT",
    "Starting without the pidfile /nowhere/p: ENOENT",
  ]);
});

test("where the temporary directory cannot be written, /run is next", () => {
  const directory = folder();
  const { files, notes } = takeOver(
    { commandName: "files-test" },
    { tmpdir: directory, readOnly: [directory] },
    "clean",
  );
  assert.equal(files.socketPath, "/run/einhorn-files-test.sock");
  assert.equal(files.pidfile, "/run/einhorn-files-test.pid");
  assert.deepEqual(notes, [
    `Command socket at /run/einhorn-files-test.sock, since others cannot be used: ${directory} (EROFS)`,
  ]);
  rmSync("/run/einhorn-files-test.lock");
});

test("an unprivileged user without temporary directory gets to /dev/shm", () => {
  const { files, notes } = takeOver({ commandName: "files-test" }, { tmpdir: "/nowhere", uid: 65534 }, "clean");
  assert.equal(files.socketPath, "/dev/shm/einhorn-files-test.sock");
  assert.equal(notes.length, 1);
  rmSync("/dev/shm/einhorn-files-test.lock");
});

test("without any writable path the socket is abstract, one for each container, and Node can connect to it", async () => {
  const directory = folder();
  const where = { tmpdir: directory, readOnly: [directory, "/run", "/dev/shm"] };
  const first = await stay({}, where);
  const { files, notes } = first.outcome;
  const namespace = /\d+/.exec(readlinkSync(`/proc/${first.outcome.pid}/ns/mnt`))?.[0];
  assert.ok(files.socketPath.startsWith(`@einhorn-${namespace}`));
  assert.equal(
    Buffer.byteLength(files.socketPath),
    108,
    "it fills sun_path, so that all of libuv's versions mean the same",
  );
  assert.equal(files.identity, null);
  assert.equal(files.pidfile, null);
  assert.equal(notes.length, 1);
  assert.match(notes[0] ?? "", /abstract.*\/run \(EROFS\), \/dev\/shm \(EROFS\)/);
  for (const name of [files.socketPath, `@einhorn-${namespace}`]) {
    await connects(socketName(name));
  }
  // A second container of the same pod: same network namespace, another mount namespace.
  const second = await stay({}, where);
  assert.notEqual(second.outcome.files.socketPath, files.socketPath);
});

test("an abstract socket may be asked for by name", async () => {
  const first = await stay({ socketPath: "@files-test" }, { tmpdir: folder() });
  assert.equal(first.outcome.files.socketPath, "@files-test".padEnd(108, "."));
  await connects(socketName("@files-test"));
  assert.match(takeOver({ socketPath: "@files-test" }, { tmpdir: folder() }).message, /another process is answering/);
});

test("a clean exit removes its files, but not those of a successor", () => {
  const directory = folder();
  takeOver({}, { tmpdir: directory }, "clean");
  assert.deepEqual(readdirSync(directory), ["einhorn.lock"]);
  const left = takeOver({}, { tmpdir: directory });
  const script = `import { removeFiles } from ${JSON.stringify(join(import.meta.dirname, "../../src/system/files.ts"))};
    removeFiles(${JSON.stringify({ ...left.files, identity: { dev: 1, ino: 1 } })});`;
  assert.equal(spawnSync(process.execPath, ["--input-type=module", "-e", script]).status, 0);
  assert.deepEqual(readdirSync(directory).sort(), ["einhorn.lock", "einhorn.pid", "einhorn.sock"]);
});

test("a pidfile that a crash left behind half written is in nobody's way", () => {
  const directory = folder();
  const script = `mkdir "$1"/x; echo 1 > "$1/einhorn.pid.$$"; exec "$2" "$3" '{}' leave`;
  const o = { env: { ...process.env, TMPDIR: directory }, encoding: "utf8" } as const;
  const outcome = JSON.parse(
    execFileSync("sh", ["-c", script, "sh", directory, process.execPath, fixture], o),
  ) as Outcome;
  assert.equal(outcome.files.pidfile, `${directory}/einhorn.pid`);
  assert.equal(readFileSync(`${directory}/einhorn.pid`, "utf8"), `${outcome.pid}\n`);
});

test("the socket belongs to the workers' user where there is one", () => {
  const { files } = takeOver({ owner: { uid: 65534, gid: 65534 } }, { tmpdir: folder() });
  const { uid, gid, mode } = lstatSync(files.socketPath);
  assert.deepEqual([uid, gid, mode & 0o777], [65534, 65534, 0o600]);
});
