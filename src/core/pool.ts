/** The words for asking about the pool of workers. Pure questions; nothing here changes anything. */
import type { Pid, State, Worker } from "./model.ts";
import { find, indexOf } from "./roster.ts";

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

export function byPid({ workers }: State, pid: Pid): Worker | undefined {
  return indexOf(workers).byPid.get(pid);
}

export function byId({ workers }: State, id: number): Worker | undefined {
  return find(workers, id);
}

/** Ordered or starting, of any generation, in order of ids. */
export function unackedWorkers({ workers }: State): readonly Worker[] {
  return indexOf(workers).unacked.slice();
}

/** Told to go or killed, and not gone yet, in order of ids. */
export function leavingWorkers({ workers }: State): readonly Worker[] {
  return indexOf(workers).leaving.slice();
}

/** What every rule wants to know of the pool. */
export interface Census {
  /** Of the wanted generation and not to be replaced. */
  current: { serving: number; ready: number; unacked: number };
  stale: { serving: number; ready: number };
  /** Alive in any way, those told to go included. */
  alive: number;
}

export function census({ workers, generation }: State): Census {
  const current = { serving: 0, ready: 0, unacked: 0 };
  const stale = { serving: 0, ready: 0 };
  for (const [of, { lasting, recycled }] of indexOf(workers).generations) {
    const side = of === generation ? current : stale;
    side.serving += lasting.serving;
    side.ready += lasting.ready;
    stale.serving += recycled.serving;
    stale.ready += recycled.ready;
  }
  current.unacked = current.serving - current.ready;
  return { current, stale, alive: workers.length };
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
