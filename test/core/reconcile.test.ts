import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Asker, Config, Effect } from "../../src/core/model.ts";
import { stepMs } from "../../src/core/reconcile.ts";
import { step } from "../../src/core/step.ts";
import { about, launch, Pool } from "./pool.ts";

describe("starting", () => {
  test("the first fill starts all workers at once", () => {
    const pool = new Pool({ number: 4 });
    assert.deepEqual(
      pool.workers().map(({ slot }) => slot),
      [0, 1, 2, 3],
    );
  });

  test("with --max-unacked the first fill goes on as ACKs come, without a clock", () => {
    const pool = new Pool({ number: 4, maxUnacked: 1 });
    assert.equal(pool.workers().length, 1);
    assert.equal(pool.wakeAt, null);
    pool.ackAll();
    assert.equal(pool.workers().length, 2);
  });

  test("a timer ACK comes when its time has passed, not before", () => {
    const pool = new Pool({ ackMode: { kind: "timer", ms: 500 } });
    pool.pass(499);
    assert.equal(pool.pids("ready").length, 0);
    pool.pass(1);
    assert.equal(pool.pids("ready").length, 3);
  });

  test("ACK mode 0 counts a worker as up at once", () => {
    const pool = new Pool({ ackMode: { kind: "timer", ms: 0 } });
    assert.equal(pool.pids("ready").length, 3);
  });

  test("a worker that does not ACK within --ack-timeout is told to go, then killed, and its slot backs off", () => {
    const pool = new Pool({ number: 1, ackTimeoutMs: 2000 });
    const [worker] = pool.workers();
    pool.pass(2000);
    assert.deepEqual(pool.signals(), [{ pid: worker?.pid, signal: "graceful" }]);
    pool.pass(10_000);
    assert.ok(pool.signals().some(({ pid, signal }) => pid === worker?.pid && signal === "SIGKILL"));
    assert.equal(pool.state.recentDeaths[0]?.cause.kind, "unacked");
  });
});

