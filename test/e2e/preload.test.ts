/** `--preload`: what forked workers find, what they share, and what happens when a zygote does not do what it should. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import { describe, type TestContext, test } from "node:test";
import { fixture, type Master, root, run, startMaster } from "../support/master.ts";
import { children, isAlive } from "../support/processes.ts";

interface Report {
  pid: number;
  parent: number;
  group: number;
  loader: number;
  release: string;
  name: string;
  arguments: string[];
  cwd: string;
  random: number;
  env: Record<string, string>;
  fds: Record<string, string>;
  uid: number;
  umask: string;
  caught: string;
  blocked: string;
  ignored: string;
  nofile: string;
  ballast: number;
  keptOpen: boolean;
}

const languages = [
  { language: "Python", file: "app.py", command: ["python3", "-W", "ignore"] },
  { language: "Ruby", file: "app.rb", command: ["ruby", "-W0"] },
] as const;

/** A folder of its own with the application in it. */
function application(t: TestContext, file: string, release = "good"): string {
  const folder = fs.mkdtempSync("/tmp/einhorn-preload-");
  fs.chmodSync(folder, 0o755);
  fs.cpSync(fixture(`preload/${file}`), path.join(folder, file));
  fs.writeFileSync(path.join(folder, "RELEASE"), release);
  t.after(() => fs.rmSync(folder, { recursive: true, force: true }));
  return folder;
}

function preload(master: Master): Promise<{ active: boolean; reason: string | null }> {
  return master.status().then((status) => (status as unknown as { preload: never }).preload);
}

/** What whoever accepts the next connection has to say. */
function hear(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    net
      .connect(port, "127.0.0.1")
      .setEncoding("utf8")
      .on("data", (more) => {
        text += more;
      })
      .on("error", reject)
      .on("close", () => resolve(text));
  });
}

/** One report of each of `count` workers. */
async function reports(master: Master, count: number): Promise<Report[]> {
  const port = await master.port();
  const all = new Map<number, Report>();
  while (all.size < count) {
    const report = JSON.parse(await hear(port)) as Report;
    all.set(report.pid, report);
  }
  return [...all.values()];
}

const bit = (mask: string, signal: number): boolean => ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;

