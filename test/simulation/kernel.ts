/** The fake kernel: processes with a release's behaviour, zombies, a zygote's births, and system calls that may fail. */
import type { Effect, Launch, Millis, Pid, Signal } from "../../src/core/model.ts";
import type { World } from "./world.ts";

export type SpawnEffect = Extract<Effect, { kind: "spawn" }>;

/** How the code of one generation behaves; `Launch.env.RELEASE` carries it. */
export const releases = [
  "good",
  "slow",
  "dies-at-start",
  "never-acks",
  "acks-then-dies",
  "dies-later",
  "missing",
  "flaky",
] as const;
export type Release = (typeof releases)[number];

export interface Process {
  pid: Pid;
  id: number;
  slot: number;
  generation: number;
  release: Release;
  bornAt: Millis;
  /** When it will ACK, say WATCHDOG=1 or end by itself; null is never. */
  ackAt: Millis | null;
  watchdogAt: Millis | null;
  endAt: Millis | null;
  endsWith: { code: number | null; signal: Signal | null };
  oom: boolean;
  deaf: boolean;
  acked: boolean;
  /** The master told it to go. */
  told: boolean;
  /** It said STOPPING=1: it goes by itself. */
  leaving: boolean;
}

/** vfork(2), pipe(2) and execve(2), as src/system/spawner.ts reports them. */
const spawnFaults = [
  { code: "EAGAIN", syscall: "vfork" },
  { code: "ENOMEM", syscall: "vfork" },
  { code: "EMFILE", syscall: "pipe2" },
  { code: "ENOENT", syscall: "execve" },
  { code: "EACCES", syscall: "execve" },
] as const;

/** Nothing happens to who gets them, as far as this world knows. */
const harmless: ReadonlySet<Signal> = new Set(["SIGUSR1", "SIGWINCH", "SIGHUP", "SIGCONT", "SIGSTOP"]);

export class Kernel {
  readonly #world: World;
  readonly processes = new Map<Pid, Process>();
  /** Ended, not yet reaped: what waitpid would give, in any order the kernel likes. */
  readonly zombies: Process[] = [];
  /** Workers are forked by a zygote: the answer to an order comes later, by worker id. */
  readonly births = new Map<number, { order: SpawnEffect; at: Millis }>();
  readonly preloads: boolean;
  /** System calls fail in this world. */
  readonly #faulty: boolean;
  #nextPid = 100;
  /** Its failure is being told: lost, when the master crashes over it. */
  #unborn: SpawnEffect[] = [];

  constructor(world: World) {
    this.#world = world;
    this.preloads = world.chance.oneIn(3);
    this.#faulty = world.chance.oneIn(2);
  }

  /** Now and then, in a world where system calls fail, and never in the calm. */
  fails(oneIn: number): boolean {
    return this.#faulty && !this.#world.calm && this.#world.chance.oneIn(oneIn);
  }

  dueTimes(): (Millis | null)[] {
    const times: (Millis | null)[] = [];
    for (const { at } of this.births.values()) times.push(at);
    for (const { ackAt, watchdogAt, endAt } of this.processes.values()) times.push(ackAt, watchdogAt, endAt);
    return times;
  }

