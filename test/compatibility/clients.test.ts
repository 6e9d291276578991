/**
 * Existing clients, rebuilt from what is documented of them, against the real server: what it understood of them, and
 * what they read of its answers. Each runs in its own language as a process that could be a worker.
 */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { native } from "../../src/system/native.ts";
import { type Commands, type Fixture, serve } from "../control/harness.ts";

const folder = mkdtempSync(join(tmpdir(), "einhorn-clients-"));
after(() => rmSync(folder, { recursive: true }));
const sources = join(import.meta.dirname, "clients");
const go = join(folder, "go-client");
execFileSync("go", ["build", "-o", go, "main.go"], {
  cwd: join(sources, "go"),
  env: { ...process.env, GO111MODULE: "off", CGO_ENABLED: "0" },
});

const clients: Readonly<Record<string, readonly string[]>> = {
  Ruby: ["ruby", join(sources, "ruby.rb")],
  Go: [go],
  PHP: ["php", join(sources, "php.php")],
  Python: ["/usr/bin/python3", join(sources, "python.py")],
  Node: [process.execPath, join(sources, "node.mjs")],
};

interface Result {
  pid: number;
  code: number | null;
  /** Each line of stdout is JSON. */
  said: unknown[];
  err: string;
}

/** `adopt`: the connection is a socketpair of its own, descriptor 3, as with `-g`. */
async function run(
  fixture: Fixture,
  argv: readonly string[],
  o: { env?: NodeJS.ProcessEnv; fds?: readonly number[]; adopt?: boolean } = {},
): Promise<Result> {
  const [file = "", ...args] = argv;
  const [ours = -1, theirs = -1] = o.adopt === true ? native.socketPair({ type: 1 }) : [];
  const where = o.adopt === true ? { EINHORN_SOCK_FD: "3" } : { EINHORN_SOCK_PATH: fixture.path };
  const env = { PATH: process.env.PATH, HOME: folder, EINHORN_MASTER_PID: String(process.pid), ...where, ...o.env };
  const fds = o.adopt === true ? [theirs] : (o.fds ?? []);
  const child = spawn(file, args, { env, stdio: ["ignore", "pipe", "pipe", ...fds] });
  const pid = child.pid ?? -1;
  fixture.workers.add(pid);
  if (o.adopt === true) fixture.server.adopt({ fd: ours, pid, uid: 0 });
  let out = "";
  let err = "";
  child.stdout?.on("data", (chunk) => {
    out += String(chunk);
  });
  child.stderr?.on("data", (chunk) => {
    err += String(chunk);
  });
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  const said = out.split("\n").filter((line) => line !== "");
  return { pid, code, said: said.map((line) => JSON.parse(line) as unknown), err };
}

const nasty = '100% of 3 + 4\n"quoted" \\ back\\slash %41 é 🦄 \u007f\u0085 end';
const stateText = "---\n:state:\n  :children:\n    12:\n      :type: :worker\n      :acked: true\n";

function commands(understood: unknown[]): Commands {
  return {
    signal(reply, args) {
      understood.push(args);
      reply({ message: nasty, wait: true });
      reply({ message: "done", data: { "100%": "+" } });
    },
    state: (reply) => reply({ message: stateText }),
  };
}

for (const [language, argv] of Object.entries(clients)) {
  test(`${language}: an ACK is counted, and answered by the end of the connection`, async () => {
    using fixture = serve();
    const { pid, said, err } = await run(fixture, [...argv, "ack"]);
    assert.deepEqual({ said, err }, { said: [""], err: "" });
    assert.deepEqual(fixture.heard, [`ack ${pid}`]);
  });

  test(`${language}: a ping arrives with its id`, async () => {
    using fixture = serve();
    const { pid, said, err } = await run(fixture, [...argv, "ping"]);
    assert.deepEqual({ said, err }, { said: [""], err: "" });
    assert.deepEqual(fixture.heard, [`ping ${pid} a 1`]);
  });

  test(`${language}: a command arrives whole, and its replies are read as they were meant`, async () => {
    const understood: unknown[] = [];
    using fixture = serve({ commands: commands(understood) });
    const { said, err } = await run(fixture, [...argv, "ask", "signal", "USR1", "50% + x"]);
    assert.equal(err, "");
    assert.deepEqual(understood, [["USR1", "50% + x"]]);
    assert.deepEqual(said, [
      { message: nasty, request_id: 7, wait: true },
      { message: "done", request_id: 7, data: { "100%": "+" } },
    ]);
  });
}

for (const language of ["Ruby", "PHP", "Python", "Node"]) {
  test(`${language}: an ACK over the worker's own connection (-g) is counted`, async () => {
    using fixture = serve();
    const { pid, code, err } = await run(fixture, [...(clients[language] ?? []), "ack"], { adopt: true });
    assert.deepEqual({ code, err }, { code: 0, err: "" });
    await fixture.until(() => fixture.heard.length > 0);
    assert.deepEqual(fixture.heard, [`ack ${pid}`]);
  });
}

test("Go: goji's ACK is counted", async () => {
  using fixture = serve();
  const { pid, said } = await run(fixture, [go, "goji"]);
  assert.deepEqual(said, [""]);
  assert.deepEqual(fixture.heard, [`ack ${pid}`]);
});

test("Ruby: the state is YAML that its safe loader reads", async () => {
  using fixture = serve({ commands: commands([]) });
  const { said, err } = await run(fixture, [...(clients.Ruby ?? []), "ask", "state"]);
  assert.equal(err, "");
  const [reply] = said as [{ state: string }];
  assert.equal(reply.state, "{:state=>{:children=>{12=>{:type=>:worker, :acked=>true}}}}");
});

test("PHP and Python: sockets are found by the names that these clients know", async () => {
  using fixture = serve();
  const tcp = native.socket({ family: 2, type: 1 });
  native.bind({ fd: tcp, address: Buffer.from([2, 0, 0, 0, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]) });
  const port = Buffer.from(native.getSocketName({ fd: tcp })).readUInt16BE(2);
  const env = { EINHORN_FDS: "3", EINHORN_FD_COUNT: "1", EINHORN_FD_0: "3", EINHORN_FD_FAMILY_0: "AF_INET" };
  const php = await run(fixture, [...(clients.PHP ?? []), "ack"], { env, fds: [tcp] });
  assert.deepEqual(php.said, [{ fds: [3] }, ""]);
  const python = await run(fixture, [...(clients.Python ?? []), "ack"], { env, fds: [tcp] });
  assert.deepEqual(python.said, [[["AF_INET", ["127.0.0.1", port]]], ""]);
});

test("a client that believes to be a worker, since its parent has the right number, is not believed", async () => {
  using fixture = serve();
  const child = spawn("sh", ["-c", `exec "$@"`, "sh", ...(clients.Python ?? []), "ack"], {
    env: { PATH: process.env.PATH, EINHORN_MASTER_PID: String(process.pid), EINHORN_SOCK_PATH: fixture.path },
  });
  let out = "";
  child.stdout.on("data", (chunk) => {
    out += String(chunk);
  });
  await new Promise((resolve) => child.on("close", resolve));
  assert.match(out, /Refused: This counts only from a worker/);
  assert.deepEqual(fixture.heard, ["refused 0 worker:ack 0"]);
});
