/**
 * Starts of workers, so many in a turn of the loop as take a few milliseconds: each stops the master until the child executes
 * its program (vfork(2)), and fifty in a row would keep clients and signals waiting.
 */
import type { Event, Millis, Pid, State } from "../core/model.ts";
import { isStopping } from "../core/pool.ts";
import type { Ports } from "../ports.ts";
import { reportSpawn } from "../supervisor.ts";
import { now } from "../system/clock.ts";

export type SpawnOrder = Omit<Parameters<Ports["processes"]["spawn"]>[0], "kind">;

/** After this much of a turn, what else is ordered waits for the next. */
const turnMs = 4;

export interface StartsSettings {
  state(): State;
  /** Throws {code, syscall}. */
  start(order: SpawnOrder): Pid;
  deliver(...events: readonly Event[]): void;
  /** There is something more urgent to do in this turn than to start anybody. */
  isBusy: boolean;
}

export class Starts {
  readonly #settings: StartsSettings;
  #waiting: SpawnOrder[] = [];
  #spentMs: Millis;
  #isTurnCounted = false;

  constructor(settings: StartsSettings) {
    this.#settings = settings;
    this.#spentMs = settings.isBusy ? turnMs : 0;
  }

  /** Starts it now, or returns null: it is started in a later turn, and an event says how that went. */
  order(order: SpawnOrder): Pid | null {
    this.#countTurn();
    if (this.#waiting.length === 0 && this.#spentMs < turnMs) return this.#start(order);
    this.#waiting.push(order);
    return null;
  }

  /** True for a worker whose start is still to come. */
  expects(id: number): boolean {
    return this.#waiting.some((order) => order.id === id);
  }

  #countTurn(): void {
    if (this.#isTurnCounted) return;
    this.#isTurnCounted = true;
    setImmediate(() => this.#nextTurn());
  }

  #nextTurn(): void {
    this.#isTurnCounted = false;
    this.#spentMs = 0;
    const events: Event[] = [];
    const report = (event: Event) => events.push(event);
    while (this.#waiting.length > 0 && this.#spentMs < turnMs) this.#startNext(report);
    if (events.length > 0) this.#settings.deliver(...events);
    if (this.#waiting.length > 0) this.#countTurn();
  }

  #startNext(report: (event: Event) => void): void {
    const state = this.#settings.state();
    const order = this.#waiting.shift() as SpawnOrder;
    const isWanted = !isStopping(state) && order.generation === state.generation;
    if (isWanted) reportSpawn(order.id, () => this.#start(order), report);
    else report({ kind: "unspawned", id: order.id, errno: "ECANCELED", syscall: "vfork" });
  }

  #start(order: SpawnOrder): Pid {
    const began = now();
    try {
      return this.#settings.start(order);
    } finally {
      this.#spentMs += now() - began;
    }
  }
}