  /** What is due now. */
  acts(): (() => void)[] {
    const { now } = this.#world;
    const isDue = (at: Millis | null) => at !== null && at <= now;
    const acts: (() => void)[] = [];
    for (const [id, { at }] of this.births) if (at <= now) acts.push(() => this.#bear(id));
    for (const process of this.processes.values()) {
      if (isDue(process.endAt)) acts.push(() => this.end(process, process.endsWith));
      else if (isDue(process.ackAt)) acts.push(() => this.#ack(process));
      else if (isDue(process.watchdogAt)) acts.push(() => this.#pat(process));
    }
    return acts;
  }

  /** The port. Throws {code, syscall}; null: a zygote forks it, or it waits for a later turn. */
  spawn(order: SpawnEffect): Pid | null {
    const { checks, chance, now } = this.#world;
    checks.spawning(order);
    if (!this.preloads && !chance.oneIn(4)) return this.#start(order);
    // Now and then the zygote has to load first.
    const laterMs = this.preloads ? (chance.oneIn(10) ? 5000 : 20) : 8;
    this.births.set(order.id, { order, at: now + chance.below(laterMs) });
    return null;
  }

  #start(order: SpawnEffect): Pid {
    const { chance, calm, checks, tally } = this.#world;
    const release = (order.launch.env.RELEASE ?? "good") as Release;
    const isMissing = release === "missing" && !(calm && order.generation === 0);
    if (isMissing || this.fails(10)) {
      const fault = isMissing ? { code: "ENOENT", syscall: "execve" } : chance.pick(spawnFaults);
      tally.count(`fault ${fault.syscall} ${fault.code}`);
      checks.failedStart(order, fault.code);
      throw Object.assign(new Error(`${fault.syscall}: ${fault.code}`), fault);
    }
    const pid = this.#nextPid++;
    this.processes.set(pid, this.#newProcess(pid, order, release));
    this.#world.note(() => `spawn pid=${pid} slot=${order.slot} gen=${order.generation} ${release}`);
    return pid;
  }

  #newProcess(pid: Pid, order: SpawnEffect, release: Release): Process {
    const { chance, now, calm, config } = this.#world;
    const bootMs = release === "slow" ? 500 + chance.below(3000) : chance.below(300);
    const process: Process = {
      pid,
      id: order.id,
      slot: order.slot,
      generation: order.generation,
      release,
      bornAt: now,
      ackAt: now + bootMs,
      watchdogAt: config.watchdogMs !== null && (calm || !chance.oneIn(8)) ? now + config.watchdogMs / 2 : null,
      endAt: null,
      endsWith: { code: 1, signal: null },
      oom: false,
      deaf: !calm && chance.oneIn(30),
      acked: false,
      told: false,
      leaving: false,
    };
    if (release === "dies-at-start") Object.assign(process, { ackAt: null, endAt: now + 1 + chance.below(50) });
    if (release === "never-acks") process.ackAt = null;
    if (release === "acks-then-dies") process.endAt = now + bootMs + 1 + chance.below(20);
    if (release === "dies-later") process.endAt = now + bootMs + 1 + chance.below(900);
    if (release === "flaky" && chance.oneIn(2) && !calm) process.endAt = now + chance.below(3000);
    return process;
  }

  #bear(id: number): void {
    const birth = this.births.get(id);
    if (!this.births.delete(id) || birth === undefined) return;
    const { order } = birth;
    let pid: Pid;
    try {
      pid = this.#start(order);
    } catch (error) {
      if (!(error instanceof Error && "code" in error)) throw error;
      this.#unborn = [order];
      this.#world.deliver({ kind: "unspawned", id, errno: String(error.code), syscall: "fork" });
      this.#unborn = [];
      return;
    }
    this.#world.deliver({ kind: "spawned", id, pid });
  }

  /** The zygote of a generation that is over is killed: its forks are called off, or were faster. */
  cancelBirths(): void {
    const { state, now, chance } = this.#world;
    const isStopping = state.mode.kind !== "running" && state.mode.kind !== "upgrading";
    for (const [id, birth] of this.births) {
      if (!isStopping && birth.order.generation in state.launches) continue;
      if (birth.at > now) birth.at = now + chance.below(2);
      if (!this.births.has(id) || chance.oneIn(2)) continue;
      this.births.delete(id);
      this.#world.deliver({ kind: "unspawned", id, errno: "ECANCELED", syscall: "fork" });
    }
  }

  /** The zygote's answers to orders that nobody remembers are of no use to the next image. */
  forgetBirths(): void {
    for (const { order } of this.births.values()) this.#world.checks.neverBorn(order);
    for (const order of this.#unborn) this.#world.checks.neverBorn(order);
    this.births.clear();
  }

  #ack(process: Process): void {
    const { chance, now, config } = this.#world;
    if (process.ackAt === null || !this.processes.has(process.pid)) return;
    process.ackAt = chance.oneIn(20) ? now + 10 : null; // Now and then it ACKs twice.
    if (config.ackMode.kind === "timer") return;
    if (!process.told && !process.leaving) process.acked = true;
    const via = config.ackMode.kind === "notify" ? "notify" : "command";
    this.#world.deliverSurely({ kind: "acked", pid: process.pid, via });
  }

  #pat(process: Process): void {
    const { now, config } = this.#world;
    if (process.watchdogAt === null || !this.processes.has(process.pid)) return;
    process.watchdogAt = now + (config.watchdogMs ?? 0) / 2;
    this.#world.deliver({ kind: "notified", pid: process.pid, watchdog: true });
  }

  /** What workers say beside their ACKs, by sd_notify and on the command socket. */
  say(): void {
    const { chance, now, tally } = this.#world;
    if (this.processes.size === 0) return;
    const process = chance.pick([...this.processes.values()]);
    const { pid } = process;
    const roll = chance.below(4);
    if (roll === 0) this.#world.deliver({ kind: "pinged", pid, requestId: "r" });
    else if (roll === 1) this.#world.deliver({ kind: "notified", pid, status: "busy", extendMs: 500 });
    else if (roll === 2) this.#world.deliver({ kind: "notified", pid: 1 + chance.below(99), stopping: true });
    else if (!process.told && !process.deaf) {
      tally.count("worker stops by itself");
      Object.assign(process, { leaving: true, ackAt: null, endAt: now + chance.below(500), endsWith: clean });
      this.#world.deliver({ kind: "notified", pid, stopping: true });
    }
  }

