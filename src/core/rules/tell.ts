/** Telling workers to go: the one way in which the master parts with a worker that lives. */

import type { Worker } from "../model.ts";
import { isReady, isStopping } from "../pool.ts";
import { setWorkers, type Turn } from "../turn.ts";
import { hungKillMs } from "./recycling.ts";

/** Tells workers to go, once each. Returns how many were told. */
export function tell(turn: Turn, whom: (worker: Worker) => boolean, signal: string = "graceful"): number {
  let told = 0;
  setWorkers(turn, (worker) => {
    if ((worker.phase.kind !== "starting" && worker.phase.kind !== "ready") || worker.pid === null || !whom(worker))
      return worker;
    told += 1;
    turn.effects.push({ kind: "signal", id: worker.id, pid: worker.pid, signal });
    const ready = isReady(worker);
    const hungMs = ready || isStopping(turn.state) ? (worker.recycle?.killMs ?? null) : hungKillMs;
    const patience = turn.state.config.signalTimeoutMs ?? hungMs;
    return {
      ...worker,
      phase: { kind: "told", since: turn.now, wasReady: ready, killAt: patience === null ? null : turn.now + patience },
    };
  });
  return told;
}
