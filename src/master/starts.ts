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
/** A client that waited is accepted in one turn, and read and answered in the next. */
const turnsToAnswer = 2;

export interface StartsSettings {
  state(): State;
  /** Throws {code, syscall}. */
  start(order: SpawnOrder): Pid;
  deliver(...events: readonly Event[]): void;
  /** Clients have waited for a while: they are answered before anybody is started. */
  areClientsWaiting: boolean;
}

export class Starts {
  readonly #settings: StartsSettings;
  #waiting: SpawnOrder[] = [];
  #spentMs: Millis = 0;
  #isTurnCounted = false;
  #turnsForOthers: number;

  constructor(settings: StartsSettings) {
    this.#settings = settings;
    this.#turnsForOthers = settings.areClientsWaiting ? turnsToAnswer : 0;
  }

  /** Starts it now, or returns null: it is started in a later turn, and an event says how that went. */
  order(order: SpawnOrder): Pid | null {
    this.#countTurn();
    if (this.#turnsForOthers === 0 && this.#waiting.length === 0 && this.#spentMs < turnMs) return this.#start(order);
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
    if (this.#turnsForOthers > 0) {
      this.#turnsForOthers -= 1;
      return this.#countTurn();
    }
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
