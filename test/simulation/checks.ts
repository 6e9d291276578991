/** What must hold in every world: looked at after each step, at each order of the master, and when all is calm. */
import { deepStrictEqual } from "node:assert/strict";
import type { Asker, Event, Millis, Signal, State, Worker } from "../../src/core/model.ts";
import type { Process, SpawnEffect } from "./kernel.ts";
import type { World } from "./world.ts";

export class Violation extends Error {}

interface Slot {
  lastStart: Millis | null;
  died: { upMs: Millis } | null;
  /** Deaths in a row before ACK. */
  failures: number;
}

const ready = (worker: Worker) => worker.phase.kind === "ready";
const unacked = (worker: Worker) => worker.phase.kind === "starting" || worker.phase.kind === "spawning";

export class Checks {
  readonly #world: World;
  #nextRequest = 1;
  /** Final replies still owed, by request id. */
  readonly #owed = new Map<number, { connection: number; command: string }>();
  /** What is known of each slot's starts and deaths, by generation and slot. */
  readonly #slots = new Map<string, Slot>();
  /** Those that the turn under way changed, as they were before it: a crash makes the master forget it. */
  readonly #slotsBefore = new Map<string, Slot>();
  /** `-s` is not what it was at the start: what was to wait for the old one is nobody's fault. */
  #paceChanged = false;
  /** What a failed worker makes `--no-respawn` exit with. */
  readonly #failureCodes = new Set<number>();

  constructor(world: World) {
    this.#world = world;
  }

