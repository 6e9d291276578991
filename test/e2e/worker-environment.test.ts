/** What a worker finds: read from a real one, under a master whose own surroundings were made as misleading as possible. */
import assert from "node:assert/strict";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { fixture, type Master, type StartOptions, startMaster } from "../support/master.ts";
import { until } from "../support/until.ts";

interface Found {
  master: Master;
  read(what: string, slot?: number): string;
  env(slot?: number): Record<string, string>;
  fds(slot?: number): Record<string, string>;
}

async function look(t: TestContext, options: Partial<StartOptions>): Promise<Found> {
  const reports = fs.mkdtempSync("/tmp/einhorn-env-");
  fs.chmodSync(reports, 0o777);
  t.after(() => fs.rmSync(reports, { recursive: true, force: true }));
  const master = await startMaster(t, {
    // Perl ignores SIGFPE: what signals a worker begins with is written before it starts.
    program: [
      "sh",
      "-c",
      'cat /proc/self/status > "$REPORT/$EINHORN_CHILD_INDEX.status"; exec "$0"',
      fixture("print-env-and-fds.pl"),
    ],
    ...options,
    env: { ...options.env, REPORT: reports },
  });
  const read = (what: string, slot = 0): string => fs.readFileSync(path.join(reports, `${slot}.${what}`), "utf8");
  const pairs = (text: string, between: string, inside: RegExp): Record<string, string> =>
    Object.fromEntries(
      text
        .split(between)
        .filter(Boolean)
        .map((entry) => entry.split(inside, 2) as [string, string]),
    );
  return {
    master,
    read,
    env: (slot) => pairs(read("environ", slot), "\0", /=(.*)/s),
    fds: (slot) => pairs(read("fds", slot), "\n", / (.*)/),
  };
}

