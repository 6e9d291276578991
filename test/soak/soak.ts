/**
 * `npm run soak -- [MINUTES]`: everything at once, for a long time: load, upgrades, killed workers, crashes of the master, resizes and
 * hostile clients. At the end, at rest: no failed request that a killed worker does not explain, each descriptor that there was at
 * the start and no other, no zombie, no growth of the master, the same PID.
 */
import assert from "node:assert/strict";
import net, { type Socket } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Chance } from "../simulation/random.ts";
import { startLoad } from "../support/load.ts";
import { fixture, type Master, startMaster } from "../support/master.ts";
import { children, descriptorsAtRest, isAlive, restsWith, statusField } from "../support/processes.ts";
import { until } from "../support/until.ts";
import { sendRaw } from "../support/wire.ts";

const minutes = Number(process.argv[2] ?? 30);
const workers = 4;
/** Five within a minute would be the limit. */
const crashPauseMs = 16_000;
/** What a master at rest may have grown by: a tenth, and what V8 keeps or gives back as it likes. */
const grownShareMax = 0.1;
const grownBytesMax = 6 * 1024 * 1024;
/** Memory is given back within seconds of the last event (src/system/idle.ts). */
const restMs = 7000;

const rssBytes = (master: Master) => Number.parseInt(statusField(master.pid, "VmRSS"), 10) * 1024;

/** Whoever speaks to the master; all can be made to hang up. A crash may cost a client its reply, and it would wait for ever. */
class Clients {
  readonly #path: string;
  readonly #open = new Set<Socket>();

  constructor(socketPath: string) {
    this.#path = socketPath;
  }

  connect(): Socket {
    const socket = net.connect(this.#path);
    this.#open.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => this.#open.delete(socket));
    return socket;
  }

  /** Hangs up when there is a last reply, or after 10 s. */
  async command(...words: (string | number)[]): Promise<void> {
    const [command, ...args] = words;
    const socket = this.connect();
    const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
    let text = "";
    socket.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      if (/^(?!.*"wait":true).*\n/m.test(text)) socket.destroy();
    });
    const late = setTimeout(() => socket.destroy(), 10_000);
    socket.write(`${JSON.stringify({ id: 1, command, args })}\n`);
    await closed;
    clearTimeout(late);
  }

  hangUp(): void {
    for (const socket of this.#open) socket.destroy();
  }
}

type Deed = (clients: Clients, master: Master, chance: Chance) => unknown;

const deeds: Readonly<Record<string, Deed>> = {
  upgrade: (clients) => clients.command("upgrade"),
  fleet: (clients) => clients.command("upgrade_fleet"),
  reload: (clients) => clients.command("reload"),
  more: (clients) => clients.command("set_workers", workers + 2),
  fewer: (clients) => clients.command("set_workers", workers),
  status: (clients) => clients.command("status"),
  hup: (_, master) => master.kill("SIGHUP"),
  probe: (_, master) => sendRaw(path.join(master.directory, "http"), "GET /metrics HTTP/1.0\r\n\r\n").catch(() => null),
  garbage: (clients, _, chance) =>
    hostile(clients, Buffer.from(Array.from({ length: 1 + chance.below(2000) }, () => chance.below(256)))),
  huge: (clients) => hostile(clients, "x".repeat(1024 * 1024)),
  "half a request": (clients) => hostile(clients, '{"command":"stat'),
  // These stay until the end.
  idle: (clients) => {
    for (let i = 0; i < 5; i += 1) clients.connect();
  },
  slow: (clients) => {
    const socket = clients.connect();
    const drip = setInterval(() => socket.write("{"), 500).unref();
    socket.on("close", () => clearInterval(drip));
  },
};

async function hostile(clients: Clients, bytes: string | Buffer): Promise<void> {
  const socket = clients.connect();
  socket.write(bytes);
  await sleep(50);
  socket.destroy();
}

/** All hang up, and the pool is whole. */
async function settled(master: Master, clients: Clients): Promise<void> {
  clients.hangUp();
  await clients.command("set_workers", workers);
  await master.until(
    (status) => status.mode === "running" && status.ready === workers && status.workers.length === workers,
  );
  clients.hangUp();
}

const zombies = (master: Master) => children(master.pid).filter((pid) => !isAlive(pid));

test(`${minutes} minutes of everything at once`, async (t) => {
  const seed = Date.now() % 2 ** 31;
  t.diagnostic(`seed ${seed}`);
  const chance = new Chance(seed);
  const master = await startMaster(t, {
    args: [
      ...["-b", "127.0.0.1:0", "-m", "manual", "-n", String(workers), "--ack-timeout", "10", "-s", "0.2"],
      ...["--http", "unix:http"],
    ],
    program: [fixture("http-server.pl")],
  });
  const load = startLoad({ port: await master.port(), pauseMs: 2 });
  t.after(() => load.stop());
  const clients = new Clients(master.sockPath);
  t.after(() => clients.hangUp());
  // What is loaded and compiled on the way is not growth.
  for (const name of ["upgrade", "garbage", "idle", "probe"]) await deeds[name]?.(clients, master, chance);
  await settled(master, clients);
  await sleep(restMs);
  const before = { rss: rssBytes(master), descriptors: await descriptorsAtRest(master.pid) };

  const endAt = Date.now() + minutes * 60_000;
  let crashedAt = Date.now();
  let kills = 0;
  const done: Record<string, number> = { crash: 0 };
  while (Date.now() < endAt) {
    await sleep(50 + chance.below(500));
    if (Date.now() - crashedAt > crashPauseMs) {
      crashedAt = Date.now();
      // Somebody may be at the door.
      for (let i = chance.below(4); i > 0; i -= 1) clients.connect();
      master.kill(chance.pick(["SIGSEGV", "SIGABRT", "SIGBUS"]));
      done.crash = (done.crash ?? 0) + 1;
    } else if (chance.oneIn(8)) {
      const [victim] = children(master.pid).filter(isAlive);
      try {
        if (victim !== undefined) process.kill(victim, "SIGKILL");
      } catch {
        // It has ended by itself meanwhile.
      }
      kills += 1;
    } else {
      const name = chance.pick(Object.keys(deeds));
      done[name] = (done[name] ?? 0) + 1;
      await deeds[name]?.(clients, master, chance);
    }
  }
  await settled(master, clients);
  const report = await load.stop();
  t.diagnostic(`${report.ok} requests, ${report.failed} failed with ${kills} killed workers; ${JSON.stringify(done)}`);
  assert.ok(report.failed <= kills, `failures that no killed worker explains: ${report.errors.join("; ")}`);
  const status = await master.status();
  assert.equal(status.pid, master.pid);
  assert.equal(status.crashes, done.crash);

  await restsWith(master.pid, before.descriptors);
  await until(
    "the last zombie to be reaped",
    () => zombies(master).length === 0,
    () => zombies(master).join(),
  );
  const rssMax = before.rss * (1 + grownShareMax) + grownBytesMax;
  const kib = (bytes: number) => `${Math.round(bytes / 1024)} KiB`;
  await until(
    `the master to be no larger than ${kib(rssMax)}`,
    () => rssBytes(master) <= rssMax,
    () => `it has ${kib(rssBytes(master))}`,
  );
  t.diagnostic(`RSS at rest ${kib(before.rss)} -> ${kib(rssBytes(master))}; ${before.descriptors.length} descriptors`);
  assert.equal((await master.stop()).code, 0);
});
