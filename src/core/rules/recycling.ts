/** Rules about workers that have run too long or grown too big. */

import * as messages from "../messages.ts";
import type { Worker } from "../model.ts";
import { isReady, isServing } from "../pool.ts";
import { log, set, setWorker, type Turn, wake } from "../turn.ts";

/** How often worker memory is looked at where --max-rss is on. */
export const measureEveryMs = 5_000;

/** A worker that never was ready, or that hangs, has no requests to finish: told to go it gets this long, even without -t. */
export const hungKillMs = 10_000;

/** `--max-rss`, `--max-age`, watchdog: marks one worker at a time; its replacement is ready before it goes. */
export function recycleWorn(turn: Turn): void {
  const { state, now } = turn;
  const { config } = state;
  if (state.mode.kind !== "running") return;
  if (config.maxRssBytes === null && config.maxAgeMs === null && config.watchdogMs === null) return;
  if (config.maxRssBytes !== null) {
    if (state.measureAt === null || now >= state.measureAt) {
      const pids = state.workers.flatMap((worker) => (isReady(worker) && worker.pid !== null ? [worker.pid] : []));
      if (pids.length > 0) turn.effects.push({ kind: "measure", pids });
      set(turn, { measureAt: now + measureEveryMs });
    }
    wake(turn, turn.state.measureAt);
  }
  if (state.workers.some((worker) => isServing(worker) && worker.recycle !== null)) return;
  for (const worker of state.workers) {
    if (!isReady(worker)) continue;
    const recycle = wornOut(turn, worker);
    if (recycle === null) continue;
    log(turn, "info", `${messages.worker(worker)} will be replaced: ${recycle.reason}`, {
      slot: worker.slot,
      pid: worker.pid,
    });
    return setWorker(turn, worker.id, { recycle });
  }
}

function wornOut(turn: Turn, worker: Worker): Worker["recycle"] {
  const { config } = turn.state;
  if (config.maxRssBytes !== null && worker.rssBytes !== null && worker.rssBytes > config.maxRssBytes) {
    return { reason: `it uses ${Math.round(worker.rssBytes / 2 ** 20)} MiB of memory`, killMs: null };
  }
  if (worker.maxAgeAt !== null) {
    if (turn.now >= worker.maxAgeAt)
      return { reason: `it has run for ${messages.duration(turn.now - worker.spawnedAt)}`, killMs: null };
    wake(turn, worker.maxAgeAt);
  }
  if (config.watchdogMs !== null && config.ackMode.kind === "notify") {
    const dueAt =
      (worker.watchdogAt ?? (worker.phase.kind === "ready" ? worker.phase.since : turn.now)) + config.watchdogMs;
    if (turn.now >= dueAt) {
      return { reason: `it sent no WATCHDOG=1 for ${messages.duration(config.watchdogMs)}`, killMs: hungKillMs };
    }
    wake(turn, dueAt);
  }
  return null;
}