for (const { language, file, command } of languages) {
  const start = (t: TestContext, folder: string, args: string[], env: Record<string, string> = {}) =>
    startMaster(t, {
      args: ["-m", "0.1", "-b", "127.0.0.1:0", "-p", file, ...args],
      program: [...command, file, "one", "two"],
      cwd: folder,
      env,
    });

  describe(language, { concurrency: false }, () => {
    test("workers are the master's own children and find what executed ones find", async (t) => {
      const folder = application(t, file);
      const master = await start(t, folder, ["-n", "3", "--umask", "027", "--rlimit", "nofile=500"]);
      const all = await reports(master, 3);
      for (const it of all) {
        assert.equal(it.parent, master.pid);
        assert.equal(it.env.EINHORN_MASTER_PID, String(master.pid));
        assert.equal(it.group, it.pid, "a process group of its own");
        assert.equal(it.env.LISTEN_PID, String(it.pid));
        assert.equal(it.env.LISTEN_FDS, "1");
        assert.equal(it.env.EINHORN_FD_0, "3");
        assert.equal(it.name, file);
        assert.deepEqual(it.arguments, ["one", "two"]);
        assert.equal(it.cwd, folder);
        assert.equal(it.umask, "0027");
        assert.equal(it.nofile, "500");
        assert.match(it.fds[3] ?? "", /^socket:/);
        const others = Object.entries(it.fds).filter(([fd]) => Number(fd) > 3);
        assert.deepEqual(
          others.filter(([, link]) => /^socket:|null$/.test(link)),
          [],
          "neither the connection to the master nor places kept free",
        );
        assert.ok(it.keptOpen, "what was opened at load is still there");
        assert.ok(!bit(it.caught, 28), "SIGWINCH, which the application caught at load, is at its default");
        assert.ok(!bit(it.blocked, 23), "SIGURG is not blocked");
        assert.notEqual(it.loader, it.pid);
      }
      assert.equal(new Set(all.map(({ random }) => random)).size, 3, "random numbers differ");
      assert.deepEqual(all.map(({ env }) => env.EINHORN_CHILD_INDEX).sort(), ["0", "1", "2"]);
      assert.equal(master.log().match(/^loading/gm)?.length, 1, "loaded once");
      assert.deepEqual(await preload(master), { path: file, active: true, reason: null });
      const zygote = all[0]?.loader ?? 0;
      assert.equal((await master.stop()).code, 0);
      await waitUntil(() => !isAlive(zygote), "the zygote is gone with its master");
    });

    test("an upgrade loads the new code, and nothing of the old generation is left", async (t) => {
      const folder = application(t, file);
      const master = await start(t, folder, ["-n", "2"]);
      const before = await reports(master, 2);
      fs.writeFileSync(path.join(folder, "RELEASE"), "second");
      assert.equal((await master.sh("upgrade")).code, 0);
      await master.onlyGeneration(1);
      const after = await reports(master, 2);
      assert.deepEqual(new Set(after.map(({ release }) => release)), new Set(["second"]));
      assert.notEqual(after[0]?.loader, before[0]?.loader);
      await waitUntil(() => !isAlive(before[0]?.loader ?? 0), "the old zygote ends");
    });

    test("a failed upgrade goes on with the old zygote, that is, the old code", async (t) => {
      const folder = application(t, file);
      const master = await start(t, folder, ["-n", "2", "-m", "1", "-s", "0.1"]);
      const [before] = await reports(master, 2);
      fs.writeFileSync(path.join(folder, "RELEASE"), "throws");
      assert.equal((await master.sh("upgrade")).code, 1);
      await master.waitForLog(/thrown by einhorn_main/);
      process.kill(before?.pid ?? 0, "SIGKILL");
      await master.until(({ ready, workers }) => ready === 2 && workers.every(({ pid }) => pid !== before?.pid));
      const after = await reports(master, 2);
      assert.deepEqual(new Set(after.map(({ loader }) => loader)), new Set([before?.loader]));
      assert.equal((await preload(master)).active, true);
      await waitUntil(() => children(master.pid).length === 3, "two workers and one zygote");
    });

    for (const [release, reason] of [
      ["raises", /this release cannot be loaded/],
      ["no-main", /einhorn_main/],
    ] as const) {
      test(`an application that ${release === "raises" ? "fails to load" : "has no einhorn_main"} is executed, and status says why`, async (t) => {
        const folder = application(t, file, release);
        fs.writeFileSync(path.join(folder, "run-it"), `#!/bin/sh\necho good > RELEASE\nexec ${command[0]} ${file}\n`);
        fs.chmodSync(path.join(folder, "run-it"), 0o755);
        const master = await startMaster(t, {
          args: ["-m", "0.1", "-b", "127.0.0.1:0", "-p", file, "-n", "2"],
          program: ["./run-it"],
          cwd: folder,
        });
        for (const it of await reports(master, 2)) assert.equal(it.loader, it.pid);
        const { active, reason: said } = await preload(master);
        assert.equal(active, false);
        assert.match(said ?? "", reason);
        await master.waitForLog(/is not preloaded.*exec/);
      });
    }

    test("the result of einhorn_main is the exit code; an exception is 1 and on stderr", async (t) => {
      for (const [release, code] of [
        ["returns", 7],
        ["throws", 1],
      ] as const) {
        const folder = application(t, file, release);
        const options = ["-d", path.join(folder, "s.sock"), "--no-respawn", "-p", file];
        const finished = await run("einhorn", [...options, "--", ...command, file], { cwd: folder });
        assert.equal(finished.code, code, finished.stderr);
        if (release === "throws") assert.match(finished.stderr, /thrown by einhorn_main/);
      }
    });

    test("a zygote that dies is replaced when it is needed; the third time, workers are executed", async (t) => {
      const folder = application(t, file);
      const master = await start(t, folder, ["-n", "1", "-s", "0.1"]);
      const seen = new Set<number>();
      for (let death = 1; death <= 3; death++) {
        const [it] = await reports(master, 1);
        assert.notEqual(it?.loader, it?.pid);
        seen.add(it?.loader ?? 0);
        process.kill(it?.loader ?? 0, "SIGKILL");
        await waitUntil(() => !isAlive(it?.loader ?? 0), "the zygote ends");
        process.kill(it?.pid ?? 0, "SIGKILL");
        await master.until(({ ready, workers }) => ready === 1 && workers[0]?.pid !== it?.pid);
      }
      assert.equal(seen.size, 3);
      const [last] = await reports(master, 1);
      assert.equal(last?.loader, last?.pid);
      assert.match((await preload(master)).reason ?? "", /died 3 times.*SIGKILL/);
    });

    test("a reload of the master and a crash of it leave the zygote in service", async (t) => {
      const folder = application(t, file);
      const master = await start(t, folder, ["-n", "2", "-s", "0.1"]);
      const [before] = await reports(master, 2);
      assert.equal((await master.sh("reload")).code, 0);
      assert.equal((await preload(master)).active, true);
      for (const signal of ["SIGKILL", "SIGTERM"] as const) {
        const [victim] = await reports(master, 2);
        process.kill(victim?.pid ?? 0, signal);
        await master.until(({ ready, workers }) => ready === 2 && workers.every(({ pid }) => pid !== victim?.pid));
        for (const it of await reports(master, 2)) assert.equal(it.loader, before?.loader);
        if (signal === "SIGKILL") {
          master.kill("SIGSEGV");
          await master.waitForLog(/The master crashed/);
        }
      }
      assert.equal(master.log().match(/^loading/gm)?.length, 1);
      assert.equal(master.log().match(/Preloaded/g)?.length, 1, "said once");
      assert.equal((await preload(master)).active, true);
    });

    test("eight workers with 200 MB share it: together at most 1.5 times one process", async (t) => {
      const folder = application(t, file);
      const env = { BALLAST_MIB: "200" };
      const master = await start(t, folder, ["-n", "8", "--gc-before-fork"], env);
      const all = await reports(master, 8);
      const zygote = all[0]?.loader ?? 0;
      const together = [zygote, ...all.map(({ pid }) => pid)].map(pss).reduce((sum, bytes) => sum + bytes, 0);
      const single = await startMaster(t, {
        args: ["-m", "0.1", "-b", "127.0.0.1:0"],
        program: [...command, file],
        cwd: folder,
        env,
      });
      const [one] = await reports(single, 1);
      assert.ok((one?.ballast ?? 0) >= 200 << 20);
      const ratio = together / pss(one?.pid ?? 0);
      t.diagnostic(`8 preloaded workers and their zygote take ${ratio.toFixed(2)} times what one process takes`);
      assert.ok(ratio <= 1.5, `${ratio} times`);
    });
  });
}