describe("respawning", () => {
  test("at once when the worker had been up longer than -s", () => {
    const pool = new Pool({ number: 1 }).ackAll().pass(1001);
    pool.die(100);
    assert.deepEqual(pool.pids("starting"), [101]);
  });

  test("-s after its last start when it had not", () => {
    const pool = new Pool({ number: 1 }).ackAll().pass(400);
    pool.die(100);
    assert.equal(pool.workers().length, 0);
    pool.pass(599);
    assert.equal(pool.workers().length, 0);
    pool.pass(1);
    assert.equal(pool.workers().length, 1);
  });

  // Seed 50505: the refusal came so late that the slot counted as one that had lived.
  test("not at once when the order to fork was refused late", () => {
    const pool = new Pool({ number: 1 });
    const [ordered] = pool.workers();
    pool.pass(1200).deliver({ kind: "unspawned", id: ordered?.id ?? 0, errno: "EAGAIN", syscall: "fork" });
    assert.equal(pool.workers().length, 0);
    pool.pass(300);
    assert.equal(pool.workers().length, 1);
  });

  test("later with every death before ACK in a row, up to 30 s, and anew after an ACK", () => {
    const pool = new Pool({ number: 1 });
    const pauses: number[] = [];
    for (let death = 0; death < 12; death += 1) {
      const startedAt = pool.now;
      pool.die(pool.pids("starting")[0] as number);
      pool.pass((pool.wakeAt ?? 0) - pool.now);
      pauses.push(pool.now - startedAt);
    }
    assert.ok((pauses[0] ?? 0) >= 1350 && (pauses[0] ?? 0) <= 1500, String(pauses));
    assert.ok(
      pauses.every((pause, index) => pause > (pauses[index - 1] ?? 0) || pause >= 27_000),
      String(pauses),
    );
    assert.ok(
      pauses.every((pause) => pause <= 30_000),
      String(pauses),
    );
    pool.ackAll().pass(10);
    pool.die(pool.pids("ready")[0] as number);
    assert.ok((pool.wakeAt ?? 0) - pool.now <= 1000);
  });

  test("one bad slot does not slow the others", () => {
    const pool = new Pool({ number: 2 });
    pool.ack(101).pass(2000);
    for (let death = 0; death < 3; death += 1) {
      const bad = pool.workers(({ slot }) => slot === 0)[0];
      if (bad) pool.die(bad.pid as number);
      pool.pass(400);
    }
    pool.die(101);
    assert.ok(pool.workers(({ slot }) => slot === 1).length === 1);
  });

  test("--give-up-after ends the master with the worker's status", () => {
    const pool = new Pool({ number: 1, giveUpAfter: 2 });
    pool.die(100, { code: 42 }).pass(5000);
    pool.die(101, { code: 42 });
    assert.deepEqual(
      pool.take().filter(({ kind }) => kind === "exit"),
      [{ kind: "exit", code: 42 }],
    );
  });

  // Seed 52403: the check that was under way led to an upgrade, and the stop was forgotten.
  test("--give-up-after wins over an upgrade that is being prepared, and its asker learns why", () => {
    const pool = new Pool({ number: 2, giveUpAfter: 2 });
    const asker = pool.ask("upgrade");
    pool.die(100, { code: 42 });
    pool.die(101, { code: 42 });
    assert.match(pool.lastReply(asker)?.message ?? "", /einhorn is stopping/);
    pool.deliver({ kind: "checked", reason: null, launch: null });
    assert.equal(pool.state.handover, null);
    assert.ok(pool.take().some((effect) => effect.kind === "exit" && effect.code === 42));
  });

  for (const errno of ["EAGAIN", "ENOMEM", "EMFILE"]) {
    test(`a start that the kernel refuses with ${errno} is counted, logged and tried again, each time later`, () => {
      const pool = new Pool({ number: 2 }).ackAll();
      pool.refusal = errno;
      pool.pass(5000).take();
      pool.die(100).pass(0);
      const refused = () =>
        pool.take().filter((it) => it.kind === "log" && it.message.includes(`failed with ${errno}`));
      const pauses: number[] = [];
      for (let before = pool.now; pauses.length < 3; before = pool.now) {
        assert.equal(refused().length, 1);
        pool.pass((pool.wakeAt as number) - pool.now);
        pauses.push(pool.now - before);
      }
      assert.ok(pauses.every((pause, index) => pause >= 900 && (index === 0 || pause > (pauses[index - 1] ?? 0))));
      assert.equal(pool.state.counters.deaths.unspawned, 4);
      pool.refusal = null;
      pool.pass(30_000).ackAll();
      assert.equal(pool.pids("ready").length, 2);
    });
  }

  for (const [signal, end, code] of [
    ["SIGTERM", { signal: "SIGTERM" }, 143],
    ["SIGTERM", { code: 3 }, 3],
    ["SIGINT", { code: 0 }, 0],
    ["SIGUSR2", { signal: "SIGUSR2" }, 140],
  ] as const) {
    test(`--no-respawn passes ${signal} on as it is and exits with ${code}, the worker's end`, () => {
      const pool = new Pool({ number: 1, respawn: false }).ackAll();
      pool.take();
      pool.deliver({ kind: "signal", signal });
      assert.deepEqual(pool.signals(), [{ pid: 100, signal }]);
      pool.die(100, end);
      assert.deepEqual(
        pool.take().filter(({ kind }) => kind === "exit"),
        [{ kind: "exit", code }],
      );
    });
  }

  test("--no-respawn passes SIGQUIT on and exits with 1 at once", () => {
    const pool = new Pool({ number: 1, respawn: false }).ackAll();
    pool.take();
    pool.deliver({ kind: "signal", signal: "SIGQUIT" });
    const done = pool.take();
    assert.deepEqual(
      done.flatMap((it) => (it.kind === "signal" ? [it.signal] : [])),
      ["SIGQUIT"],
    );
    assert.deepEqual(
      done.filter(({ kind }) => kind === "exit"),
      [{ kind: "exit", code: 1 }],
    );
  });

  test("--no-respawn exits with the first failure, 128 + signal", () => {
    const pool = new Pool({ number: 2, respawn: false }).ackAll();
    pool.die(100, { signal: "SIGSEGV" }).die(101, { code: 0 });
    assert.deepEqual(
      pool.take().filter(({ kind }) => kind === "exit"),
      [{ kind: "exit", code: 139 }],
    );
  });
});

