/** The life of an upgrade after the re-exec: begin, fail, finish. The rules decide when; this file says what that means. */
import * as messages from "./messages.ts";
import type { Asker, Config, Generation, Launch, State, Upgrade, UpgradeRequest } from "./model.ts";
import { answer, log, progress, refuse, set, type Turn } from "./turn.ts";

/** Takes the next generation number. An upgrade that was under way starts over, and its askers get this one's answer. */
export function beginUpgrade(turn: Turn, request: UpgradeRequest, launch: Launch, askers: readonly Asker[]): void {
  const { state, now } = turn;
  const earlier = state.mode.kind === "upgrading" ? state.mode.upgrade : null;
  const to = state.lastGeneration + 1;
  const upgrade: Upgrade = {
    strategy: request.strategy,
    canary: request.canary,
    from: earlier?.from ?? state.generation,
    startedAt: now,
    deaths: 0,
    lastDeath: null,
    paused: false,
    soakingSince: null,
    canaryPassed: request.canary === null,
    askers: [...(earlier?.askers ?? []), ...askers],
  };
  set(turn, {
    mode: { kind: "upgrading", upgrade },
    generation: to,
    lastGeneration: to,
    // One in between that did not get through is not started again.
    launches: { ...only(state, upgrade.from), [to]: launch },
    backoffs: [],
    deathsInRow: 0,
  });
  announce(turn, upgrade, messages.upgradeStarted(upgrade.strategy, upgrade.from, to));
}

/** Goes back to the generation before. The rules then stop the new workers and fill up the old ones. */
export function failUpgrade(turn: Turn, upgrade: Upgrade, reason: string): void {
  const { state, now } = turn;
  const message = messages.upgradeFailed(reason) + messages.lastWords(upgrade.lastDeath);
  log(turn, "error", message, { generation: state.generation });
  for (const asker of upgrade.askers) refuse(turn, asker, message, { lastDeath: upgrade.lastDeath });
  set(turn, {
    mode: { kind: "running" },
    generation: upgrade.from,
    launches: only(state, upgrade.from),
    backoffs: state.backoffs.filter((backoff) => backoff.generation === upgrade.from),
    deathsInRow: 0,
    lastUpgrade: {
      generation: state.generation,
      strategy: upgrade.strategy,
      result: "failed",
      reason,
      tookMs: now - upgrade.startedAt,
    },
    counters: { ...state.counters, upgradesFailed: state.counters.upgradesFailed + 1 },
  });
}

export function finishUpgrade(turn: Turn, upgrade: Upgrade): void {
  const { state, now } = turn;
  const tookMs = now - upgrade.startedAt;
  log(turn, "info", messages.upgradeDone, { generation: state.generation, tookMs: Math.round(tookMs) });
  for (const asker of upgrade.askers)
    answer(turn, asker, messages.upgradeDone, { generation: state.generation, tookMs });
  set(turn, {
    mode: { kind: "running" },
    lastUpgrade: { generation: state.generation, strategy: upgrade.strategy, result: "done", reason: null, tookMs },
    launches: { [state.generation]: launchOf(state) },
    counters: {
      ...state.counters,
      upgradesDone: state.counters.upgradesDone + 1,
      upgradeMsSum: state.counters.upgradeMsSum + tookMs,
    },
  });
}

/** How many new workers are watched before the rest: no more than may run beside all the old ones, or none would ever pass. */
export function canaryCount({ number, maxUpgradeAdditional }: Config, { strategy, canary }: UpgradeRequest): number {
  const additional = strategy === "smooth" ? maxUpgradeAdditional : null;
  return Math.min(canary?.count ?? 0, number, additional ?? number);
}

/** To the log and to everybody who asked for this upgrade. */
export function announce(turn: Turn, upgrade: Upgrade, message: string): void {
  log(turn, "info", message, { generation: turn.state.generation });
  progress(turn, upgrade.askers, message);
}

export function setUpgrade(turn: Turn, upgrade: Upgrade): void {
  set(turn, { mode: { kind: "upgrading", upgrade } });
}

function only({ launches }: State, generation: Generation): State["launches"] {
  const launch = launches[generation];
  return launch === undefined ? {} : { [generation]: launch };
}

/** What workers of the wanted generation are started from. */
export function launchOf(state: State): Launch {
  const launch = state.launches[state.generation];
  if (launch === undefined) throw new Error(`[BUG] generation ${state.generation} has no launch`);
  return launch;
}
