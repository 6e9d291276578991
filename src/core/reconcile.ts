/**
 * The questions asked after every event, in this order: compare what there is with what is wanted.
 *
 * Each rule is a level, not an edge: it looks at the state alone and says what must be true now ("while stopping, every
 * living worker has been told"), so it does not matter which event came before, or whether a re-exec lay in between.
 * A rule that waits for a moment asks to be woken then (`wake`); there are no timers to lose.
 */

import { proveMsMax, settleMsMax, settleMsMin } from "./life.ts";
import * as messages from "./messages.ts";
import type { Worker } from "./model.ts";
import { census, isPoolReady, isReady, isServing, isStale, isStopping, readyCount } from "./pool.ts";
import { freeSlot, withAdded } from "./roster.ts";
import { ackByTime, stopUnacked } from "./rules/acks.ts";
import { recycleWorn } from "./rules/recycling.ts";
import { exitWhenEmpty, giveUp, killOverdue, tellAll } from "./rules/stopping.ts";
import { tell } from "./rules/tell.ts";
import { completeUpgrade, endHungCheck, executeWhenStarted, judgeUpgrade } from "./rules/upgrading.ts";
import { answer, log, random, set, type Turn, wake } from "./turn.ts";
import { announce, canaryCount, launchOf } from "./upgrade.ts";

/** The first workers of a smooth upgrade are started in so many steps, this far apart. */
export const firstSteps = 12;
export const stepMs = 4;

/** Those about how many workers run are below; the rest are in rules/, by what they are about. */
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
  executeWhenStarted,
  tellAll,
  killOverdue,
  exitWhenEmpty,
  noticeReady,
];

export function reconcile(turn: Turn): void {
  for (const rule of rules) rule(turn);
}

/**
 * Tells stale workers to go as far as capacity allows: ready workers never fall below `number` by our doing, or below
 * what there was. A fleet upgrade waits for the whole new generation. A stale worker that is not ready serves nobody.
 */
function retireStale(turn: Turn): void {
  const { state } = turn;
  if (isStopping(state)) return;
  const { current, stale } = census(state);
  if (stale.serving === 0) return;
  // A fleet upgrade is over at once, and asks for ACKs alone.
  const isFleet = state.mode.kind === "upgrading" && state.mode.upgrade.strategy === "fleet";
  const settled = isFleet ? current.ready : settledCurrent(turn);
  const isProven = state.mode.kind !== "upgrading" || isFleet || hasProved(turn);
  const complete = isProven && settled >= state.config.number;
  let spare = Math.max(0, settled + stale.ready - state.config.number);
  if (state.mode.kind === "upgrading") {
    const { upgrade } = state.mode;
    const held = !isProven || upgrade.paused || !upgrade.canaryPassed || (isFleet && !complete);
    // Held back, only what is too many without the new workers goes.
    if (held) spare = Math.max(0, stale.ready - state.config.number);
  }
  if (complete) spare = stale.ready;
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
    const message = messages.upgradeProgress(after.current.ready, turn.state.config.number, after.stale.serving);
    announce(turn, turn.state.mode.upgrade, message);
  }
}

/** Has one of the new workers stood for long enough? */
function hasProved(turn: Turn): boolean {
  const since = turn.state.workers.flatMap((worker) =>
    worker.phase.kind === "ready" && !isStale(turn.state, worker) ? [worker.phase.since] : [],
  );
  if (since.length === 0) return false;
  const dueAt = Math.min(...since) + Math.min(proveMsMax, turn.state.config.respawnMs);
  if (turn.now < dueAt) wake(turn, dueAt);
  return turn.now >= dueAt;
}

/** Ready workers of the wanted kind that have stood for long enough. */
function settledCurrent(turn: Turn): number {
  let settled = 0;
  for (const worker of turn.state.workers) {
    if (worker.phase.kind !== "ready" || isStale(turn.state, worker)) continue;
    const settleMs = Math.min(settleMsMax, Math.max(settleMsMin, (worker.ackMs ?? 0) / 8));
    const dueAt = worker.phase.since + settleMs;
    if (turn.now >= dueAt) settled += 1;
    else wake(turn, dueAt);
  }
  return settled;
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

/** Starts what is missing: lowest free slot first, each slot after its own backoff, within the limits. */
function spawnMissing(turn: Turn): void {
  const { state, now } = turn;
  if (isStopping(state) || state.handover?.phase === "executing") return;
  const wanted = allowedSpawns(turn);
  if (wanted <= 0) return;
  const { generation } = state;
  const waiting = new Map(
    state.backoffs
      .filter((backoff) => backoff.generation === generation && backoff.until > now)
      .map((b) => [b.slot, b]),
  );
  const launch = launchOf(state);
  const born: Worker[] = [];
  for (let slot = -1, open = wanted; open > 0; open -= 1) {
    slot = freeSlot(state.workers, generation, slot + 1);
    const backoff = waiting.get(slot);
    if (backoff !== undefined) wake(turn, backoff.until);
    else born.push(newWorker(turn, state.nextId + born.length, slot));
  }
  if (born.length === 0) return;
  const { counters } = turn.state;
  set(turn, {
    workers: withAdded(turn.state.workers, born),
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
      missing = canaryCount(config, upgrade) - count.current.serving;
    }
    // A pause stops the replacing, not the care for capacity.
    if (upgrade.paused) missing = Math.min(missing, config.number - count.current.serving - count.stale.serving);
    unackedLimit = upgrade.strategy === "fleet" ? Number.POSITIVE_INFINITY : (config.maxUnacked ?? config.cpus);
    if (upgrade.strategy === "smooth") {
      if (config.maxUpgradeAdditional !== null) {
        missing = Math.min(missing, config.number + config.maxUpgradeAdditional - count.alive);
      }
      missing = Math.min(missing, inStep(turn, unackedLimit));
    }
  }
  return Math.min(missing, unackedLimit - count.current.unacked);
}

/**
 * The first starts of a smooth upgrade are a moment apart, and so are then the ACKs, the starts that follow from them, and the ends of
 * the old workers: at no time do many of these take the CPUs from those who serve. It costs the upgrade `firstSteps` times `stepMs` once.
 */
function inStep(turn: Turn, atOnce: number): number {
  const newest = Math.max(...turn.state.workers.map((worker) => (isStale(turn.state, worker) ? 0 : worker.spawnedAt)));
  if (turn.now >= newest + stepMs) return Math.ceil(atOnce / firstSteps);
  wake(turn, newest + stepMs);
  return 0;
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
