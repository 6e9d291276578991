/** What a worker finds, and what spawn() says of one that cannot be started; with real children. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, closeSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { native } from "../../src/system/native.ts";
import { candidatesOf, livingChildren } from "../../src/system/processes.ts";
import { exitOf, failure, run, shell, statusField } from "./child.ts";

const folder = mkdtempSync(join(tmpdir(), "einhorn-spawn-"));
after(() => rmSync(folder, { recursive: true }));

const file = (name: string, text: string, mode: number): string => {
  writeFileSync(join(folder, name), text);
  chmodSync(join(folder, name), mode);
  return join(folder, name);
};
const nothing = { env: [], fds: [] } as const;
const openFds = (): number => readdirSync("/proc/self/fd").length;

describe("a program that cannot be executed", () => {
  test("a missing one is ENOENT, and leaves nothing to reap", () => {
    const error = failure(() => native.spawn({ files: ["/no/such/file"], args: ["x"], ...nothing }));
    assert.equal(error.code, "ENOENT");
    assert.equal(error.errno, 2);
    assert.equal(error.syscall, "execve");
    assert.match(error.message, /^execve ENOENT: /);
    assert.deepEqual(native.reap({ limit: 1 }), { deaths: [], strangers: 0, taken: 0, childless: true });
  });

  test("a file without the x bit and a folder are EACCES", () => {
    const unexecutable = file("unexecutable", "#!/bin/sh\n", 0o644);
    assert.equal(failure(() => native.spawn({ files: [unexecutable], args: ["x"], ...nothing })).code, "EACCES");
    assert.equal(failure(() => native.spawn({ files: [folder], args: ["x"], ...nothing })).code, "EACCES");
  });

  test("EACCES is remembered when later candidates are missing, and forgotten when one works", async () => {
    const unexecutable = file("remembered", "", 0o644);
    assert.equal(
      failure(() => native.spawn({ files: [unexecutable, "/no/such"], args: ["x"], ...nothing })).code,
      "EACCES",
    );
    const pid = native.spawn({ files: [unexecutable, "/etc/passwd/x", "/bin/true"], args: ["true"], ...nothing });
    assert.equal((await exitOf(pid)).code, 0);
  });

  test("an interpreter that is missing is ENOENT", () => {
    const script = file("orphaned-script", "#!/no/such/interpreter\n", 0o755);
    assert.equal(failure(() => native.spawn({ files: [script], args: ["x"], ...nothing })).code, "ENOENT");
  });

  test("the step that failed is named", () => {
    const order = { files: ["/bin/true"], args: ["true"], ...nothing };
    assert.equal(failure(() => native.spawn({ ...order, cwd: "/no/such/folder" })).syscall, "chdir");
    assert.equal(failure(() => native.spawn({ ...order, fds: [9999] })).syscall, "dup");
    assert.equal(
      failure(() => native.spawn({ ...order, limits: [{ resource: 99, soft: 1, hard: 1 }] })).syscall,
      "setrlimit",
    );
    assert.equal(
      failure(() => native.spawn({ ...order, foregroundOf: openSync("/dev/null", "r") })).syscall,
      "tcsetpgrp",
    );
    assert.deepEqual(native.reap({ limit: 1 }), { deaths: [], strangers: 0, taken: 0, childless: true });
  });

  test("a script without #! is run by the shell", async () => {
    const script = file("no-interpreter", 'echo "$0 $1"', 0o755);
    const { output } = await run({ files: [script], args: ["ignored", "argument"], env: ["PATH=/bin"], fds: [] });
    assert.equal(output, `${script} argument\n`);
  });
});

describe("what a worker finds", () => {
  test("its arguments and environment, exactly", async () => {
    const { output } = await run({
      files: candidatesOf("env", "/usr/bin:/bin"),
      args: ["env"],
      env: ["A=1", "B=two words", "C=ü"],
      fds: [],
    });
    assert.equal(output, "A=1\nB=two words\nC=ü\n");
    const echoed = await run({ ...shell(""), args: ["sh", "-c", 'printf "%s|" "$@"', "sh", "", " ", "ü"] });
    assert.equal(echoed.output, "| |ü|");
  });

  test("its own pid as LISTEN_PID", async () => {
    const { pid, output } = await run({ ...shell("echo $LISTEN_PID $$"), env: ["LISTEN_PID="] });
    assert.equal(output, `${pid} ${pid}\n`);
  });

  test("the descriptors it was given as 3, 4, ... in their order, and no others", async () => {
    const files = ["one", "two", "three"].map((text) => openSync(file(text, text, 0o600), "r"));
    // 5, 3 and 4 as sources would overwrite each other if they were moved one by one.
    const [a, b, c] = files as [number, number, number];
    const { output } = await run({
      ...shell("cat <&3; cat <&4; cat <&5; cat <&6; ls /proc/self/fd"),
      fds: [c, a, b, a],
    });
    assert.match(output, /^threeonetwo0\n1\n2\n3\n4\n5\n6\n\d+\n$/);
    for (const fd of files) closeSync(fd);
  });

  test("sources that are targets too", async () => {
    // Inside a shell that has 3 and 4, so that the numbers are sure to collide: 4 and 3 are passed as 3 and 4.
    const text = `
      const m = { exports: {} }; process.dlopen(m, ${JSON.stringify(join(import.meta.dirname, "../../dist/einhorn.node"))});
      m.exports.spawn({ files: ["/bin/sh"], args: ["sh", "-c", "cat <&3; cat <&4"], env: ["PATH=/bin:/usr/bin"], fds: [4, 3] });
      setInterval(() => m.exports.reap({ limit: 1 }).childless && process.exit(), 5);`;
    const [three, four] = [file("three", "3", 0o600), file("four", "4", 0o600)].map((path) => openSync(path, "r"));
    const { output } = await run({
      files: [process.execPath],
      args: ["node", "-e", text],
      env: [],
      fds: [three as number, four as number],
    });
    assert.equal(output, "43");
  });

  test("no signal blocked or ignored, whatever this process does", async () => {
    const { output } = await run({ files: ["/bin/cat"], args: ["cat", "/proc/self/status"], env: [], fds: [] });
    for (const field of ["SigBlk", "SigIgn", "SigCgt"])
      assert.equal(statusField(output, field), "0000000000000000", field);
  });

  test("a process group of its own, unless it is to stay in ours", async () => {
    const group = async (ownGroup?: boolean) => {
      const { pid, output } = await run({
        ...shell("cut -d' ' -f5 /proc/$$/stat"),
        ...(ownGroup === undefined ? {} : { ownGroup }),
      });
      return { pid, group: Number(output) };
    };
    const own = await group();
    assert.equal(own.group, own.pid);
    const ours = Number((await run({ ...shell("cut -d' ' -f5 /proc/$PPID/stat") })).output);
    assert.equal((await group(false)).group, ours);
  });

  test("its folder, umask, limits, nice and OOM score", async () => {
    const { output } = await run({
      ...shell("pwd; umask; ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/$$/oom_score_adj; nice"),
      cwd: "/usr/lib",
      umask: 0o27,
      limits: [
        { resource: 7, soft: 100, hard: 200 },
        { resource: 4, soft: 0, hard: -1 },
      ],
      nice: 5,
      oomScoreAdj: 321,
    });
    assert.equal(output, "/usr/lib\n0027\n100\n200\n0\n321\n5\n");
  });

  test("a limit below its own descriptors", async () => {
    const fds = new Array<number>(20).fill(0);
    // It cannot open even its libc then: that execve went well is what is to be seen.
    const silent = native.memoryFile({ name: "ld.so's complaint", private: true });
    const { exit } = await run({
      ...shell("ulimit -n"),
      fds,
      stdio: [null, null, silent],
      limits: [{ resource: 7, soft: 10, hard: 10 }],
    });
    assert.equal(exit.code, 127);
    closeSync(silent);
  });

  test("its user, groups and death signal", async () => {
    const { output } = await run({
      files: ["/bin/cat"],
      args: ["cat", "/proc/self/status"],
      ...nothing,
      uid: 1234,
      gid: 2345,
      groups: [77, 88],
      deathSignal: 9,
    });
    assert.equal(statusField(output, "Uid"), "1234\t1234\t1234\t1234");
    assert.equal(statusField(output, "Gid"), "2345\t2345\t2345\t2345");
    assert.equal(statusField(output, "Groups")?.trim(), "77 88");
  });

  test("standard descriptors that were replaced, swapped, or had close-on-exec", async () => {
    const input = openSync(file("input", "from a file", 0o600), "r");
    assert.equal((await run({ ...shell("cat"), stdio: [input, null, null] })).output, "from a file");
    closeSync(input);
    const out = native.memoryFile({ name: "stderr-of-child", private: true });
    await run({ ...shell("echo to-stderr >&2"), stdio: [null, null, out] });
    const { output } = await run({ ...shell(`cat /proc/${process.pid}/fd/${out}`) });
    assert.equal(output, "to-stderr\n");
    closeSync(out);
  });
});

test("a worker that is made the terminal's foreground may read from it", () => {
  const fixture = join(import.meta.dirname, "fixtures/foreground.mjs");
  // script(1) gives it a terminal.
  const { stdout } = spawnSync("script", ["-qec", `${process.execPath} ${fixture}`, "/dev/null"], {
    input: "hello\n",
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.match(stdout, /foreground read hello/);
  assert.match(stdout, /terminal true, code 0/);
});

test("a worker with a death signal dies with its parent", async () => {
  const addon = JSON.stringify(join(import.meta.dirname, "../../dist/einhorn.node"));
  const text = `const m = { exports: {} }; process.dlopen(m, ${addon});
    m.exports.spawn({ files: ["/bin/sleep"], args: ["sleep", "1000"], env: [], fds: [], deathSignal: 9, uid: 65534, gid: 65534 });
    process.kill(process.pid, "SIGKILL");`;
  native.becomeSubreaper();
  const parent = native.spawn({ files: [process.execPath], args: ["node", "-e", text], env: [], fds: [] });
  assert.equal((await exitOf(parent)).signal, "SIGKILL");
  // The orphan is ours now.
  for (let childless = false; !childless; ) {
    const { deaths, childless: none } = native.reap({ limit: 1 });
    if (deaths[0]) assert.equal(deaths[0].signal, 9);
    childless = none;
    await new Promise((resolve) => setImmediate(resolve));
  }
});

test("2000 spawns, a quarter of which fail, leave no descriptor, no child and no memory behind", async () => {
  const round = async (count: number) => {
    for (let i = 0; i < count; i++) {
      if (i % 4 === 0) failure(() => native.spawn({ files: ["/no/such"], args: ["x"], env: ["A=b"], fds: [0, 1] }));
      else native.spawn({ files: ["/bin/true"], args: ["true"], env: ["A=b"], fds: [0, 1] });
      if (i % 50 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    while (!native.reap({ limit: 256 }).childless) await new Promise((resolve) => setTimeout(resolve, 2));
  };
  await round(400);
  const fds = openFds();
  native.collectGarbage();
  const memory = process.memoryUsage.rss();
  await round(2000);
  native.collectGarbage();
  assert.equal(openFds(), fds);
  assert.deepEqual(livingChildren(), []);
  // 2000 leaked plans would be over 2 MB each round; the collector's own swings are smaller than this.
  assert.ok(process.memoryUsage.rss() - memory < 24e6, `grew by ${process.memoryUsage.rss() - memory} bytes`);
});
