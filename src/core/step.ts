/** The whole core: write down what happened, then compare what there is with what is wanted. */
import type { Effect, Event, Millis, State } from "./model.ts";
import { reconcile } from "./reconcile.ts";
import { record } from "./record.ts";
import type { Turn } from "./turn.ts";

/** Pure: the same state, event and time give the same answer. `wakeAt` is when to deliver `woke` at the latest; null is never. */
export function step(
  state: State,
  event: Event,
  now: Millis,
): { state: State; effects: Effect[]; wakeAt: Millis | null } {
  const turn: Turn = { state, effects: [], now, wakeAt: null };
  record(turn, event);
  reconcile(turn);
  return { state: turn.state, effects: turn.effects, wakeAt: turn.wakeAt };
}