  #fail(message: string): never {
    throw new Violation(message);
  }

  nextRequest(): number {
    return this.#nextRequest++;
  }

  /** The turn that a crash cut off may have taken a request and not kept it, or answered it and not kept that. */
  crashed(state: State, replied: readonly number[]): void {
    const upgrade = state.mode.kind === "upgrading" ? state.mode.upgrade.askers : [];
    const kept = [...state.waiters, ...(state.handover?.askers ?? []), ...upgrade].map((asker) =>
      Number(asker.requestId),
    );
    for (const id of this.#owed.keys()) if (!kept.includes(id)) this.#owed.delete(id);
    for (const [key, slot] of this.#slotsBefore) this.#slots.set(key, slot);
    this.#slotsBefore.clear();
    for (const id of replied) if (kept.includes(id)) this.#answeredTwice.add(id);
  }
  readonly #answeredTwice = new Set<number>();

  /** The turn is whole: its starts are remembered. */
  saved(): void {
    this.#slotsBefore.clear();
  }

  /** Nothing that was said once is lost or heard twice. */
  sameHeard(due: ReadonlySet<string>, heard: readonly Event[]): void {
    const got = new Set(heard.map((event) => JSON.stringify(event)));
    for (const text of due) if (!got.has(text)) this.#fail(`a crash lost ${text}`);
    for (const text of got) if (!due.has(text)) this.#fail(`handled, and heard again after a crash: ${text}`);
  }

  #slot({ generation, slot }: { generation: number; slot: number }): Slot {
    return this.#slots.get(`${generation}/${slot}`) ?? { lastStart: null, died: null, failures: 0 };
  }

  #setSlot(of: { generation: number; slot: number }, changes: Partial<Slot>): void {
    this.#slots.set(`${of.generation}/${of.slot}`, { ...this.#slot(of), ...changes });
  }

  /** As `#setSlot`, undone by a crash in this turn. */
  #setSlotInTurn(of: { generation: number; slot: number }, changes: Partial<Slot>): void {
    const key = `${of.generation}/${of.slot}`;
    if (!this.#slotsBefore.has(key)) this.#slotsBefore.set(key, this.#slot(of));
    this.#setSlot(of, changes);
  }

  asked(asker: Asker, command: string): void {
    if (command !== "events") this.#owed.set(Number(asker.requestId), { connection: asker.connection, command });
  }

  hungUp(connection: number): void {
    for (const [id, owed] of this.#owed) if (owed.connection === connection) this.#owed.delete(id);
  }

  replied(asker: Asker, reply: { wait: boolean; error: boolean; message: string }): void {
    const id = Number(asker.requestId);
    if (reply.wait) return;
    if (!this.#owed.delete(id) && !this.#answeredTwice.delete(id))
      this.#fail(`request ${id} got a last reply that nobody waits for: ${reply.message}`);
  }

  afterStep(): void {
    const { state } = this.#world;
    this.#forgetPacing(state.generation);
    this.#noticePace();
    this.#slotsAreUnique(state);
    this.#tableMatchesKernel(state);
    this.#readyMeansAcked(state);
    this.#allAreTold(state);
    this.#alarmIsSet(state);
    if (this.#world.chance.oneIn(200)) this.#world.roundTrip(state);
  }

  #slotsAreUnique(state: State): void {
    this.#noneTwice(state.workers, "workers");
    this.#noneTwice(this.#world.kernel.processes.values(), "processes");
  }

  #noneTwice(all: Iterable<{ generation: number; slot: number }>, what: string): void {
    const seen = new Set<number>();
    let count = 0;
    for (const { generation, slot } of all) {
      count += 1;
      if (seen.add(generation * 100_000 + slot).size < count)
        this.#fail(`two living ${what} of generation/slot ${generation}/${slot}`);
    }
  }

  #tableMatchesKernel(state: State): void {
    const { processes, zombies, births } = this.#world.kernel;
    if (this.#world.exited !== null) return;
    let living = 0;
    let unborn = 0;
    for (const { pid, id } of state.workers) {
      if (pid === null && !births.has(id)) this.#fail("a spawn was ordered and never answered");
      else if (pid === null) unborn += 1;
      else if (processes.has(pid)) living += 1;
      else if (!zombies.some((zombie) => zombie.pid === pid))
        this.#fail(`the master believes in ${pid}, which was reaped`);
    }
    if (living < processes.size) {
      const forgotten = [...processes.keys()].filter((pid) => !state.workers.some((worker) => worker.pid === pid));
      this.#fail(`process ${forgotten} lives, but the master forgot it`);
    }
    if (unborn < births.size) this.#fail("a worker is being born and was forgotten");
  }

  #readyMeansAcked(state: State): void {
    const { ackMode } = state.config;
    for (const worker of state.workers) {
      const process = this.#world.kernel.processes.get(worker.pid ?? -1);
      if (process === undefined) continue;
      if (unacked(worker) && process.acked && ackMode.kind !== "timer" && !this.#world.isCatchingUp)
        this.#fail(`the ACK of ${worker.pid} is lost`);
      if (!ready(worker)) continue;
      if (ackMode.kind !== "timer" && !process.acked) this.#fail(`worker ${worker.pid} counts as ready without an ACK`);
      if (ackMode.kind === "timer" && this.#world.now < process.bornAt + ackMode.ms)
        this.#fail(`worker ${worker.pid} counted as ready too early`);
    }
  }

  #allAreTold(state: State): void {
    const { mode } = state;
    if (mode.kind !== "stopping" || this.#world.now < mode.tellAt) return;
    for (const process of this.#world.kernel.processes.values()) {
      if (!process.told && !process.leaving && this.#lastEventWasAfter(mode.tellAt))
        this.#fail(`stopping, but worker ${process.pid} was never told`);
    }
  }

  /** The master can only act when something happens; at its alarm it must have acted. */
  #lastEventWasAfter(at: Millis): boolean {
    return this.#world.alarm === null || this.#world.alarm > at;
  }

  /** No forgotten deadline: the alarm is never later than what the state waits for. */
  #alarmIsSet(state: State): void {
    const { now, alarm } = this.#world;
    if (this.#world.exited !== null || state.mode.kind === "gone") return;
    const wants: [Millis, string][] = [];
    for (const worker of state.workers) {
      if (worker.phase.kind === "starting" && state.config.ackMode.kind === "timer") {
        wants.push([worker.spawnedAt + state.config.ackMode.ms, "timer ACK"]);
      }
      if (worker.phase.kind === "starting" && state.config.ackTimeoutMs !== null) {
        const dueAt = Math.max(worker.spawnedAt + state.config.ackTimeoutMs, worker.deadline ?? 0);
        wants.push([dueAt, "ACK timeout"]);
      }
      if (worker.phase.kind === "told" && worker.phase.killAt !== null) wants.push([worker.phase.killAt, "kill"]);
    }
    if (state.mode.kind === "stopping") {
      if (now < state.mode.tellAt) wants.push([state.mode.tellAt, "end of the drain delay"]);
      if (state.mode.killAt !== null && state.workers.some((w) => w.pid !== null && w.phase.kind !== "killed"))
        wants.push([state.mode.killAt, "end of grace"]);
    }
    for (const [at, what] of wants) {
      if (alarm === null || alarm > at) this.#fail(`the alarm (${alarm}) is later than the ${what} at ${at}`);
    }
  }

  /** Ordered, and called off before there was a process. */
  neverBorn(order: { generation: number; slot: number }): void {
    this.#setSlot(order, { lastStart: null });
  }

  /** A start that the kernel refused is a death before the ACK. */
  failedStart(order: SpawnEffect, errno: string): void {
    this.#failureCodes.add(errno === "ENOENT" ? 127 : 126);
    const { failures } = this.#slot(order);
    this.#setSlotInTurn(order, { died: { upMs: 0 }, failures: failures + 1 });
  }

  #noticePace(): void {
    const { state, config } = this.#world;
    if (state.config.respawnMs !== config.respawnMs) this.#paceChanged = true;
  }

  spawning(order: SpawnEffect): void {
    const { state, now } = this.#world;
    this.#noticePace();
    if (state.mode.kind === "stopping" && now > state.mode.since) this.#fail("started a worker while stopping");
    this.#limitsHold(state);
    this.#forgetPacing(order.generation);
    const { lastStart, died, failures } = this.#slot(order);
    this.#setSlotInTurn(order, { lastStart: now });
    if (lastStart === null || died === null || this.#paceChanged) return;
    const { respawnMs } = state.config;
    if (died.upMs > respawnMs) return;
    const where = `slot ${order.generation}/${order.slot}`;
    const sinceMs = now - lastStart;
    if (sinceMs < respawnMs * 0.9) this.#fail(`${where} was started again after ${sinceMs}ms, too early`);
    if (failures > 0 && sinceMs < Math.min(30_000, respawnMs * 1.5 ** failures) * 0.9)
      this.#fail(`${where} failed ${failures} times in a row, but was started again after ${sinceMs}ms`);
  }

  /** Failures of another generation say nothing about this one: an upgrade and a way back start afresh. */
  #forgetPacing(generation: number): void {
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.#slots.clear();
    this.#slotsBefore.clear();
  }
  #generation = 0;

  #limitsHold(state: State): void {
    if (state.mode.kind !== "upgrading" || state.mode.upgrade.strategy !== "smooth") return;
    const limit = state.config.maxUnacked ?? state.config.cpus;
    const starting = state.workers.filter((worker) => unacked(worker) && worker.generation === state.generation).length;
    if (starting > limit) this.#fail(`${starting} workers start at once; at most ${limit} may`);
    const additional = state.config.maxUpgradeAdditional;
    const old = state.workers.some(
      (worker) => worker.generation !== state.generation && (ready(worker) || unacked(worker)),
    );
    if (additional !== null && old && state.workers.length > state.config.number + additional) {
      this.#fail(`${state.workers.length} workers live; at most ${state.config.number} + ${additional} may`);
    }
  }

  /** Called at each signal that makes a worker go. */
  telling(process: Process, signal: Signal): void {
    const { state } = this.#world;
    const { mode } = state;
    if (process.told && signal !== "SIGKILL" && !this.#world.isOperatorSignalling)
      this.#fail(`worker ${process.pid} was told twice`);
    if (mode.kind === "stopping" || mode.kind === "sweeping" || signal === "SIGKILL") return;
    const worker = state.workers.find((other) => other.pid === process.pid);
    // The state is the one after the turn: the worker is `told` in it, and every other told one is too.
    if (worker?.phase.kind !== "told" || !worker.phase.wasReady) return;
    const left = state.workers.filter((other) => ready(other)).length;
    if (left < state.config.number) {
      this.#fail(`ready worker ${process.pid} was told to go, which leaves ${left} ready of ${state.config.number}`);
    }
    this.#newOnesProved(state, worker);
  }

  /** No old worker gives way to a release of which nobody has stood for a while. */
  #newOnesProved(state: State, told: Worker): void {
    if (told.generation >= state.generation) return;
    const { mode, lastUpgrade } = state;
    if ((mode.kind === "upgrading" ? mode.upgrade : lastUpgrade)?.strategy === "fleet") return;
    const old = state.workers.filter((worker) => ready(worker) && worker.generation !== state.generation);
    if (old.length >= state.config.number) return;
    const { now } = this.#world;
    const proved = state.workers.some(
      ({ generation, phase, spawnedAt, ackMs }) =>
        generation === state.generation &&
        // One that was told in this very turn, as there were too many, was looked at before.
        (phase.kind === "ready" || (phase.kind === "told" && phase.since === now)) &&
        spawnedAt + (ackMs ?? Number.POSITIVE_INFINITY) + Math.min(750, state.config.respawnMs) <= now,
    );
    if (!proved) this.#fail(`worker ${told.pid} was told to go for a release that has not proved itself`);
  }

  buried(process: Process): void {
    const { code, signal } = process.endsWith;
    if (signal !== null || code !== 0) this.#failureCodes.add(code ?? (signal === "SIGKILL" ? 137 : 139));
    const acked = process.acked || this.#world.config.ackMode.kind === "timer";
    this.#setSlot(process, {
      died: process.told || process.leaving ? null : { upMs: this.#world.now - process.bornAt },
      failures: process.told || process.leaving || acked ? 0 : this.#slot(process).failures + 1,
    });
  }

  /** It ended in a turn that the master forgot: as far as it can know, it ended now. */
  lost(worker: Worker): void {
    this.#failureCodes.add(1);
    const { died } = this.#slot(worker);
    if (died !== null) this.#setSlot(worker, { died: { upMs: this.#world.now - worker.spawnedAt } });
  }

  sameState(before: State, after: State): void {
    // Texts compare thirty times faster, but do not show what JSON cannot hold.
    if (JSON.stringify(after) === JSON.stringify(before) && !this.#world.chance.oneIn(16)) return;
    deepStrictEqual(after, before, "the state changed on its way through the document");
  }

  exiting(): void {
    const left = [...this.#world.kernel.processes.keys()];
    if (left.length > 0 && !this.#world.quit) this.#fail(`exited although workers live: ${left.join(", ")}`);
  }

  /** Nothing is under way any more. */
  isSettled(): boolean {
    const { state, config } = this.#world;
    if (this.#world.exited !== null) return true;
    const good =
      state.workers.every((worker) => ready(worker) && worker.generation === state.generation) &&
      state.workers.length === state.config.number;
    return (
      good &&
      state.mode.kind === "running" &&
      state.handover === null &&
      config.maxAgeMs === null &&
      this.#owed.size === 0
    );
  }

  #exitedWell(code: number): void {
    const { stopRequests, mayHaveStopped, quit, surrendered, config } = this.#world;
    if ((code === 1 && quit) || (code === 70 && surrendered)) return;
    if (!config.respawn) {
      if (code !== 0 && !this.#failureCodes.has(code) && !(code === 1 && config.giveUpAfter !== null))
        this.#fail(`no worker ended with exit code ${code}`);
      return;
    }
    // Giving up ends with 1 where the last worker ended with 0 before its ACK.
    const mayGiveUp = config.giveUpAfter !== null && (code === 1 || this.#failureCodes.has(code));
    if (code === 0 ? stopRequests === 0 && !mayHaveStopped : !mayGiveUp) this.#fail(`ended with exit code ${code}`);
  }

  settled(): void {
    const { state, exited, stopRequests, quit, config, kernel } = this.#world;
    if (exited !== null) return this.#exitedWell(exited);
    if (quit) this.#fail("got SIGQUIT and did not exit");
    if (stopRequests > 0) return kernel.hasDeafWorkers() ? undefined : this.#fail("was told to stop and never exited");
    // It gives up by stopping, and waits for a worker that does not hear.
    if (state.mode.kind === "stopping" && config.giveUpAfter !== null && kernel.hasDeafWorkers()) return;
    if (!config.respawn) {
      if (state.counters.starts < config.number) this.#fail("not every slot was run once");
      return;
    }
    if (state.mode.kind === "upgrading") {
      if (config.upgradeTimeoutMs !== null) this.#fail("an upgrade went on beyond its timeout");
      const stuck = state.workers.some(
        (worker) => this.#world.kernel.processes.get(worker.pid ?? -1)?.release === "never-acks",
      );
      // Old workers that never finish hold up an upgrade that may only have so many at once.
      if (!stuck && !this.#world.kernel.hasDeafWorkers())
        this.#fail("an upgrade never ended although nothing holds it up");
      return;
    }
    const wanted = state.workers.filter((worker) => worker.generation === state.generation && ready(worker)).length;
    const release = state.launches[state.generation]?.env.RELEASE ?? "good";
    // A reload changes what later workers start from, so a bad release may live among good ones.
    const bad = [...this.#world.kernel.processes.values()].some((process) => process.release === "never-acks");
    const canFill = ["good", "slow", "flaky"].includes(release) && !bad && !this.#world.kernel.hasDeafWorkers();
    // One that is to be replaced may stay until its replacement is ready, which a bad release never is.
    const lasting = state.workers.filter((worker) => worker.generation === state.generation && worker.recycle === null);
    const serving = lasting.filter((worker) => ready(worker) || unacked(worker));
    if (serving.length > state.config.number)
      this.#fail(`settled with ${serving.length} workers of ${state.config.number}`);
    if (canFill && wanted < state.config.number)
      this.#fail(`settled with ${wanted} of ${state.config.number} workers ready`);
    if (["good", "slow"].includes(release) && wanted >= state.config.number && this.#owed.size > 0) {
      const [first] = this.#owed.values();
      this.#fail(`${first?.command} was never answered`);
    }
  }
}
