/** The whole core: write down what happened, then compare what there is with what is wanted. */
import type { Effect, Event, Millis, State } from "./model.ts";
import { reconcile } from "./reconcile.ts";
import { record } from "./record.ts";
import type { Turn } from "./turn.ts";

/**
 * Pure: the same state, event and time give the same answer. `wakeAt` is when to deliver `woke` at the latest; null is never,
 * undefined is as before: a question changed nothing, so what the rules said of this state still holds.
 */
export function step(
  state: State,
  event: Event,
  now: Millis,
): { state: State; effects: Effect[]; wakeAt: Millis | null | undefined } {
  const turn: Turn = { state, effects: [], now, wakeAt: null };
  record(turn, event);
  if (event.kind === "asked" && turn.state === state) return { state, effects: turn.effects, wakeAt: undefined };
  reconcile(turn);
  return { state: turn.state, effects: turn.effects, wakeAt: turn.wakeAt };
}