/** The process's share of what it maps, in bytes (proc(5), smaps_rollup). */
function pss(pid: number): number {
  const line = /^Pss:\s+(\d+) kB$/m.exec(fs.readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"));
  return Number(line?.[1]) * 1024;
}

async function waitUntil(condition: () => boolean, what: string): Promise<void> {
  const giveUpAt = Date.now() + 30_000;
  while (!condition()) {
    if (Date.now() > giveUpAt) throw new Error(`still not so: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

test("a program that speaks the protocol itself is a zygote", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-b", "127.0.0.1:0", "-n", "2", "-p", fixture("preload/own-zygote")],
    program: ["./no-such-program", "a", "b"],
  });
  const words = (await hear(await master.port())).trim().split(" ");
  assert.deepEqual(words.slice(0, -1), [fixture("preload/own-zygote"), "./no-such-program", "a", "b"]);
  assert.ok((await master.workers()).some(({ pid }) => pid === Number(words.at(-1))));
  for (const { pid } of await master.workers()) assert.ok(children(master.pid).includes(pid ?? 0));
});

test("a fork that fails is a start that failed, and is tried again", async (t) => {
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-s", "0.1", "-b", "127.0.0.1:0", "-g", "-p", fixture("preload/own-zygote")],
    program: ["./no-such-program"],
    env: { ZYGOTE_FAULT: "cannot-fork-at-first" },
  });
  const { recentDeaths, ready } = await master.status();
  assert.equal(ready, 1);
  assert.match(recentDeaths[0]?.text ?? "", /fork failed with EAGAIN/);
  assert.equal(recentDeaths.length, 1);
});

for (const [fault, reason] of [
  ["babbles", /"bonjour", which is no word of the protocol/],
  ["passes-itself-off", /"born" came from process \d+, which is no worker/],
] as const) {
  test(`a zygote that ${fault} is ended, and workers are executed`, async (t) => {
    const master = await startMaster(t, {
      args: ["-m", "0.1", "-b", "127.0.0.1:0", "-n", "2", "-p", fixture("preload/own-zygote")],
      program: ["/bin/sleep", "1000"],
      env: { ZYGOTE_FAULT: fault },
    });
    assert.match((await preload(master)).reason ?? "", reason);
    assert.equal((await master.status()).ready, 2);
    await waitUntil(() => children(master.pid).length === 2, "nothing but two workers");
  });
}

test("as PID 1, workers are the master's own children too, and zygotes leave nothing to reap", async (t) => {
  const folder = application(t, "app.py");
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-b", "127.0.0.1:0", "-p", "app.py", "-n", "2"],
    program: ["python3", "app.py"],
    cwd: folder,
    through: ["unshare", "--pid", "--fork", "--mount-proc"],
  });
  for (const it of await reports(master, 2)) {
    assert.equal(it.parent, 1);
    assert.equal(it.env.EINHORN_MASTER_PID, "1");
    assert.equal(it.env.LISTEN_PID, String(it.pid));
    assert.notEqual(it.loader, it.pid);
  }
  assert.equal((await master.status()).orphansReaped, 0, "the processes in between are the zygote's to reap");
  assert.equal((await master.ask("die")).error ?? false, false);
  assert.equal((await master.ended()).code, 0);
});

test("without an interpreter, workers are executed and status says why", async (t) => {
  // The product's Node, and no Ruby.
  const folder = fs.mkdtempSync("/tmp/einhorn-preload-");
  t.after(() => fs.rmSync(folder, { recursive: true }));
  const node = execFileSync("sh", ["-c", "command -v node"], { encoding: "utf8" }).trim();
  fs.symlinkSync(fs.realpathSync(node), path.join(folder, "node"));
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-p", "app.rb"],
    program: ["/bin/sleep", "1000"],
    through: ["env", `PATH=${folder}`],
  });
  assert.match((await preload(master)).reason ?? "", /cannot be started: execve failed with ENOENT/);
});

test("--worker-user, -g and -k hold for forked workers", async (t) => {
  const folder = application(t, "app.py");
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-b", "127.0.0.1:0", "-p", "app.py", "-g", "-k", "--worker-user", "65534:65534"],
    program: ["/usr/bin/python3", "app.py"],
    cwd: folder,
    env: { PYTHONDONTWRITEBYTECODE: "1" },
  });
  const [it] = await reports(master, 1);
  assert.notEqual(it?.loader, it?.pid);
  assert.equal(it?.uid, 65534);
  assert.equal(it?.env.EINHORN_SOCK_FD, "4");
  assert.match(it?.fds[4] ?? "", /^socket:/);
  master.kill("SIGKILL");
  await waitUntil(() => !isAlive(it?.pid ?? 0) && !isAlive(it?.loader ?? 0), "worker and zygote die with the master");
});

test("the master answers and stops while an application never finishes loading", async (t) => {
  const folder = application(t, "app.py", "hangs");
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-b", "127.0.0.1:0", "-p", "app.py", "-n", "4"],
    program: ["python3", "app.py"],
    cwd: folder,
    until: "running",
  });
  const loader = Number((await master.waitForLog(/^loading hangs in (\d+)$/m))[1]);
  assert.equal((await preload(master)).reason, "still loading");
  assert.deepEqual(
    (await master.workers()).map(({ phase }) => phase),
    ["spawning", "spawning", "spawning", "spawning"],
  );
  assert.equal((await master.sh("reload")).code, 0);
  assert.equal((await master.workers()).length, 4);
  assert.equal((await master.stop()).code, 0);
  await waitUntil(() => !isAlive(loader), "the loader is gone with its master");
});

test("a zygote that stops answering is given up, and its workers are executed", async (t) => {
  const folder = application(t, "app.py");
  const master = await startMaster(t, {
    args: ["-m", "0.1", "-b", "127.0.0.1:0", "-p", "app.py", "-s", "0.1"],
    program: ["python3", "app.py"],
    cwd: folder,
  });
  const [it] = await reports(master, 1);
  process.kill(it?.loader ?? 0, "SIGSTOP");
  process.kill(it?.pid ?? 0, "SIGKILL");
  await master.until(({ workers }) => workers[0]?.phase === "spawning");
  await master.until(({ ready }) => ready === 1);
  const [after] = await reports(master, 1);
  assert.equal(after?.loader, after?.pid);
  assert.match((await preload(master)).reason ?? "", /does not answer/);
  assert.ok(!isAlive(it?.loader ?? 0));
});

test("the zygotes are shipped beside the bundle", () => {
  for (const file of ["zygote.py", "zygote.rb"]) assert.ok(fs.existsSync(path.join(root, "dist", file)));
});
