/**
 * The questions asked after every event, in this order: compare what there is with what is wanted.
 *
 * Each rule is a level, not an edge: it looks at the state alone and says what must be true now ("while stopping, every
 * living worker has been told"), so it does not matter which event came before, or whether a re-exec lay in between.
 * A rule that waits for a moment asks to be woken then (`wake`); there are no timers to lose.
 */

import { becomeReady, countFailure, exitCodeOf } from "./life.ts";
import * as messages from "./messages.ts";
import type { Millis, Worker } from "./model.ts";
import {
  census,
  heldSlots,
  isPoolReady,
  isReady,
  isServing,
  isStale,
  isStopping,
  readyCount,
  wasReady,
} from "./pool.ts";
import { answer, log, random, set, setWorker, setWorkers, type Turn, wake } from "./turn.ts";
import { announce, failUpgrade, finishUpgrade, launchOf, setUpgrade } from "./upgrade.ts";

/** A new image that has not proved itself by then is not going to; the old one goes on. */
export const checkTimeoutMs = 30_000;
/** A worker that never was ready, or that hangs, has no requests to finish: told to go it gets this long, even without -t. */
export const hungKillMs = 10_000;
/** What still runs beside the workers when PID 1 exits gets this long between SIGTERM and SIGKILL. */
export const sweepMs = 2_000;
/** How often worker memory is looked at where --max-rss is on. */
export const measureEveryMs = 5_000;

const rules: readonly ((turn: Turn) => void)[] = [
  ackByTime,
  stopUnacked,
  endHungCheck,
  judgeUpgrade,
  retireStale,
  retireExcess,
  recycleWorn,
  completeUpgrade,
  giveUp,
  spawnMissing,
  tellAll,
  killOverdue,
  exitWhenEmpty,
  noticeReady,
];

export function reconcile(turn: Turn): void {
  for (const rule of rules) rule(turn);
}

/** `-m SECONDS`: a worker that has run this long counts as up. */
function ackByTime(turn: Turn): void {
  const { ackMode } = turn.state.config;
  if (ackMode.kind !== "timer") return;
  for (const worker of turn.state.workers) {
    if (worker.phase.kind !== "starting") continue;
    const dueAt = worker.spawnedAt + ackMode.ms;
    if (turn.now >= dueAt) becomeReady(turn, worker);
    else wake(turn, dueAt);
  }
}