describe("a smooth upgrade", () => {
  test("says READY=1 to einhorn's own service manager after each RELOADING=1", () => {
    const pool = new Pool({ number: 2 }).ackAll();
    pool.take();
    pool.upgrade();
    const announced = () => pool.take().flatMap((it) => (it.kind === "announce" ? [it.state] : []));
    assert.deepEqual(announced(), ["RELOADING=1", "READY=1"]);
    pool.ask("reload");
    pool.deliver({ kind: "checked", reason: null, launch: null }).deliver({ kind: "exec-failed", reason: "test" });
    assert.deepEqual(announced(), ["RELOADING=1", "READY=1"]);
  });

  test("starts its first workers a moment apart, however many they are, and the next with each ACK", () => {
    for (const [number, most] of [
      [3, 1],
      [12, 1],
      [120, 10],
    ] as const) {
      const pool = new Pool({ number, maxUnacked: number }).ackAll();
      const starts: number[] = [];
      const spawned = () => starts.push(pool.take().filter(({ kind }) => kind === "spawn").length);
      pool.take();
      pool.ask("upgrade");
      pool.deliver({ kind: "checked", reason: null, launch: null });
      pool.deliver({ kind: "reexeced", execMs: pool.now, about, launch });
      for (spawned(); pool.pids("starting").length < number; spawned()) pool.pass(stepMs);
      assert.equal(Math.max(...starts), most);
      assert.equal(starts.length, number / most);
    }
    const pool = new Pool({ number: 3, maxUnacked: 1 }).ackAll().ackAll().ackAll();
    pool.upgrade();
    pool.take();
    pool.ack(pool.pids("starting")[0] as number);
    assert.equal(pool.take().filter(({ kind }) => kind === "spawn").length, 1);
  });

  test("never drops below the wanted capacity, and each ACK retires one", () => {
    const pool = new Pool({ number: 3, maxUnacked: 1 }).ackAll().ackAll().ackAll();
    pool.upgrade();
    for (let round = 0; round < 3; round += 1) {
      assert.equal(pool.pids("starting").length, 1);
      pool.take();
      pool.settle();
      assert.equal(pool.signals().length, 1);
      assert.equal(pool.pids("ready").length, 3);
    }
    assert.equal(pool.state.mode.kind, "running");
  });

  test("answers when the last old worker has been told to go", () => {
    const pool = new Pool({ number: 2 }).ackAll();
    const asker = pool.upgrade();
    assert.equal(pool.lastReply(asker), undefined);
    pool.settle();
    assert.deepEqual(pool.lastReply(asker)?.message, "Upgrade done");
    assert.equal(pool.lastReply(asker)?.error, false);
  });

  test("respects --max-upgrade-additional, counting old workers that still finish", () => {
    const pool = new Pool({ number: 3, maxUpgradeAdditional: 1, maxUnacked: 3 }).ackAll();
    pool.upgrade();
    assert.equal(pool.state.workers.length, 4);
    pool.settle();
    assert.equal(pool.state.workers.length, 4);
    pool.die(pool.pids("told")[0] as number, { code: 0 });
    assert.equal(pool.pids("starting").length, 1);
  });

  test("keeps every old worker while new ones ACK and die at once, and fails", () => {
    const pool = new Pool({ number: 3, upgradeMaxDeaths: 2 }).ackAll().pass(5000);
    const asker = pool.upgrade();
    for (const pid of pool.pids("starting")) {
      pool.ack(pid).pass(10);
      pool.die(pid, { code: 1 });
      assert.deepEqual(pool.pids("ready"), [100, 101, 102]);
    }
    assert.equal(pool.lastReply(asker)?.error, true);
  });

  for (const [bootMs, livedMs] of [
    [10, 500],
    [1_000, 500],
    [5_000, 700],
  ] as const) {
    test(`keeps every old worker while new ones need ${bootMs} ms to ACK and die ${livedMs} ms later, and fails`, () => {
      const pool = new Pool({ number: 3, maxUnacked: 2 }).ackAll().ackAll().pass(60_000);
      const asker = pool.upgrade();
      for (let deaths = 0; deaths < 3; ) {
        pool.pass(bootMs).ackAll().pass(livedMs);
        assert.deepEqual(pool.pids("told"), []);
        const serving = pool.workers(({ generation, phase }) => generation === 1 && phase.kind === "ready");
        for (const { pid } of serving.slice(0, 3 - deaths)) pool.die(pid as number, { code: 1 });
        deaths += serving.length;
      }
      const old = pool.workers(({ generation, phase }) => generation === 0 && phase.kind === "ready");
      assert.deepEqual(
        old.map(({ pid }) => pid),
        [100, 101, 102],
      );
      assert.match(pool.lastReply(asker)?.message ?? "", /3 new workers failed.*after its ACK/);
    });
  }

  test("fails after --upgrade-max-deaths deaths, with the last one's cause, and the old workers stay", () => {
    const pool = new Pool({ number: 2, upgradeMaxDeaths: 2 }).ackAll();
    const asker = pool.upgrade();
    for (const pid of pool.pids("starting")) pool.die(pid, { code: 3 });
    const reply = pool.lastReply(asker);
    assert.equal(reply?.error, true);
    assert.match(reply?.message ?? "", /2 new workers failed.*exited with code 3.*old workers go on/s);
    assert.deepEqual(pool.pids("ready"), [100, 101]);
    assert.equal(pool.state.generation, 0);
  });

  test("that failed fills up the old generation from its own launch", () => {
    const pool = new Pool({ number: 2, upgradeMaxDeaths: 1 }).ackAll().pass(2000);
    pool.upgrade();
    pool.die(100, { signal: "SIGKILL" });
    pool.die(pool.pids("starting")[0] as number);
    assert.ok(pool.workers(({ generation, phase }) => generation === 0 && phase.kind === "starting").length === 1);
  });

  test("is aborted at --upgrade-timeout", () => {
    const pool = new Pool({ number: 2, upgradeTimeoutMs: 5000 }).ackAll();
    const asker = pool.upgrade();
    pool.pass(5000);
    assert.match(pool.lastReply(asker)?.message ?? "", /only 0 of 2 new workers were ready after 5s/);
    assert.deepEqual(pool.pids("ready"), [100, 101]);
  });

  test("asked for during one starts over, and both askers get its answer", () => {
    const pool = new Pool({ number: 2 }).ackAll();
    const first = pool.upgrade();
    const second = pool.upgrade();
    pool.settle();
    assert.equal(pool.state.generation, 2);
    assert.equal(pool.lastReply(first)?.message, "Upgrade done");
    assert.equal(pool.lastReply(second)?.message, "Upgrade done");
  });

  test("with canaries watches them before it replaces the rest", () => {
    const pool = new Pool({ number: 3 }).ackAll();
    const asker = pool.upgrade("upgrade", "--canary", "1", "--soak", "30");
    assert.equal(pool.pids("starting").length, 1);
    pool.ackAll();
    assert.equal(pool.pids("ready").length, 4);
    pool.pass(29_999);
    assert.equal(pool.pids("ready").length, 4);
    pool.pass(1);
    for (let round = 0; round < 3; round += 1) pool.settle();
    assert.equal(pool.lastReply(asker)?.message, "Upgrade done");
  });

  test("watches no more canaries than may run beside the old workers", () => {
    const pool = new Pool({ number: 3, maxUpgradeAdditional: 1 }).ackAll();
    const asker = pool.upgrade("upgrade", "--canary", "3");
    for (let round = 0; round < 6; round += 1) {
      pool.settle();
      for (const pid of pool.pids("told")) pool.die(pid, { code: 0 });
    }
    assert.equal(pool.lastReply(asker)?.message, "Upgrade done");
  });

  test("with a canary that dies during its soak is given up", () => {
    const pool = new Pool({ number: 3 }).ackAll();
    const asker = pool.upgrade("upgrade", "--canary", "1", "--soak", "30");
    pool.settle();
    pool.die(pool.workers(({ generation }) => generation === 1)[0]?.pid as number, { code: 9 });
    assert.equal(pool.lastReply(asker)?.error, true);
    assert.equal(pool.pids("ready").length, 3);
  });

  test("with a canary that dies late in its soak is given up too", () => {
    const pool = new Pool({ number: 3 }).ackAll();
    const asker = pool.upgrade("upgrade", "--canary", "1", "--soak", "30");
    pool.settle().pass(20_000);
    pool.die(pool.workers(({ generation }) => generation === 1)[0]?.pid as number, { code: 9 });
    assert.match(pool.lastReply(asker)?.message ?? "", /exited with code 9/);
    assert.equal(pool.pids("ready").length, 3);
  });

  test("that has all its new workers is not timed out while they prove themselves", () => {
    const pool = new Pool({ number: 2, upgradeTimeoutMs: 700 }).ackAll();
    const asker = pool.upgrade();
    pool.pass(500).settle();
    assert.equal(pool.lastReply(asker)?.message, "Upgrade done");
  });

  test("pauses and goes on", () => {
    const pool = new Pool({ number: 2, maxUnacked: 1 }).ackAll().ackAll();
    const asker = pool.upgrade();
    pool.ask("pause");
    pool.settle();
    assert.equal(pool.pids("told").length, 0);
    pool.ask("resume");
    pool.settle();
    assert.equal(pool.lastReply(asker)?.message, "Upgrade done");
  });

  test("aborted by command keeps the old workers and answers both", () => {
    const pool = new Pool({ number: 2 }).ackAll();
    const asker = pool.upgrade();
    const abort = pool.ask("abort");
    assert.match(pool.lastReply(asker)?.message ?? "", /aborted by command/);
    assert.equal(pool.lastReply(abort)?.error, false);
    assert.deepEqual(pool.pids("ready"), [100, 101]);
    assert.equal(pool.pids("told").length, 2);
  });
});