  /** ACKs that no worker of ours owes: from strangers, the dead, those told to go, those that ACKed, and by the wrong way. */
  strangeAck(): void {
    const { chance, config, tally } = this.#world;
    tally.count("hostile ACK");
    const right = config.ackMode.kind === "notify" ? "notify" : "command";
    const wrong = right === "notify" ? "command" : "notify";
    // Who was never a worker is refused before the core hears of it, and so not written down; it must not matter if it did.
    if (chance.oneIn(3)) {
      const pid = chance.pick([1, 50 + chance.below(50), this.#nextPid]);
      return this.#world.deliver({ kind: "acked", pid, via: right });
    }
    const pids = this.zombies.map(({ pid }) => pid);
    for (const { pid, acked, told } of this.processes.values()) if (acked || told) pids.push(pid);
    const living = [...this.processes.keys()];
    if (living.length > 0 && chance.oneIn(3))
      return this.#world.deliverSurely({ kind: "acked", pid: chance.pick(living), via: wrong });
    if (pids.length === 0) return;
    const pid = chance.pick(pids);
    // What it sent before it died counts.
    for (const zombie of this.zombies) if (zombie.pid === pid && !zombie.told && !zombie.leaving) zombie.acked = true;
    this.#world.deliverSurely({ kind: "acked", pid, via: right });
  }

  killOne(): void {
    const { chance, tally } = this.#world;
    if (this.processes.size === 0) return;
    const process = chance.pick([...this.processes.values()]);
    process.oom = chance.oneIn(3);
    tally.count(process.oom ? "worker killed, out of memory" : "worker killed");
    this.end(process, { code: null, signal: process.oom || chance.oneIn(2) ? "SIGKILL" : "SIGSEGV" });
  }

  end(process: Process, how: Process["endsWith"]): void {
    if (!this.processes.delete(process.pid)) return;
    this.#world.note(() => `process ${process.pid} ends ${JSON.stringify(how)}`);
    process.endsWith = how;
    this.zombies.push(process);
    if (this.#world.chance.oneIn(2)) this.reapOne();
  }

  reapOne(): void {
    if (this.zombies.length === 0) return;
    const [process] = this.zombies.splice(this.#world.chance.below(this.zombies.length), 1);
    if (process === undefined) return;
    this.#world.checks.buried(process);
    const { pid, endsWith, oom } = process;
    this.#world.deliver({ kind: "exited", pid, ...endsWith, oom, cpuMs: 1, maxRssBytes: 1, lastWords: null });
    this.#world.noticeChildless();
  }

  /** The port. */
  signal(pid: Pid, signal: Signal | "graceful"): Signal {
    const sent = signal === "graceful" ? "SIGUSR2" : signal;
    const { state, tally } = this.#world;
    const { mode } = state;
    // What an operator sends to all is not the master's telling.
    const isKilled = state.workers.some((worker) => worker.pid === pid && worker.phase.kind === "killed");
    const isTold =
      signal === (mode.kind === "stopping" ? mode.signal : "graceful") || (isKilled && signal === "SIGKILL");
    const process = this.processes.get(pid);
    if (process === undefined) {
      // kill(2) on a zombie succeeds and changes nothing.
      const zombie = this.zombies.find((other) => other.pid === pid);
      if (zombie !== undefined && isTold) zombie.told = true;
      tally.count("fault kill: it is gone");
      return sent;
    }
    this.#world.note(`signal ${sent} to ${pid}`);
    if (harmless.has(sent)) return sent;
    if (isTold) this.#world.tell(process, sent);
    this.#obey(process, sent);
    return sent;
  }

  #obey(process: Process, signal: Signal): void {
    const { now, chance } = this.#world;
    if (signal === "SIGKILL") Object.assign(process, { endAt: now + chance.below(5), endsWith: killed });
    else if (!process.deaf)
      Object.assign(process, { endAt: now + chance.below(chance.oneIn(5) ? 20_000 : 200), endsWith: clean });
  }

  /** The port: what /proc says of each, and nothing of one that is gone. */
  measure(pids: readonly Pid[]): Record<Pid, number> {
    const { chance, calm, tally } = this.#world;
    if (this.fails(4)) tally.count("fault measure");
    else return Object.fromEntries(pids.map((pid) => [pid, calm || !chance.oneIn(6) ? 100 : 2000]));
    return Object.fromEntries(pids.map((pid) => [pid, 0]));
  }

  /** Workers that were told to go, ignore it, and that nothing will kill. */
  hasDeafWorkers(): boolean {
    return [...this.processes.values()].some((process) => process.deaf && process.told);
  }

  launch(release: Release): Launch {
    return { argv: ["server"], cwd: "/", env: { RELEASE: release } };
  }
}

const clean = { code: 0, signal: null };
const killed = { code: null, signal: "SIGKILL" };
