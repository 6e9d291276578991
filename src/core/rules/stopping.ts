/** Rules of the way out: from the decision to stop to the exit. */
import { exitCodeOf } from "../life.ts";
import * as messages from "../messages.ts";
import type { Millis } from "../model.ts";
import { leavingWorkers, wasReady } from "../pool.ts";
import { enterStopping } from "../record.ts";
import { log, set, setWorker, type Turn, wake } from "../turn.ts";
import { tell } from "./tell.ts";

/** What still runs beside the workers when PID 1 exits gets this long between SIGTERM and SIGKILL. */
export const sweepMs = 2_000;

/** `--give-up-after`: the orchestrator shall see a crash loop, not we hide it. */
export function giveUp(turn: Turn): void {
  const { state, now } = turn;
  const { giveUpAfter } = state.config;
  if (giveUpAfter === null || state.mode.kind !== "running" || state.deathsInRow < giveUpAfter) return;
  const last = state.recentDeaths.at(-1);
  log(
    turn,
    "error",
    `Giving up: ${state.deathsInRow} deaths in a row before an ACK${last ? `; the last: ${messages.death(last)}${messages.lastWords(last)}` : ""}`,
  );
  enterStopping(turn, { signal: "graceful", tellAt: now, exitCode: last ? exitCodeOf(last.cause) || 1 : 1 });
}

/** While stopping, after the drain delay, every living worker has been told: also one born a moment ago. */
export function tellAll(turn: Turn): void {
  const { mode } = turn.state;
  if (mode.kind !== "stopping") return;
  if (turn.now < mode.tellAt) return wake(turn, mode.tellAt);
  tell(turn, () => true, mode.signal);
}

/** SIGKILL for whoever was told to go and did not, and for everybody at the end of the grace period. */
export function killOverdue(turn: Turn): void {
  const { mode } = turn.state;
  const graceEndsAt = mode.kind === "stopping" ? mode.killAt : null;
  const concerned = graceEndsAt === null ? leavingWorkers(turn.state) : turn.state.workers;
  const killed: string[] = [];
  for (const worker of concerned) {
    if (worker.pid === null || worker.phase.kind === "killed") continue;
    const dueAt = earliest(graceEndsAt, worker.phase.kind === "told" ? worker.phase.killAt : null);
    if (dueAt === null) continue;
    if (turn.now < dueAt) {
      wake(turn, dueAt);
      continue;
    }
    killed.push(messages.worker(worker));
    turn.effects.push({ kind: "signal", id: worker.id, pid: worker.pid, signal: "SIGKILL" });
    setWorker(turn, worker.id, { phase: { kind: "killed", since: turn.now, wasReady: wasReady(worker) } });
  }
  for (const name of killed) log(turn, "error", `${name} did not finish in time; sent SIGKILL`);
}

/** The last worker is gone: as PID 1 sweep what else runs, then exit. */
export function exitWhenEmpty(turn: Turn): void {
  const { state, now } = turn;
  const { mode } = state;
  if (mode.kind === "sweeping") {
    if (mode.killAt === null) return;
    if (now < mode.killAt) return wake(turn, mode.killAt);
    turn.effects.push({ kind: "signal-rest", signal: "SIGKILL" });
    return set(turn, { mode: { ...mode, killAt: null } });
  }
  if (mode.kind === "gone" || state.workers.length > 0) return;
  const ranOut = !state.config.respawn && mode.kind === "running" && state.counters.starts >= state.config.number;
  if (mode.kind !== "stopping" && !ranOut) return;
  const exitCode = (mode.kind === "stopping" ? mode.exitCode : null) ?? (state.config.respawn ? 0 : state.exitCode);
  if (!state.about.isPid1) {
    log(turn, "info", "All workers are gone; exiting", { code: exitCode });
    turn.effects.push({ kind: "exit", code: exitCode });
    return set(turn, { mode: { kind: "gone" } });
  }
  turn.effects.push({ kind: "signal-rest", signal: "SIGTERM" });
  const killAt = earliest(now + sweepMs, mode.kind === "stopping" ? mode.killAt : null);
  set(turn, { mode: { kind: "sweeping", killAt, exitCode } });
  wake(turn, killAt);
}

function earliest(a: Millis | null, b: Millis | null): Millis | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
