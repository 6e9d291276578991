/**
 * Starts workers a few at a time. Each start takes as long as the kernel takes to execute a program, and the master does nothing else
 * meanwhile: one that starts a thousand in one go would neither answer nor reap for a second.
 */
import type { Effect, Event, Millis, Pid } from "../core/model.ts";
import { reportSpawn } from "../supervisor.ts";
import { now } from "../system/clock.ts";

export type SpawnOrder = Extract<Effect, { kind: "spawn" }>;

export interface SpawningHost {
  /** Throws {code, syscall}. */
  execute(order: SpawnOrder): Pid;
  deliver(event: Event): void;
}

/** In one turn of the event loop; one start is made in any case. */
const turnMs = 5;

export class Spawning {
  readonly #host: SpawningHost;
  readonly #orders: SpawnOrder[] = [];
  #spentMs: Millis;
  #planned: NodeJS.Immediate | null = null;

  /** `isBusy`: there is something more urgent to do in this turn than to start anybody. */
  constructor(host: SpawningHost, isBusy: boolean) {
    this.#host = host;
    this.#spentMs = isBusy ? turnMs : 0;
  }

  /** The worker's pid, or null: it is started in a later turn, and `spawned` or `unspawned` will tell. Throws {code, syscall}. */
  order(order: SpawnOrder): Pid | null {
    this.#planned ??= setImmediate(() => this.#nextTurn());
    if (this.#orders.length === 0 && this.#spentMs < turnMs) return this.#execute(order);
    this.#orders.push(order);
    return null;
  }

  /** Starts all that were put off, and tells. */
  finish(): void {
    for (let order = this.#orders.shift(); order !== undefined; order = this.#orders.shift()) this.#start(order);
  }

  /** True for a worker whose start was put off. */
  expects(id: number): boolean {
    return this.#orders.some((order) => order.id === id);
  }

  #nextTurn(): void {
    this.#planned = null;
    this.#spentMs = 0;
    while (this.#spentMs < turnMs) {
      const order = this.#orders.shift();
      if (order === undefined) return;
      this.#start(order);
    }
    this.#planned ??= setImmediate(() => this.#nextTurn());
  }

  #start(order: SpawnOrder): void {
    reportSpawn(order.id, () => this.#execute(order), this.#host.deliver);
  }

  #execute(order: SpawnOrder): Pid {
    const from = now();
    try {
      return this.#host.execute(order);
    } finally {
      this.#spentMs += now() - from;
    }
  }
}
