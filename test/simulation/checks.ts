/** What must hold in every world: looked at after each step, at each order of the master, and when all is calm. */
import { deepStrictEqual } from "node:assert/strict";
import type { Asker, Effect, Millis, Signal, State, Worker } from "../../src/core/model.ts";
import type { Process, World } from "./world.ts";

export class Violation extends Error {}

const alive = (worker: Worker) => worker.phase.kind !== "spawning";
const ready = (worker: Worker) => worker.phase.kind === "ready";
const unacked = (worker: Worker) => worker.phase.kind === "starting" || worker.phase.kind === "spawning";

export class Checks {
  readonly #world: World;
  #nextRequest = 1;
  /** Final replies still owed, by request id. */
  readonly #owed = new Map<number, { connection: number; command: string }>();
  readonly #lastStart = new Map<string, Millis>();
  readonly #died = new Map<string, { upMs: Millis; acked: boolean }>();
  readonly #failures = new Map<string, number>();

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
    for (const [key, at] of this.#startsInTurn) {
      if (at === undefined) this.#lastStart.delete(key);
      else this.#lastStart.set(key, at);
    }
    this.#startsInTurn.clear();
    for (const id of replied) if (kept.includes(id)) this.#answeredTwice.add(id);
  }
  /** Starts that a crash makes the master forget, with the one before. */
  readonly #startsInTurn = new Map<string, Millis | undefined>();
  readonly #answeredTwice = new Set<number>();

  /** The turn is whole: its starts are remembered. */
  saved(): void {
    this.#startsInTurn.clear();
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
    this.#slotsAreUnique(state);
    this.#tableMatchesKernel(state);
    this.#readyMeansAcked(state);
    this.#allAreTold(state);
    this.#alarmIsSet(state);
    if (this.#world.chance.oneIn(50)) this.#world.roundTrip(state);
  }

  #slotsAreUnique(state: State): void {
    const seen = new Set<string>();
    for (const worker of state.workers) {
      const key = `${worker.generation}/${worker.slot}`;
      if (seen.has(key)) this.#fail(`two living workers of generation/slot ${key}`);
      seen.add(key);
    }
    const slots = new Set<string>();
    for (const process of this.#world.processes.values()) {
      const key = `${process.generation}/${process.slot}`;
      if (slots.has(key)) this.#fail(`two living processes in generation/slot ${key}`);
      slots.add(key);
    }
  }

  #tableMatchesKernel(state: State): void {
    if (this.#world.exited !== null) return;
    const known = new Set(state.workers.flatMap((worker) => worker.pid ?? []));
    for (const pid of this.#world.processes.keys())
      if (!known.has(pid)) this.#fail(`process ${pid} lives, but the master forgot it`);
    const zombies = new Set(this.#world.zombies.map((process) => process.pid));
    for (const pid of known) {
      if (!this.#world.processes.has(pid) && !zombies.has(pid))
        this.#fail(`the master believes in ${pid}, which was reaped`);
    }
    if (state.workers.some((worker) => !alive(worker) && !this.#world.births.has(worker.id)))
      this.#fail("a spawn was ordered and never answered");
    for (const id of this.#world.births.keys())
      if (!state.workers.some((worker) => worker.id === id)) this.#fail(`worker ${id} is being born and was forgotten`);
  }

  #readyMeansAcked(state: State): void {
    const { ackMode } = state.config;
    for (const worker of state.workers.filter(ready)) {
      const process = this.#world.processes.get(worker.pid ?? -1);
      if (process === undefined) continue;
      if (ackMode.kind !== "timer" && !process.acked) this.#fail(`worker ${worker.pid} counts as ready without an ACK`);
      if (ackMode.kind === "timer" && this.#world.now < process.bornAt + ackMode.ms)
        this.#fail(`worker ${worker.pid} counted as ready too early`);
    }
  }

  #allAreTold(state: State): void {
    const { mode } = state;
    if (mode.kind !== "stopping" || this.#world.now < mode.tellAt) return;
    for (const process of this.#world.processes.values()) {
      if (!process.told && this.#lastEventWasAfter(mode.tellAt))
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
        wants.push([worker.spawnedAt + state.config.ackTimeoutMs, "ACK timeout"]);
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
  neverBorn({ generation, slot }: { generation: number; slot: number }): void {
    this.#lastStart.delete(`${generation}/${slot}`);
  }

  spawning(order: Extract<Effect, { kind: "spawn" }>): void {
    const { state, now } = this.#world;
    if (state.mode.kind === "stopping" && now > state.mode.since) this.#fail("started a worker while stopping");
    this.#limitsHold(state);
    this.#forgetPacing(order.generation);
    const key = `${order.generation}/${order.slot}`;
    const lastStart = this.#lastStart.get(key);
    const died = this.#died.get(key);
    if (!this.#startsInTurn.has(key)) this.#startsInTurn.set(key, lastStart);
    this.#lastStart.set(key, now);
    if (
      lastStart === undefined ||
      died === undefined ||
      this.#world.state.config.respawnMs !== this.#world.config.respawnMs
    )
      return;
    const { respawnMs } = state.config;
    const least = respawnMs * 0.9;
    if (died.upMs <= respawnMs && now - lastStart < least)
      this.#fail(`slot ${key} was started again after ${now - lastStart}ms, too early`);
    const failures = this.#failures.get(key) ?? 0;
    const longest = Math.min(30_000, respawnMs * 1.5 ** failures) * 0.9;
    if (died.upMs <= respawnMs && failures > 0 && now - lastStart < longest) {
      this.#fail(`slot ${key} failed ${failures} times in a row, but was started again after ${now - lastStart}ms`);
    }
  }

  /** Failures of another generation say nothing about this one: an upgrade and a way back start afresh. */
  #forgetPacing(generation: number): void {
    if (generation === this.#generation) return;
    this.#generation = generation;
    this.#lastStart.clear();
    this.#died.clear();
    this.#failures.clear();
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
    if (process.told && signal !== "SIGKILL") this.#fail(`worker ${process.pid} was told twice`);
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
    const key = `${process.generation}/${process.slot}`;
    const upMs = this.#world.now - process.bornAt;
    this.#died.set(key, { upMs, acked: process.acked });
    const counted =
      process.acked || this.#world.config.ackMode.kind === "timer" ? 0 : (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, process.told ? 0 : counted);
    if (process.told) this.#died.delete(key);
  }

  /** It ended in a turn that the master forgot: as far as it can know, it ended now. */
  lost({ generation, slot, spawnedAt }: Worker): void {
    const died = this.#died.get(`${generation}/${slot}`);
    if (died !== undefined) died.upMs = this.#world.now - spawnedAt;
  }

  sameState(before: State, after: State): void {
    deepStrictEqual(after, before, "the state changed on its way through the document");
  }

  exiting(): void {
    const left = [...this.#world.processes.values()];
    if (left.length > 0 && this.#world.state.mode.kind !== "gone")
      this.#fail(`exited although ${left.length} workers live`);
    if (left.length > 0) this.#fail(`exited although workers live: ${left.map((process) => process.pid).join(", ")}`);
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

  settled(): void {
    const { state, exited, stopRequests, config } = this.#world;
    if (stopRequests > 0 || exited !== null) {
      if (exited === null && !this.#world.hasDeafWorkers()) this.#fail("was told to stop and never exited");
      if (exited === 70 && this.#world.surrendered) return;
      if (exited !== null && exited !== 0) this.#fail(`a stop ended with exit code ${exited}`);
      return;
    }
    if (state.mode.kind === "upgrading") {
      if (config.upgradeTimeoutMs !== null) this.#fail("an upgrade went on beyond its timeout");
      const stuck = state.workers.some(
        (worker) => this.#world.processes.get(worker.pid ?? -1)?.release === "never-acks",
      );
      // Old workers that never finish hold up an upgrade that may only have so many at once.
      if (!stuck && !this.#world.hasDeafWorkers()) this.#fail("an upgrade never ended although nothing holds it up");
      return;
    }
    const wanted = state.workers.filter((worker) => worker.generation === state.generation && ready(worker)).length;
    const release = state.launches[state.generation]?.env.RELEASE ?? "good";
    // A reload changes what later workers start from, so a bad release may live among good ones.
    const bad = [...this.#world.processes.values()].some((process) => process.release === "never-acks");
    const canFill = ["good", "slow", "flaky"].includes(release) && !bad && !this.#world.hasDeafWorkers();
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
