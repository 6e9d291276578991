/** Rules about ACKs that time decides. */
import { becomeReady, countFailure } from "../life.ts";
import { unackedWorkers } from "../pool.ts";
import { type Turn, wake } from "../turn.ts";
import { tell } from "./tell.ts";

/** `-m SECONDS`: a worker that has run this long counts as up. */
export function ackByTime(turn: Turn): void {
  const { ackMode } = turn.state.config;
  if (ackMode.kind !== "timer") return;
  for (const worker of unackedWorkers(turn.state)) {
    if (worker.phase.kind !== "starting") continue;
    const dueAt = worker.spawnedAt + ackMode.ms;
    if (turn.now >= dueAt) becomeReady(turn, worker);
    else wake(turn, dueAt);
  }
}

/** `--ack-timeout`: a worker not ready in time is stopped and counts as dead before its ACK. */
export function stopUnacked(turn: Turn): void {
  const { ackTimeoutMs } = turn.state.config;
  if (ackTimeoutMs === null) return;
  for (const worker of unackedWorkers(turn.state)) {
    if (worker.phase.kind !== "starting") continue;
    const dueAt = Math.max(worker.spawnedAt + ackTimeoutMs, worker.deadline ?? 0);
    if (turn.now < dueAt) {
      wake(turn, dueAt);
      continue;
    }
    countFailure(turn, worker, { kind: "unacked", afterMs: turn.now - worker.spawnedAt });
    tell(turn, (other) => other.id === worker.id);
  }
}
