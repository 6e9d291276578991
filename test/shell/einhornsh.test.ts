/** einhornsh as operators and probes run it: a process of its own, against a real command socket with scripted answers. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { type Commands, serve } from "../control/harness.ts";

const program = join(import.meta.dirname, "../../src/einhornsh.ts");

interface Run {
  child: ChildProcess;
  out: () => string;
  done: Promise<{ code: number | null; out: string; err: string }>;
}

function start(args: readonly string[], env: NodeJS.ProcessEnv = {}, input?: string, uid?: number): Run {
  const { EINHORN_SOCK_PATH: _, TMPDIR: __, ...inherited } = process.env;
  const child = spawn(process.execPath, [program, ...args], {
    env: { ...inherited, ...env },
    cwd: "/",
    ...(uid ? { uid } : {}),
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk) => {
    out += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  if (input !== undefined) child.stdin.end(input);
  const done = new Promise<{ code: number | null; out: string; err: string }>((resolve) =>
    child.on("close", (code) => resolve({ code, out, err })),
  );
  return { child, out: () => out, done };
}

const run = (...args: Parameters<typeof start>) => start(...args).done;

const commands: Commands = {
  ready: (reply) => reply({ message: "ready: 3 of 3" }),
  status: (reply) => reply({ message: "3 workers\nall is well", data: { workers: 3 } }),
  state: (reply) => reply({ message: "---\n:state:\n  :children: {}\n" }),
  ehlo: (reply) => reply({ message: "Welcome" }),
  inc: (reply) => reply({ message: "no", error: true }),
  set_workers: (reply, args) => reply({ message: `now ${args.join(",")}` }),
  upgrade: (reply, args) => {
    reply({ message: `started ${args.join(" ")}`, wait: true });
    reply({ message: "1 of 2", wait: true });
    reply({ message: "Upgrade done", data: { generation: 2 } });
  },
  upgrade_fleet: (reply) => {
    reply({ message: "started", wait: true });
    reply({ message: "Upgrade failed: it crashed", error: true });
  },
};

test("a command is asked, answered and done", async () => {
  using fixture = serve({ commands });
  assert.deepEqual(await run(["-d", fixture.path, "ready"]), { code: 0, out: "ready: 3 of 3\n", err: "" });
  assert.deepEqual(await run(["-d", fixture.path, "state"]), {
    code: 0,
    out: "---\n:state:\n  :children: {}\n",
    err: "",
  });
  assert.deepEqual(await run(["-d", fixture.path, "set_workers", "a b", "2"]), {
    code: 0,
    out: "now a b,2\n",
    err: "",
  });
});

test("a refused command goes to stderr and exits with 1", async () => {
  using fixture = serve({ commands });
  assert.deepEqual(await run(["-d", fixture.path, "inc"]), { code: 1, out: "", err: "no\n" });
});

test("an upgrade's progress is printed line by line, and its end is the exit code", async () => {
  using fixture = serve({ commands });
  const good = await run(["-d", fixture.path, "upgrade", "--canary", "1", "--soak", "30"]);
  assert.deepEqual(good, { code: 0, out: "started --canary 1 --soak 30\n1 of 2\nUpgrade done\n", err: "" });
  const bad = await run(["-d", fixture.path, "upgrade_fleet"]);
  assert.deepEqual(bad, { code: 1, out: "started\n", err: "Upgrade failed: it crashed\n" });
});

test("progress is there as soon as it was said", async () => {
  let finish = () => {};
  using fixture = serve({
    commands: {
      upgrade: (reply) => {
        reply({ message: "half way", wait: true });
        finish = () => reply({ message: "done" });
      },
    },
  });
  const upgrade = start(["-d", fixture.path, "upgrade"]);
  await fixture.until(() => upgrade.out() === "half way\n");
  finish();
  assert.equal((await upgrade.done).out, "half way\ndone\n");
});

test("--json prints the data of each reply as one line", async () => {
  using fixture = serve({ commands });
  assert.equal((await run(["-d", fixture.path, "--json", "status"])).out, '{"workers":3}\n');
  assert.equal((await run(["-d", fixture.path, "-e", "ready; status --json"])).out, 'ready: 3 of 3\n{"workers":3}\n');
  const { code, out } = await run(["-d", fixture.path, "inc", "--json"]);
  assert.deepEqual({ code, out }, { code: 1, out: '{"message":"no","error":true}\n' });
});

test("-e runs commands in turn and stops at the first that fails", async () => {
  using fixture = serve({ commands });
  const all = await run(["-d", fixture.path, "-e", "set_workers 3; ready"]);
  assert.deepEqual(all, { code: 0, out: "now 3\nready: 3 of 3\n", err: "" });
  const some = await run(["-d", fixture.path, "-e", "ready; inc; set_workers 9"]);
  assert.deepEqual(some, { code: 1, out: "ready: 3 of 3\n", err: "no\n" });
  assert.ok(!fixture.heard.includes("set_workers 9"));
});

test("commands come from stdin where it is no terminal", async () => {
  using fixture = serve({ commands });
  const all = await run(["-d", fixture.path], {}, "set_workers '1 2' 3 # comment\n\nready; status\n");
  assert.deepEqual(all, { code: 0, out: "now 1 2,3\nready: 3 of 3\n3 workers\nall is well\n", err: "" });
  const some = await run(["-d", fixture.path], {}, "inc\nset_workers 9\n");
  assert.deepEqual(some, { code: 1, out: "", err: "no\n" });
  assert.deepEqual(await run(["-d", fixture.path], {}, "quit\nready\n"), { code: 0, out: "", err: "" });
});

test("on a terminal there is a greeting, a prompt and completion", async () => {
  using fixture = serve({ commands });
  // script(1) makes the terminal.
  const shell = spawn("script", ["-qec", `'${process.execPath}' '${program}' -d ${fixture.path}`, "/dev/null"], {
    env: { ...process.env, TERM: "xterm" },
  });
  let text = "";
  shell.stdout.on("data", (chunk) => {
    text += String(chunk);
  });
  await fixture.until(() => text.includes("Welcome") && text.includes("> "));
  // Key by key: readline takes a tab within a larger piece for pasted text.
  shell.stdin.write("set_w");
  await fixture.until(() => text.includes("set_w"));
  shell.stdin.write("\t");
  await fixture.until(() => text.includes("set_workers"));
  shell.stdin.write(" 7\n");
  await fixture.until(() => text.includes("now 7"));
  shell.stdin.write("inc\n");
  await fixture.until(() => text.includes("no\r\n"));
  shell.stdin.write("exit\n");
  const code = await new Promise((resolve) => shell.on("close", resolve));
  assert.equal(code, 0);
  assert.deepEqual(fixture.heard, ["ehlo", "set_workers 7", "inc"]);
});

test("it is found by name, in the temporary directory, or by EINHORN_SOCK_PATH", async () => {
  using fixture = serve({ commands, file: "einhorn-web.sock" });
  const directory = dirname(fixture.path);
  for (const args of [
    ["-c", "web", "ready"],
    ["web", "ready"],
  ]) {
    assert.equal((await run(args, { TMPDIR: directory })).out, "ready: 3 of 3\n", args.join(" "));
  }
  assert.equal((await run(["ready"], { EINHORN_SOCK_PATH: fixture.path })).code, 0);
});

test("without a master it says where it looked and what to do, and exits with 3", async () => {
  const directory = mkdtempSync("/tmp/einhorn-nobody-");
  const none = await run(["ready"], { TMPDIR: directory });
  assert.equal(none.code, 3);
  assert.match(
    none.err,
    new RegExp(`^einhornsh: No einhorn answers at .*${directory}/einhorn\\.sock, /run/einhorn\\.sock, /dev/shm/`),
  );
  assert.match(none.err, /-c NAME or -d PATH/);
  const typo = await run(["upgarde"], { TMPDIR: directory });
  assert.equal(typo.code, 3);
  assert.match(typo.err, /"upgarde" was taken for a command name, since it is no command\. Commands: .*upgrade/);
  assert.equal((await run(["-d", `${directory}/x`, "ready"])).code, 3);
  rmSync(directory, { recursive: true });
});

test("usage mistakes exit with 2", async () => {
  const { code, err } = await run(["--frob"]);
  assert.equal(code, 2);
  assert.equal(err, "einhornsh: einhornsh does not know the option --frob.\nSee einhornsh --help.\n");
  assert.equal((await run(["--help"])).code, 0);
});

test("another user is told why it is not let in", async () => {
  using fixture = serve({ commands });
  const refused = await run(["-d", fixture.path, "ready"], {}, undefined, 65534);
  assert.equal(refused.code, 1);
  assert.match(refused.err, /^Refused: Only root/);
  chmodSync(fixture.path, 0o600);
  const closed = await run(["-d", fixture.path, "ready"], {}, undefined, 65534);
  assert.equal(closed.code, 1);
  assert.match(closed.err, /EACCES.*Run einhornsh as root or as the user that runs einhorn/);
});

test("--timeout ends a wait that takes too long", async () => {
  using fixture = serve({ commands: { wait: () => {} } });
  const { code, err } = await run(["-d", fixture.path, "--timeout", "0.2", "wait"]);
  assert.equal(code, 1);
  assert.match(err, /no final answer within 0\.2 s/);
});

test("a harmless question is asked again when the connection breaks, a change never", async () => {
  const folder = mkdtempSync("/tmp/einhorn-breaks-");
  const path = `${folder}/s`;
  const asked: string[] = [];
  const server = net.createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", (data) => {
      const { command, id } = JSON.parse(String(data));
      asked.push(command);
      if (asked.length === 2) socket.write(`{"message":"second time lucky","request_id":${id}}\n`);
      socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  assert.deepEqual(await run(["-d", path, "status"]), { code: 0, out: "second time lucky\n", err: "" });
  const broken = await run(["-d", path, "upgrade"]);
  assert.equal(broken.code, 1);
  assert.match(broken.err, /broke before the master said how "upgrade" ended\. It may be done, under way, or not/);
  assert.deepEqual(asked, ["status", "status", "upgrade"]);
  server.close();
  rmSync(folder, { recursive: true });
});

test("a reader that is gone ends it quietly", async () => {
  using fixture = serve({ commands: { status: (reply) => reply({ message: "x".repeat(1_000_000) }) } });
  const child = spawn("sh", ["-c", '"$@" | head -c 10', "sh", process.execPath, program, "-d", fixture.path, "status"]);
  let err = "";
  child.stderr.on("data", (chunk) => {
    err += String(chunk);
  });
  assert.equal(await new Promise((resolve) => child.on("close", resolve)), 0);
  assert.equal(err, "");
});
