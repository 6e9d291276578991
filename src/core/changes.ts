/**
 * What changed between two states, part by part. States are never changed in place, so what is the same object is the same:
 * one worker's death among a thousand costs a thousand comparisons of pointers and writes one worker.
 */
import { handoverFormat } from "./handover.ts";
import type { State, Worker } from "./model.ts";

/** A part that changed, or that is gone (system/journal.ts). */
export type Change = readonly [name: string, value: unknown] | readonly [name: string];

/** The parts of `next` that `before` does not have as they are; all of them where there was nothing before. */
export function changesBetween(before: State | null, next: State): Change[] {
  const changes: Change[] = [];
  for (const key of Object.keys(next) as (keyof State)[]) {
    if (key !== "workers" && next[key] !== before?.[key]) changes.push([`core/${key}`, next[key]]);
  }
  if (next.workers !== before?.workers) compareWorkers(before?.workers ?? [], next.workers, changes);
  return changes;
}

/**
 * Both lists are in the order of ids: workers are appended and never moved. What stands at both ends of both is passed over
 * by pointer, which is most of it.
 */
function compareWorkers(before: readonly Worker[], next: readonly Worker[], changes: Change[]): void {
  const shorter = Math.min(before.length, next.length);
  let same = 0;
  while (same < shorter && before[same] === next[same]) same += 1;
  let beforeEnd = before.length;
  let nextEnd = next.length;
  for (; beforeEnd > same && nextEnd > same && before[beforeEnd - 1] === next[nextEnd - 1]; beforeEnd -= 1)
    nextEnd -= 1;
  let index = same;
  for (let at = same; at < nextEnd; at += 1) {
    const worker = next[at] as Worker;
    if (before[index] === worker) {
      index += 1;
      continue;
    }
    let other = before[index];
    for (; other !== undefined && index < beforeEnd && other.id < worker.id; other = before[index]) {
      changes.push([`worker/${other.id}`]);
      index += 1;
    }
    if (other !== worker) changes.push([`worker/${worker.id}`, worker]);
    if (other?.id === worker.id) index += 1;
  }
  for (; index < beforeEnd; index += 1) changes.push([`worker/${before[index]?.id}`]);
}

/** The document that the parts make, for decodeState. */
export function documentOf(parts: ReadonlyMap<string, unknown>): { format: number; core: Record<string, unknown> } {
  const core: Record<string, unknown> = {};
  const workers: Worker[] = [];
  for (const [name, value] of parts) {
    if (name.startsWith("core/")) core[name.slice(5)] = value;
    else if (name.startsWith("worker/")) workers.push(value as Worker);
  }
  workers.sort((a, b) => a.id - b.id);
  return { format: handoverFormat, core: { ...core, workers } };
}