test("a fleet upgrade retires nobody before all new workers are ready, then everybody", () => {
  const pool = new Pool({ number: 3, maxUnacked: 1 }).ackAll();
  while (pool.pids("starting").length > 0) pool.settle();
  pool.upgrade("upgrade_fleet");
  const [first, ...rest] = pool.pids("starting");
  assert.equal(rest.length, 2);
  pool.ack(first as number);
  assert.equal(pool.pids("told").length, 0);
  pool.settle();
  assert.equal(pool.pids("told").length, 3);
});

describe("a fleet upgrade whose workers need not wait for the re-exec", () => {
  /** With its check passed; `launch` is what the new image said to start from. */
  function checked(command = "upgrade_fleet", config: Partial<Config> = {}): { pool: Pool; asker: Asker } {
    const pool = new Pool({ number: 2, ...config }).ackAll();
    pool.take();
    const asker = pool.ask(command);
    pool.deliver({ kind: "checked", reason: null, launch: { ...launch, cwd: "/next" } });
    return { pool, asker };
  }
  const spawned = (pool: Pool) => pool.take().flatMap((it) => (it.kind === "spawn" ? [it.launch.cwd] : []));

  test("starts them first, and goes on after it", () => {
    const { pool, asker } = checked();
    assert.deepEqual(spawned(pool), ["/next", "/next"]);
    assert.equal(pool.state.handover?.phase, "executing");
    pool.deliver({ kind: "reexeced", execMs: pool.now, about, launch });
    assert.equal(pool.state.handover, null);
    assert.deepEqual(spawned(pool), []);
    pool.settle();
    assert.deepEqual(pool.pids("told"), [100, 101]);
    assert.equal(pool.lastReply(asker)?.error, false);
    assert.equal(pool.state.generation, 1);
  });

  test("replaces the image when all that was ordered is started, and not before", () => {
    const pool = new Pool({ number: 1 }).ackAll();
    pool.ask("upgrade_fleet");
    const { state, effects } = step(pool.state, { kind: "checked", reason: null, launch }, pool.now);
    const [order] = effects.flatMap((it) => (it.kind === "spawn" ? [it] : []));
    assert.equal(state.handover?.phase, "starting");
    const after = step(state, { kind: "spawned", id: order?.id as number, pid: 500 }, pool.now);
    assert.equal(after.state.handover?.phase, "executing");
  });

  test("goes on with the image that there is when execve fails", () => {
    const { pool, asker } = checked();
    pool.take();
    pool.deliver({ kind: "exec-failed", reason: "E2BIG" });
    const isSaid = (it: Effect) => it.kind === "log" && it.level === "error" && it.message.includes("E2BIG");
    assert.ok(pool.take().some(isSaid));
    pool.settle();
    assert.equal(pool.lastReply(asker)?.error, false);
    assert.deepEqual(pool.pids("told"), [100, 101]);
  });

  test("starts over when another is asked for before the re-exec, and answers both", () => {
    const { pool, asker } = checked();
    const second = pool.ask("upgrade_fleet");
    pool.deliver({ kind: "reexeced", execMs: pool.now, about, launch }).settle();
    assert.equal(pool.state.generation, 2);
    for (const one of [asker, second]) assert.equal(pool.lastReply(one)?.error, false);
  });

  test("is no other for those that wait: a smooth one, and workers that a zygote forks", () => {
    assert.deepEqual(spawned(checked("upgrade").pool), []);
    const preload = { path: "app.py", active: true, reason: null };
    const pool = new Pool({ number: 2 }, { preload }).ackAll();
    pool.take();
    pool.ask("upgrade_fleet");
    pool.deliver({ kind: "checked", reason: null, launch });
    assert.deepEqual(spawned(pool), []);
  });
});

