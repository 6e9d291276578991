/**
 * `npm run soak -- [MINUTES]`: everything at once, for a long time: load, upgrades, killed workers, crashes of the master, resizes and
 * hostile clients. At the end: no failed request that a killed worker does not explain, no descriptor and no zombie more than
 * at the start, no growth of the master, the same PID.
 */
import assert from "node:assert/strict";
import fs from "node:fs";
import net from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Chance } from "../simulation/random.ts";
import { startLoad } from "../support/load.ts";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { children, isAlive, statusField } from "../support/processes.ts";

const minutes = Number(process.argv[2] ?? process.env.SOAK_MINUTES ?? 30);
const workers = 4;
/** Five within a minute would be the limit. */
const crashPauseMs = 16_000;
const grownBytesMax = 12 * 1024 * 1024;

const rssBytes = (master: Master) => Number.parseInt(statusField(master.pid, "VmRSS"), 10) * 1024;
const descriptors = (master: Master) =>
  fs
    .readdirSync(`/proc/${master.pid}/fd`)
    .flatMap((fd) => {
      try {
        return [fs.readlinkSync(`/proc/${master.pid}/fd/${fd}`).replace(/\d+/g, "N")];
      } catch {
        return [];
      }
    })
    .sort();

const deeds: Readonly<Record<string, (master: Master, chance: Chance) => Promise<unknown>>> = {
  upgrade: (master) => master.ask("upgrade"),
  fleet: (master) => master.ask("upgrade_fleet"),
  reload: (master) => master.ask("reload"),
  more: (master) => master.ask("set_workers", workers + 2),
  fewer: (master) => master.ask("set_workers", workers),
  hup: async (master) => master.kill("SIGHUP"),
  garbage: async (master, chance) => {
    const socket = net.connect(master.sockPath).on("error", () => {});
    socket.write(Buffer.from(Array.from({ length: 1 + chance.below(2000) }, () => chance.below(256))));
    await sleep(50);
    socket.destroy();
  },
  huge: async (master) => {
    const socket = net.connect(master.sockPath).on("error", () => {});
    socket.write("x".repeat(1024 * 1024));
    await sleep(50);
    socket.destroy();
  },
  idle: async (master) => {
    const sockets = Array.from({ length: 50 }, () => net.connect(master.sockPath).on("error", () => {}));
    await sleep(100);
    for (const socket of sockets) socket.destroy();
  },
};

async function settled(master: Master): Promise<void> {
  await master.ask("set_workers", workers);
  await master.until(
    (status) => status.mode === "running" && status.ready === workers && status.workers.length === workers,
  );
  await sleep(2000);
}

test(`${minutes} minutes of everything at once`, async (t) => {
  const seed = Date.now() % 2 ** 31;
  t.diagnostic(`seed ${seed}`);
  const chance = new Chance(seed);
  const master = await startMaster(t, {
    args: ["-b", "127.0.0.1:0", "-m", "manual", "-n", String(workers), "--ack-timeout", "10", "-s", "0.2"],
    program: [fixture("http-server.pl")],
  });
  const load = startLoad({ port: await master.port(), pauseMs: 2 });
  t.after(() => load.stop());
  const endAt = Date.now() + minutes * 60_000;
  let crashedAt = Date.now();
  let kills = 0;
  const done: Record<string, number> = { crash: 0 };
  // What is loaded and compiled on the way is not growth.
  for (const name of ["upgrade", "garbage", "idle"]) await deeds[name]?.(master, chance);
  await settled(master);
  const before = { rss: rssBytes(master), fds: descriptors(master) };
  while (Date.now() < endAt) {
    await sleep(50 + chance.below(500));
    if (Date.now() - crashedAt > crashPauseMs) {
      crashedAt = Date.now();
      master.kill(chance.pick(["SIGSEGV", "SIGABRT", "SIGBUS"]));
      done.crash = (done.crash ?? 0) + 1;
    } else if (chance.oneIn(8)) {
      const [victim] = children(master.pid).filter(isAlive);
      if (victim !== undefined) process.kill(victim, "SIGKILL");
      kills += 1;
    } else {
      const name = chance.pick(Object.keys(deeds));
      done[name] = (done[name] ?? 0) + 1;
      // A crash may cost a client its reply; the connection that waits for it is closed here.
      await Promise.race([deeds[name]?.(master, chance).catch(() => null), sleep(10_000, null, { ref: false })]);
    }
  }
  await settled(master);
  const report = await load.stop();
  const after = { rss: rssBytes(master), fds: descriptors(master) };
  const status = await master.status();
  t.diagnostic(`${report.ok} requests, ${report.failed} failed with ${kills} killed workers; ${JSON.stringify(done)}`);
  t.diagnostic(
    `RSS ${Math.round(before.rss / 1024)} -> ${Math.round(after.rss / 1024)} KiB; crashes ${status.crashes}`,
  );
  assert.ok(report.failed <= kills, `failures that no killed worker explains: ${report.errors.join("; ")}`);
  assert.equal(status.pid, master.pid);
  assert.equal(status.crashes, done.crash);
  assert.deepEqual(after.fds, before.fds);
  assert.deepEqual(
    children(master.pid).filter((pid) => !isAlive(pid)),
    [],
    "zombies",
  );
  assert.ok(after.rss - before.rss < grownBytesMax, `grew by ${after.rss - before.rss} bytes`);
  assert.equal((await master.stop()).code, 0);
});