const field = (status: string, name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
const MANUAL = ["-m", "manual"];

test("the variables of einhorn, systemd and Server::Starter", async (t) => {
  const unix = path.join(os.tmpdir(), `einhorn-env-${process.pid}.sock`);
  const binds = ["-b", "127.0.0.1:0", "-b", "[::1]:0,name=six", "-b", `unix:${unix}`];
  const { master, env, read } = await look(t, { args: [...MANUAL, "-n", "2", ...binds] });
  const [port0, port1] = [await master.port(0), await master.port(1)];
  const workers = await master.workers();
  for (const slot of [0, 1]) {
    const { TEST_MASTER_MARK: _, ...found } = env(slot);
    const pid = workers.find((worker) => worker.slot === slot)?.pid;
    const wanted = {
      EINHORN_FD_COUNT: "3",
      EINHORN_FD_0: "3",
      EINHORN_FD_1: "4",
      EINHORN_FD_2: "5",
      EINHORN_FD_FAMILY_0: "AF_INET",
      EINHORN_FD_FAMILY_1: "AF_INET6",
      EINHORN_FD_FAMILY_2: "AF_UNIX",
      EINHORN_FDS: "3 4 5",
      EINHORN_MASTER_PID: String(master.pid),
      EINHORN_SOCK_PATH: master.sockPath,
      EINHORN_CHILD_INDEX: String(slot),
      EINHORN_GENERATION: "0",
      LISTEN_FDS: "3",
      LISTEN_PID: String(pid),
      SERVER_STARTER_PORT: `127.0.0.1:${port0}=3;[::1]:${port1}=4;${unix}=5`,
      SERVER_STARTER_GENERATION: "0",
    };
    for (const [name, value] of Object.entries(wanted)) assert.equal(found[name], value, name);
    assert.equal(found.LISTEN_FDNAMES?.split(":").length, 3);
    assert.equal(found.LISTEN_FDNAMES?.split(":")[1], "six");
    const others = Object.keys(found).filter((name) => /^(EINHORN|LISTEN|NOTIFY|SERVER_STARTER)/.test(name));
    assert.deepEqual(
      others.filter((name) => !(name in wanted)),
      ["LISTEN_FDNAMES"],
    );
    assert.equal(read("parents", slot), `${master.pid} ${pid}`, "the master is the parent, the group is its own");
  }
});

test("nothing of the master's: variables, descriptors, signal mask, ignored signals, limits", async (t) => {
  const foreign = {
    EINHORN_FD_0: "77",
    EINHORN_FD_9: "78",
    EINHORN_FD_COUNT: "9",
    EINHORN_CHILD_INDEX: "5",
    LISTEN_FDS: "4",
    LISTEN_PID: "1",
    SERVER_STARTER_PORT: "1.2.3.4:5=6",
    NOTIFY_SOCKET: "@nobody-listens-here",
  };
  const { env, fds, read } = await look(t, { args: [...MANUAL, "-b", "127.0.0.1:0"], env: foreign });
  const found = env();
  assert.equal(found.EINHORN_FD_0, "3");
  for (const name of ["EINHORN_FD_9", "NOTIFY_SOCKET", "LD_PRELOAD"]) assert.equal(found[name], undefined, name);
  assert.equal(found.EINHORN_FD_COUNT, "1");
  assert.deepEqual(Object.keys(fds()), ["0", "1", "2", "3"]);
  assert.match(fds()["3"] ?? "", /^socket:/);
  const status = read("status");
  assert.equal(field(status, "SigBlk"), "0000000000000000");
  assert.equal(field(status, "SigIgn"), "0000000000000000");
  const soft = /^Max open files\s+(\S+)/m.exec(read("limits"))?.[1];
  const ours = /^Max open files\s+(\S+)/m.exec(fs.readFileSync("/proc/self/limits", "utf8"))?.[1];
  assert.ok(soft === "1024" || soft === ours, `soft limit of open files: ${soft}`);
  assert.equal(read("oom_score_adj").trim(), fs.readFileSync("/proc/self/oom_score_adj", "utf8").trim());
});

test("the same holds for workers of a later generation", async (t) => {
  const { master, env, fds, read } = await look(t, { args: [...MANUAL, "-b", "127.0.0.1:0"] });
  for (let upgrade = 0; upgrade < 2; upgrade += 1) assert.equal((await master.ask("upgrade")).error ?? false, false);
  const found = env();
  assert.equal(found.EINHORN_GENERATION, "2");
  assert.equal(found.EINHORN_FD_0, "3");
  assert.equal(found.LD_PRELOAD, undefined);
  assert.deepEqual(Object.keys(fds()), ["0", "1", "2", "3"]);
  assert.equal(field(read("status"), "SigBlk"), "0000000000000000");
  assert.equal(field(read("status"), "SigIgn"), "0000000000000000");
});

test("-m notify gives NOTIFY_SOCKET, -g gives EINHORN_SOCK_FD, no bind gives no socket", async (t) => {
  const { env, fds } = await look(t, { args: ["-m", "notify", "-g"], until: "running" });
  const isWritten = (): boolean => {
    try {
      return env().EINHORN_FD_COUNT === "0";
    } catch {
      return false;
    }
  };
  await until("the worker's report", isWritten, undefined, { everyMs: 10 });
  const found = env();
  assert.ok(found.NOTIFY_SOCKET);
  assert.match(fds()[found.EINHORN_SOCK_FD ?? ""] ?? "", /^socket:/);
  assert.equal(found.LISTEN_FDS, undefined);
  assert.equal(found.EINHORN_FD_0, undefined);
});

test("--worker-user, --chdir, --umask, --rlimit, --oom-score-adj, --nice and --env-file", async (t) => {
  const directory = fs.mkdtempSync("/tmp/einhorn-settings-");
  t.after(() => fs.rmSync(directory, { recursive: true }));
  const file = path.join(directory, "env");
  fs.writeFileSync(file, 'FROM_FILE="a b"\nOTHER=1\n');
  fs.chmodSync(directory, 0o755);
  const args = [...MANUAL, "--worker-user", "65534:65534", "--chdir", directory, "--umask", "027"];
  args.push("--rlimit", "nofile=512:600", "--oom-score-adj", "500", "--nice", "0:7", "--env-file", file);
  const { env, read } = await look(t, { args });
  const status = read("status");
  assert.match(field(status, "Uid"), /^65534\t65534\t65534\t65534$/);
  assert.match(field(status, "Gid"), /^65534\t65534\t65534\t65534$/);
  assert.equal(read("cwd"), directory);
  assert.equal(read("umask"), "0027");
  assert.match(read("limits"), /^Max open files\s+512\s+600/m);
  assert.equal(read("oom_score_adj").trim(), "500");
  assert.equal(env().FROM_FILE, "a b");
  assert.equal(env().OTHER, "1");
});

test("--drop-env-var takes a variable away at the re-exec, not from the first generation", async (t) => {
  const { master, env } = await look(t, { args: [...MANUAL, "--drop-env-var", "ONCE"], env: { ONCE: "1", KEPT: "1" } });
  assert.equal(env().ONCE, "1");
  const upgraded = await master.sh("upgrade");
  assert.equal(upgraded.code, 0, upgraded.stderr);
  assert.equal(env().ONCE, undefined);
  assert.equal(env().KEPT, "1");
});