describe("stopping", () => {
  test("tells every worker, also one born later, and exits when the last is gone", () => {
    const pool = new Pool({ number: 2 });
    pool.deliver({ kind: "signal", signal: "SIGTERM" });
    assert.equal(pool.signals().length, 2);
    pool.die(100, { code: 0 }).die(101, { code: 0 });
    assert.deepEqual(
      pool.take().filter(({ kind }) => kind === "exit"),
      [{ kind: "exit", code: 0 }],
    );
  });

  test("waits for the drain delay, unready at once; a second TERM ends the delay, a third kills", () => {
    const pool = new Pool({ number: 1, drainDelayMs: 5000 }).ackAll();
    pool.take();
    pool.deliver({ kind: "signal", signal: "SIGTERM" });
    assert.deepEqual(pool.signals(), []);
    assert.equal(pool.lastReply(pool.ask("ready"))?.error, true);
    pool.deliver({ kind: "signal", signal: "SIGTERM" });
    assert.deepEqual(pool.signals(), [{ pid: 100, signal: "graceful" }]);
    pool.deliver({ kind: "signal", signal: "SIGTERM" });
    assert.deepEqual(pool.signals(), [{ pid: 100, signal: "SIGKILL" }]);
  });

  test("kills and names who is left at the end of --grace-period", () => {
    const pool = new Pool({ number: 1, gracePeriodMs: 3000 }).ackAll();
    pool.deliver({ kind: "signal", signal: "SIGTERM" });
    pool.take();
    pool.pass(3000);
    const effects = pool.take();
    assert.ok(effects.some((effect) => effect.kind === "signal" && effect.signal === "SIGKILL"));
    assert.ok(effects.some((effect) => effect.kind === "log" && /pid=100 did not finish in time/.test(effect.message)));
  });

  test("wins over an upgrade that is being prepared, and its asker learns why", () => {
    const pool = new Pool({ number: 1 }).ackAll();
    const asker = pool.ask("upgrade");
    pool.deliver({ kind: "signal", signal: "SIGTERM" });
    assert.match(pool.lastReply(asker)?.message ?? "", /einhorn is stopping/);
    pool.deliver({ kind: "checked", reason: null, launch: null });
    assert.equal(pool.state.handover, null);
  });

  test("as PID 1 sweeps what else runs before it exits: SIGTERM, after 2 s SIGKILL", () => {
    const pool = new Pool({ number: 1 }, { isPid1: true }).ackAll();
    pool.deliver({ kind: "signal", signal: "SIGTERM" }).die(100, { code: 0 });
    const rest = () => pool.take().flatMap((effect) => (effect.kind === "signal-rest" ? [effect.signal] : []));
    assert.deepEqual(rest(), ["SIGTERM"]);
    pool.pass(2000);
    assert.deepEqual(rest(), ["SIGKILL"]);
    pool.deliver({ kind: "childless" });
    assert.deepEqual(
      pool.take().filter(({ kind }) => kind === "exit"),
      [{ kind: "exit", code: 0 }],
    );
  });

  test("QUIT passes it on and exits with 1 at once", () => {
    const pool = new Pool({ number: 1 }).ackAll();
    pool.take();
    pool.deliver({ kind: "signal", signal: "SIGQUIT" });
    const effects = pool.take();
    assert.ok(effects.some((effect) => effect.kind === "signal" && effect.signal === "SIGQUIT"));
    assert.ok(effects.some((effect) => effect.kind === "exit" && effect.code === 1));
  });
});

