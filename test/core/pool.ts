/** A master without a world: events in, effects and the state out. Time is what the test says. */

import { readCommand } from "../../src/core/commands.ts";
import { initialState } from "../../src/core/initial.ts";
import { proveMsMax } from "../../src/core/life.ts";
import type { About, Asker, Config, Effect, Event, Launch, Millis, Pid, State, Worker } from "../../src/core/model.ts";
import { firstSteps, stepMs } from "../../src/core/reconcile.ts";
import { step } from "../../src/core/step.ts";

export const plainConfig: Config = {
  number: 3,
  ackMode: { kind: "manual" },
  respawnMs: 1000,
  backlog: 100,
  maxUnacked: null,
  cpus: 2,
  maxUpgradeAdditional: null,
  signalTimeoutMs: null,
  ackTimeoutMs: null,
  gracefulSignal: "auto",
  drainDelayMs: 0,
  gracePeriodMs: null,
  readyMin: { kind: "percent", percent: 100 },
  upgradeTimeoutMs: null,
  upgradeMaxDeaths: 3,
  giveUpAfter: null,
  respawn: true,
  maxRssBytes: null,
  maxAgeMs: null,
  watchdogMs: null,
  verbosity: "info",
};

export const about: About = {
  pid: 7,
  version: "1.0.0",
  commandName: null,
  socketPath: "/tmp/einhorn.sock",
  argv: ["server", "-x"],
  binds: [],
  isPid1: false,
  preload: null,
};

export const launch: Launch = { argv: ["server", "-x"], cwd: "/", env: {} };

export class Pool {
  state: State;
  now: Millis = 10_000;
  wakeAt: Millis | null = null;
  /** Everything ordered since the last `take`. */
  effects: Effect[] = [];
  /** The errno with which the kernel refuses to start workers; null: it starts them. */
  refusal: string | null = null;
  #nextPid = 100;
  #nextRequest = 1;

  constructor(config: Partial<Config> = {}, more: Partial<About> = {}) {
    const facts = { ...about, ...more };
    this.state = initialState({ ...plainConfig, ...config }, facts, launch, 42);
    this.deliver({ kind: "booted", about: facts, launch });
  }

  /** Spawns are answered at once, as the real kernel does; all else is the test's. */
  deliver(event: Event): this {
    const { state, effects, wakeAt } = step(this.state, event, this.now);
    this.state = state;
    if (wakeAt !== undefined) this.wakeAt = wakeAt;
    this.effects.push(...effects);
    for (const effect of effects) {
      if (effect.kind !== "spawn") continue;
      const { id } = effect;
      if (this.refusal === null) this.deliver({ kind: "spawned", id, pid: this.#nextPid++ });
      else this.deliver({ kind: "unspawned", id, errno: this.refusal, syscall: "vfork" });
    }
    return this;
  }

  /** Lets time pass and wakes the core as often as it asked for. */
  pass(ms: Millis): this {
    const until = this.now + ms;
    while (this.wakeAt !== null && this.wakeAt <= until) {
      this.now = Math.max(this.now, this.wakeAt);
      this.deliver({ kind: "woke" });
    }
    this.now = until;
    return this;
  }

  ack(pid: Pid): this {
    return this.deliver({ kind: "acked", pid, via: "command" });
  }

  ackAll(): this {
    for (const worker of this.state.workers) if (worker.phase.kind === "starting") this.ack(worker.pid as Pid);
    return this;
  }

  /** All ACK and stand for long enough to be relied on. */
  settle(): this {
    return this.ackAll().pass(proveMsMax);
  }

  die(pid: Pid, how: { code?: number; signal?: string; oom?: boolean } = { code: 1 }): this {
    const { code = null, signal = null, oom = false } = how;
    return this.deliver({ kind: "exited", pid, code, signal, oom, cpuMs: 5, maxRssBytes: 1000, lastWords: null });
  }

  ask(command: string, ...args: string[]): Asker {
    const asker = { connection: 1, requestId: this.#nextRequest++ };
    const read = readCommand({ command, args });
    if ("error" in read) throw new Error(read.error);
    this.deliver({ kind: "asked", asker, command: read.command, wallMs: 1_767_323_045_000 + this.now });
    return asker;
  }

  /** An upgrade up to when its first workers have been started: those of a smooth one a moment apart. */
  upgrade(command = "upgrade", ...args: string[]): Asker {
    const asker = this.ask(command, ...args);
    this.deliver({ kind: "checked", reason: null, launch: null });
    this.deliver({ kind: "reexeced", execMs: this.now, about, launch }).pass(firstSteps * stepMs);
    return asker;
  }

  /** The orders since the last call. */
  take(): Effect[] {
    return this.effects.splice(0);
  }

  signals(): { pid: Pid; signal: string }[] {
    return this.take().flatMap((effect) =>
      effect.kind === "signal" ? [{ pid: effect.pid, signal: effect.signal }] : [],
    );
  }

  replies(asker: Asker): Extract<Effect, { kind: "reply" }>[] {
    return this.effects.flatMap((effect) =>
      effect.kind === "reply" && effect.asker.requestId === asker.requestId ? [effect] : [],
    );
  }

  lastReply(asker: Asker): { message: string; error: boolean; data?: unknown } | undefined {
    return this.replies(asker).find((reply) => !reply.wait);
  }

  workers(filter: (worker: Worker) => boolean = () => true): Worker[] {
    return this.state.workers.filter(filter);
  }

  pids(kind: Worker["phase"]["kind"]): Pid[] {
    return this.workers((worker) => worker.phase.kind === kind).map((worker) => worker.pid as Pid);
  }
}
