/**
 * One turn of the core: the state as it is so far, the orders given so far, and when to look again.
 *
 * States are never changed in place; a turn replaces them. That keeps `step` pure and lets a caller keep old states.
 */
import type { Asker, Effect, Level, Millis, State, Worker } from "./model.ts";
import { find, withReplaced } from "./roster.ts";

export interface Turn {
  state: State;
  readonly effects: Effect[];
  readonly now: Millis;
  wakeAt: Millis | null;
}

export function set(turn: Turn, changes: Partial<State>): void {
  turn.state = { ...turn.state, ...changes };
}

/** Replaces each worker that `change` returns something new for. One pass, whatever the number of workers. */
export function setWorkers(turn: Turn, change: (worker: Worker) => Worker): void {
  let changed = false;
  const workers = turn.state.workers.map((worker) => {
    const next = change(worker);
    if (next !== worker) changed = true;
    return next;
  });
  if (changed) set(turn, { workers });
}

export function setWorker(turn: Turn, id: number, changes: Partial<Worker>): void {
  const worker = find(turn.state.workers, id);
  if (worker !== undefined) set(turn, { workers: withReplaced(turn.state.workers, { ...worker, ...changes }) });
}

/** Asks to be called again at `at` at the latest. */
export function wake(turn: Turn, at: Millis | null): void {
  if (at !== null && (turn.wakeAt === null || at < turn.wakeAt)) turn.wakeAt = at;
}

const severity: Record<Level, number> = { debug: 0, info: 1, error: 2 };

/** One line for the log and for whoever streams `events`. */
export function log(
  turn: Turn,
  level: Level,
  message: string,
  fields: Record<string, string | number | boolean | null> = {},
): void {
  if (severity[level] < severity[turn.state.config.verbosity]) return;
  turn.effects.push({ kind: "log", level, message, fields });
  for (const asker of turn.state.watchers) {
    turn.effects.push({ kind: "reply", asker, message, wait: true, error: false, data: { level, message, ...fields } });
  }
}

/** The last reply to a request. */
export function answer(turn: Turn, asker: Asker, message: string, data?: unknown): void {
  turn.effects.push({
    kind: "reply",
    asker,
    message,
    wait: false,
    error: false,
    ...(data === undefined ? {} : { data }),
  });
}

export function refuse(turn: Turn, asker: Asker, message: string, data?: unknown): void {
  turn.effects.push({
    kind: "reply",
    asker,
    message,
    wait: false,
    error: true,
    ...(data === undefined ? {} : { data }),
  });
}

/** One of several replies: more follow. */
export function progress(turn: Turn, askers: readonly Asker[], message: string): void {
  for (const asker of askers) turn.effects.push({ kind: "reply", asker, message, wait: true, error: false });
}

/** A number in [0, 1) from the seed in the state (xorshift32, Marsaglia 2003). */
export function random(turn: Turn): number {
  let x = turn.state.random | 0 || 1;
  x ^= x << 13;
  x ^= x >>> 17;
  x ^= x << 5;
  set(turn, { random: x >>> 0 });
  return (x >>> 0) / 2 ** 32;
}