describe("changing the number", () => {
  test("fewer: those that serve nobody yet go first, then the highest slots", () => {
    const pool = new Pool({ number: 3 });
    pool.ack(100).ack(102);
    pool.take();
    pool.ask("set_workers", "1");
    assert.deepEqual(
      pool
        .signals()
        .map(({ pid }) => pid)
        .sort(),
      [101, 102],
    );
  });

  test("more: the lowest free slots", () => {
    const pool = new Pool({ number: 1 });
    pool.ask("inc", "2");
    assert.deepEqual(
      pool.workers().map(({ slot }) => slot),
      [0, 1, 2],
    );
  });
});

describe("a worker that says STOPPING=1", () => {
  test("is replaced and never signalled; with -t it is killed when it does not end", () => {
    const pool = new Pool({ number: 1, ackMode: { kind: "notify" }, signalTimeoutMs: 3000 });
    pool.deliver({ kind: "acked", pid: 100, via: "notify" }).pass(5000);
    pool.take();
    pool.deliver({ kind: "notified", pid: 100, stopping: true });
    assert.deepEqual(pool.pids("starting"), [101]);
    pool.pass(2999);
    assert.deepEqual(pool.signals(), []);
    pool.pass(1);
    assert.deepEqual(pool.signals(), [{ pid: 100, signal: "SIGKILL" }]);
    pool.die(100, { signal: "SIGKILL" });
    assert.deepEqual(pool.pids("starting"), [101]);
  });

  test("takes the time it needs without -t", () => {
    const pool = new Pool({ number: 1, ackMode: { kind: "notify" } });
    pool.deliver({ kind: "acked", pid: 100, via: "notify" }).take();
    pool.deliver({ kind: "notified", pid: 100, stopping: true }).pass(3_600_000);
    assert.deepEqual(pool.signals(), []);
  });
});

describe("recycling", () => {
  test("a worker past --max-rss goes when its replacement is ready, one at a time", () => {
    const pool = new Pool({ number: 2, maxRssBytes: 1000 }).ackAll().pass(6000);
    pool.deliver({ kind: "measured", rssBytes: { 100: 2000, 101: 3000 } });
    assert.equal(pool.pids("starting").length, 1);
    assert.equal(pool.pids("ready").length, 2);
    pool.take();
    pool.settle();
    assert.equal(pool.pids("ready").length, 2);
    assert.deepEqual(
      pool.signals().map(({ pid }) => pid),
      [100],
    );
  });

  test("a worker past --max-age is replaced", () => {
    const pool = new Pool({ number: 1, maxAgeMs: 60_000 }).ackAll();
    pool.pass(60_000);
    assert.equal(pool.pids("starting").length, 1);
  });
});
