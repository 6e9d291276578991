/** The words for asking about the pool of workers. Pure questions; nothing here changes anything. */
import type { Generation, Pid, State, Worker } from "./model.ts";

/** Ordered or running, and not told to go: counts towards what is wanted. */
export function isServing(worker: Worker): boolean {
  return worker.phase.kind === "spawning" || worker.phase.kind === "starting" || worker.phase.kind === "ready";
}

export function isUnacked(worker: Worker): boolean {
  return worker.phase.kind === "spawning" || worker.phase.kind === "starting";
}

export function isReady(worker: Worker): boolean {
  return worker.phase.kind === "ready";
}

/** To be replaced: of another generation than the one wanted, or marked for recycling. */
export function isStale(state: State, worker: Worker): boolean {
  return worker.generation !== state.generation || worker.recycle !== null;
}

/** Had it ACKed before whatever came next? */
export function wasReady(worker: Worker): boolean {
  const phase = worker.phase;
  return phase.kind === "ready" || ((phase.kind === "told" || phase.kind === "killed") && phase.wasReady);
}

export function byPid(state: State, pid: Pid): Worker | undefined {
  return state.workers.find((worker) => worker.pid === pid);
}

export function byId(state: State, id: number): Worker | undefined {
  return state.workers.find((worker) => worker.id === id);
}

/** What every rule wants to know, counted in one pass and once per list of workers. */
export interface Census {
  /** Of the wanted generation and not to be replaced. */
  current: { serving: number; ready: number; unacked: number };
  stale: { serving: number; ready: number };
  /** Told to go or killed, and not gone yet. */
  leaving: number;
  /** Alive in any way, those told to go included. */
  alive: number;
}

/** What was counted last, by list of workers: lists are replaced, never changed, so a count stays true while its list lives. */
const counted = new WeakMap<readonly Worker[], { generation: Generation; census: Census }>();

export function census(state: State): Census {
  const known = counted.get(state.workers);
  if (known?.generation === state.generation) return known.census;
  const count = take(state);
  counted.set(state.workers, { generation: state.generation, census: count });
  return count;
}

function take(state: State): Census {
  const count: Census = {
    current: { serving: 0, ready: 0, unacked: 0 },
    stale: { serving: 0, ready: 0 },
    leaving: 0,
    alive: state.workers.length,
  };
  for (const worker of state.workers) {
    if (!isServing(worker)) {
      count.leaving += 1;
      continue;
    }
    const side = isStale(state, worker) ? count.stale : count.current;
    side.serving += 1;
    if (isReady(worker)) side.ready += 1;
    else if (side === count.current) count.current.unacked += 1;
  }
  return count;
}

/** Ordered or starting, of any generation. */
export function hasUnacked(state: State): boolean {
  const { current, stale } = census(state);
  return current.serving + stale.serving > current.ready + stale.ready;
}

/** Slots that a living worker of this generation holds, whether told to go or not. */
export function heldSlots(state: State, generation: Generation): Set<number> {
  return new Set(state.workers.filter((worker) => worker.generation === generation).map((worker) => worker.slot));
}

/** How many ready workers readiness needs. */
export function quorum(state: State): number {
  const { readyMin, number } = state.config;
  switch (readyMin.kind) {
    case "count":
      return Math.min(readyMin.count, number);
    case "percent":
      return Math.ceil((number * readyMin.percent) / 100);
  }
}

export function readyCount(state: State): number {
  const { current, stale } = census(state);
  return current.ready + stale.ready;
}

export function isStopping(state: State): boolean {
  return state.mode.kind === "stopping" || state.mode.kind === "sweeping" || state.mode.kind === "gone";
}

/** What /readyz and `einhornsh ready` say. */
export function isPoolReady(state: State): boolean {
  return !isStopping(state) && readyCount(state) >= quorum(state);
}
