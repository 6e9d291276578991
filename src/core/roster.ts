/**
 * Lists of workers, and what is asked of them after every event, without looking through a thousand of them for the death of one.
 *
 * A list is never changed in place: the functions below give the next one. There is one index, of the list that was asked or
 * changed last, and it moves on with each change; any other list (an old one, or one from a document) is counted afresh when
 * it is asked. So the index only ever repeats what its list says, and the core stays pure. Workers stand in the order of their ids.
 */
import type { Generation, Pid, Worker } from "./model.ts";

export type Workers = readonly Worker[];

/** Workers of one generation. `lasting` are those that are not to be replaced. */
export interface GenerationCount {
  lasting: { serving: number; ready: number };
  recycled: { serving: number; ready: number };
  /** Slots held, whether told to go or not, and how often: two only if something went wrong. */
  readonly slots: Map<number, number>;
  /** No slot below this one is free. */
  lowestFree: number;
}

export interface Index {
  readonly byPid: Map<Pid, Worker>;
  /** In order of ids: ordered or starting. */
  readonly unacked: Worker[];
  /** In order of ids: told to go, or killed. */
  readonly leaving: Worker[];
  readonly generations: Map<Generation, GenerationCount>;
}

let newest: { workers: Workers; index: Index } | null = null;

export function indexOf(workers: Workers): Index {
  if (newest?.workers === workers) return newest.index;
  const index = { byPid: new Map(), unacked: [], leaving: [], generations: new Map() };
  for (const worker of workers) enter(index, worker);
  newest = { workers, index };
  return index;
}

/** The worker of this id, or undefined. */
export function find(workers: Workers, id: number): Worker | undefined {
  const worker = workers[position(workers, id)];
  return worker?.id === id ? worker : undefined;
}

/** The list with `worker` in the place of the one of its id, which must be there. */
export function withReplaced(workers: Workers, worker: Worker): Workers {
  const at = position(workers, worker.id);
  const next = workers.with(at, worker);
  const index = take(workers, next);
  if (index !== undefined) {
    leave(index, workers[at] as Worker);
    enter(index, worker);
  }
  return next;
}

export function without(workers: Workers, worker: Worker): Workers {
  const next = workers.toSpliced(position(workers, worker.id), 1);
  const index = take(workers, next);
  if (index !== undefined) leave(index, worker);
  return next;
}

/** `born` have ids above all that there are. */
export function withAdded(workers: Workers, born: readonly Worker[]): Workers {
  const next = workers.toSpliced(workers.length, 0, ...born);
  const index = take(workers, next);
  if (index !== undefined) for (const worker of born) enter(index, worker);
  return next;
}

/** The lowest slot from `from` on that no worker of this generation holds. */
export function freeSlot(workers: Workers, generation: Generation, from: number): number {
  const count = indexOf(workers).generations.get(generation);
  if (count === undefined) return from;
  while (count.slots.has(count.lowestFree)) count.lowestFree += 1;
  let slot = Math.max(from, count.lowestFree);
  while (count.slots.has(slot)) slot += 1;
  return slot;
}

/** The index goes on to the next list. */
function take(workers: Workers, next: Workers): Index | undefined {
  if (newest?.workers !== workers) return undefined;
  newest.workers = next;
  return newest.index;
}

function enter(index: Index, worker: Worker): void {
  if (worker.pid !== null) index.byPid.set(worker.pid, worker);
  const count = countOf(index, worker.generation);
  count.slots.set(worker.slot, (count.slots.get(worker.slot) ?? 0) + 1);
  const side = worker.recycle === null ? count.lasting : count.recycled;
  switch (worker.phase.kind) {
    case "spawning":
    case "starting":
      side.serving += 1;
      return insert(index.unacked, worker);
    case "ready":
      side.serving += 1;
      side.ready += 1;
      return;
    case "told":
    case "killed":
      return insert(index.leaving, worker);
  }
}

function leave(index: Index, worker: Worker): void {
  if (worker.pid !== null && index.byPid.get(worker.pid) === worker) index.byPid.delete(worker.pid);
  const count = countOf(index, worker.generation);
  const holders = (count.slots.get(worker.slot) ?? 1) - 1;
  if (holders > 0) count.slots.set(worker.slot, holders);
  else count.slots.delete(worker.slot);
  if (holders === 0) count.lowestFree = Math.min(count.lowestFree, worker.slot);
  const side = worker.recycle === null ? count.lasting : count.recycled;
  switch (worker.phase.kind) {
    case "spawning":
    case "starting":
      side.serving -= 1;
      index.unacked.splice(position(index.unacked, worker.id), 1);
      break;
    case "ready":
      side.serving -= 1;
      side.ready -= 1;
      break;
    case "told":
    case "killed":
      index.leaving.splice(position(index.leaving, worker.id), 1);
  }
  if (count.slots.size === 0) index.generations.delete(worker.generation);
}

function countOf({ generations }: Index, generation: Generation): GenerationCount {
  let count = generations.get(generation);
  if (count === undefined) {
    count = {
      lasting: { serving: 0, ready: 0 },
      recycled: { serving: 0, ready: 0 },
      slots: new Map(),
      lowestFree: 0,
    };
    generations.set(generation, count);
  }
  return count;
}

function insert(list: Worker[], worker: Worker): void {
  list.splice(position(list, worker.id), 0, worker);
}

/** Where the worker of this id stands, or would. Mostly it is one of the newest. */
function position(workers: Workers, id: number): number {
  let low = 0;
  let high = workers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((workers[middle] as Worker).id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