/** `--ack-timeout`: a worker not ready in time is stopped and counts as dead before its ACK. */
function stopUnacked(turn: Turn): void {
  const { ackTimeoutMs } = turn.state.config;
  if (ackTimeoutMs === null) return;
  for (const worker of turn.state.workers) {
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

function endHungCheck(turn: Turn): void {
  const { handover } = turn.state;
  if (handover?.phase !== "checking") return;
  const dueAt = handover.startedAt + checkTimeoutMs;
  if (turn.now < dueAt) return wake(turn, dueAt);
  // The check's end comes back as `checked`, with the reason that the shell gives.
  turn.effects.push({ kind: "end-check" });
}

/** Watches the canaries, and fails an upgrade whose new workers die or that takes too long. */
function judgeUpgrade(turn: Turn): void {
  const { state, now } = turn;
  if (state.mode.kind !== "upgrading") return;
  const { upgrade } = state.mode;
  const { config } = state;
  const { current } = census(state);
  if (upgrade.deaths >= config.upgradeMaxDeaths) return failUpgrade(turn, upgrade, messages.upgradeDied(upgrade));
  if (config.upgradeTimeoutMs !== null && !upgrade.paused) {
    const dueAt = upgrade.startedAt + config.upgradeTimeoutMs;
    if (now >= dueAt) {
      return failUpgrade(
        turn,
        upgrade,
        messages.upgradeTimedOut(upgrade, config.upgradeTimeoutMs, current.ready, config.number),
      );
    }
    wake(turn, dueAt);
  }
  if (upgrade.canary === null || upgrade.canaryPassed) return;
  const { count, soakMs } = upgrade.canary;
  if (upgrade.deaths > 0) return failUpgrade(turn, upgrade, messages.upgradeDied(upgrade));
  if (current.ready < Math.min(count, config.number)) return;
  if (upgrade.soakingSince === null) {
    setUpgrade(turn, { ...upgrade, soakingSince: now });
    announce(turn, upgrade, messages.canarySoaking(count, soakMs));
    return wake(turn, now + soakMs);
  }
  const dueAt = upgrade.soakingSince + soakMs;
  if (now < dueAt) return wake(turn, dueAt);
  setUpgrade(turn, { ...upgrade, canaryPassed: true });
  announce(turn, upgrade, messages.canaryPassed);
}

/**
 * Tells stale workers to go as far as capacity allows: ready workers never fall below `number` by our doing, or below
 * what there was. A fleet upgrade waits for the whole new generation. A stale worker that is not ready serves nobody.
 */
function retireStale(turn: Turn): void {
  const { state } = turn;
  if (isStopping(state)) return;
  const count = census(state);
  if (count.stale.serving === 0) return;
  const complete = count.current.ready >= state.config.number;
  let spare = Math.max(0, count.current.ready + count.stale.ready - state.config.number);
  if (state.mode.kind === "upgrading") {
    const { upgrade } = state.mode;
    const held = upgrade.paused || !upgrade.canaryPassed || (upgrade.strategy === "fleet" && !complete);
    // Held back, only what is too many without the new workers goes.
    if (held) spare = Math.max(0, count.stale.ready - state.config.number);
  }
  if (complete) spare = count.stale.ready;
  // Oldest generation first: after an upgrade that started over, the one in between is the closer to what is wanted.
  const ready = state.workers.filter((worker) => isReady(worker) && isStale(state, worker));
  const going = new Set(
    ready
      .sort((a, b) => a.generation - b.generation || a.id - b.id)
      .slice(0, spare)
      .map((worker) => worker.id),
  );
  const told = tell(
    turn,
    (worker) => going.has(worker.id) || (worker.phase.kind === "starting" && isStale(turn.state, worker)),
  );
  if (told > 0 && turn.state.mode.kind === "upgrading") {
    const after = census(turn.state);
    announce(
      turn,
      turn.state.mode.upgrade,
      messages.upgradeProgress(after.current.ready, turn.state.config.number, after.stale.serving),
    );
  }
}

/** More than `number`: those that serve nobody yet go first, then the highest slots. */
function retireExcess(turn: Turn): void {
  const { state } = turn;
  if (isStopping(state)) return;
  const excess = census(state).current.serving - state.config.number;
  if (excess <= 0) return;
  const current = state.workers.filter((worker) => isServing(worker) && !isStale(state, worker));
  current.sort((a, b) => Number(isReady(a)) - Number(isReady(b)) || b.slot - a.slot);
  const going = new Set(current.slice(0, excess).map((worker) => worker.id));
  tell(turn, (worker) => going.has(worker.id));
}

/** `--max-rss`, `--max-age`, watchdog: marks one worker at a time; its replacement is ready before it goes. */
function recycleWorn(turn: Turn): void {
  const { state, now } = turn;
  const { config } = state;
  if (state.mode.kind !== "running") return;
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

/** Done when the new generation is fully ready and every old worker has been told to go. */
function completeUpgrade(turn: Turn): void {
  const { state } = turn;
  if (state.mode.kind !== "upgrading" || !state.mode.upgrade.canaryPassed) return;
  const { current, stale } = census(state);
  if (current.ready >= state.config.number && stale.serving === 0) finishUpgrade(turn, state.mode.upgrade);
}

/** Starts what is missing: lowest free slot first, each slot after its own backoff, within the limits. */
function spawnMissing(turn: Turn): void {
  const { state, now } = turn;
  if (isStopping(state) || state.handover?.phase === "executing") return;
  const wanted = allowedSpawns(turn);
  if (wanted <= 0) return;
  const { generation } = state;
  const held = heldSlots(state, generation);
  const waiting = new Map(
    state.backoffs
      .filter((backoff) => backoff.generation === generation && backoff.until > now)
      .map((b) => [b.slot, b]),
  );
  const launch = launchOf(state);
  const born: Worker[] = [];
  for (let slot = 0, open = wanted; open > 0; slot += 1) {
    if (held.has(slot)) continue;
    open -= 1;
    const backoff = waiting.get(slot);
    if (backoff !== undefined) wake(turn, backoff.until);
    else born.push(newWorker(turn, state.nextId + born.length, slot));
  }
  if (born.length === 0) return;
  const { counters } = turn.state;
  set(turn, {
    workers: [...turn.state.workers, ...born],
    nextId: state.nextId + born.length,
    counters: { ...counters, starts: counters.starts + born.length },
  });
  for (const { id, slot } of born) turn.effects.push({ kind: "spawn", id, slot, generation, launch });
}

/** How many workers may be started in this turn. */
function allowedSpawns(turn: Turn): number {
  const { state } = turn;
  const { config, mode } = state;
  const count = census(state);
  let missing = config.number - count.current.serving;
  let unackedLimit = config.maxUnacked ?? Number.POSITIVE_INFINITY;
  if (!config.respawn) missing = Math.min(missing, config.number - state.counters.starts);
  if (mode.kind === "upgrading") {
    const { upgrade } = mode;
    if (upgrade.canary !== null && !upgrade.canaryPassed) {
      missing = Math.min(config.number, upgrade.canary.count) - count.current.serving;
    }
    // A pause stops the replacing, not the care for capacity.
    if (upgrade.paused) missing = Math.min(missing, config.number - count.current.serving - count.stale.serving);
    unackedLimit = upgrade.strategy === "fleet" ? Number.POSITIVE_INFINITY : (config.maxUnacked ?? config.cpus);
    if (upgrade.strategy === "smooth" && config.maxUpgradeAdditional !== null) {
      missing = Math.min(missing, config.number + config.maxUpgradeAdditional - count.alive);
    }
  }
  return Math.min(missing, unackedLimit - count.current.unacked);
}

function newWorker(turn: Turn, id: number, slot: number): Worker {
  const { maxAgeMs } = turn.state.config;
  return {
    id,
    pid: null,
    slot,
    generation: turn.state.generation,
    spawnedAt: turn.now,
    phase: { kind: "spawning" },
    recycle: null,
    signals: [],
    pinged: null,
    status: null,
    deadline: null,
    watchdogAt: null,
    // A quarter of jitter, so that workers born together do not age together.
    maxAgeAt: maxAgeMs === null ? null : turn.now + maxAgeMs * (1 - random(turn) / 4),
    ackMs: null,
    rssBytes: null,
  };
}

/** `--give-up-after`: the orchestrator shall see a crash loop, not we hide it. */
function giveUp(turn: Turn): void {
  const { state, now } = turn;
  const { giveUpAfter } = state.config;
  if (giveUpAfter === null || state.mode.kind !== "running" || state.deathsInRow < giveUpAfter) return;
  const last = state.recentDeaths.at(-1);
  log(
    turn,
    "error",
    `Giving up: ${state.deathsInRow} deaths in a row before an ACK${last ? `; the last: ${messages.death(last)}` : ""}`,
  );
  turn.effects.push({ kind: "announce", state: "STOPPING=1" });
  set(turn, {
    mode: {
      kind: "stopping",
      since: now,
      signal: "graceful",
      tellAt: now,
      killAt: graceEnd(turn),
      exitCode: last ? exitCodeOf(last.cause) || 1 : 1,
      requests: 1,
    },
  });
}

/** While stopping, after the drain delay, every living worker has been told: also one born a moment ago. */
function tellAll(turn: Turn): void {
  const { mode } = turn.state;
  if (mode.kind !== "stopping") return;
  if (turn.now < mode.tellAt) return wake(turn, mode.tellAt);
  tell(turn, () => true, mode.signal);
}

/** SIGKILL for whoever was told to go and did not, and for everybody at the end of the grace period. */
function killOverdue(turn: Turn): void {
  const { mode } = turn.state;
  const graceEndsAt = mode.kind === "stopping" ? mode.killAt : null;
  const killed: string[] = [];
  setWorkers(turn, (worker) => {
    if (worker.pid === null || worker.phase.kind === "killed") return worker;
    const dueAt = earliest(graceEndsAt, worker.phase.kind === "told" ? worker.phase.killAt : null);
    if (dueAt === null) return worker;
    if (turn.now < dueAt) {
      wake(turn, dueAt);
      return worker;
    }
    killed.push(messages.worker(worker));
    turn.effects.push({ kind: "signal", id: worker.id, pid: worker.pid, signal: "SIGKILL" });
    return { ...worker, phase: { kind: "killed", since: turn.now, wasReady: wasReady(worker) } };
  });
  for (const name of killed) log(turn, "error", `${name} did not finish in time; sent SIGKILL`);
}

/** The last worker is gone: as PID 1 sweep what else runs, then exit. */
function exitWhenEmpty(turn: Turn): void {
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

/** Remembers the first time that all were ready, and answers whoever waits for readiness. */
function noticeReady(turn: Turn): void {
  const { state } = turn;
  if (!state.started && state.mode.kind === "running" && readyCount(state) >= state.config.number) {
    set(turn, { started: true });
    log(turn, "info", `All ${state.config.number} workers are ready`);
    turn.effects.push({ kind: "announce", state: "READY=1" });
  }
  if (state.waiters.length === 0 || state.handover !== null || state.mode.kind !== "running" || !isPoolReady(state))
    return;
  for (const asker of state.waiters)
    answer(turn, asker, `Ready: ${readyCount(state)} of ${state.config.number} workers`);
  set(turn, { waiters: [] });
}

/** Tells workers to go, once each. Returns how many were told. */
function tell(turn: Turn, whom: (worker: Worker) => boolean, signal: string = "graceful"): number {
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

function graceEnd(turn: Turn): Millis | null {
  const { gracePeriodMs } = turn.state.config;
  return gracePeriodMs === null ? null : turn.now + gracePeriodMs;
}

function earliest(a: Millis | null, b: Millis | null): Millis | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}
