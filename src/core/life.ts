/** What a worker goes through: its ACK, its failure, its end. */
import * as messages from "./messages.ts";
import type { Backoff, Cause, Counters, Death, Event, Millis, Upgrade, Worker } from "./model.ts";
import { isStopping, readyCount, wasReady } from "./pool.ts";
import { without } from "./roster.ts";
import { log, random, set, setWorker, type Turn } from "./turn.ts";

/** Cap: a hundred workers that fail for one passing reason must not wait for hours once it has passed. */
export const backoffMaxMs = 30_000;
export const backoffFactor = 1.5;
/**
 * A new worker stands in for an old one when it has been ready for an eighth of the time that it took to its ACK, within these
 * bounds: one that ACKs and falls over at once must not cost an old one its place, and what is slow to start, or starts on a
 * busy machine, is slow to fall. Starts do not wait for it, so it is paid once an upgrade.
 */
export const settleMsMin = 30;
export const settleMsMax = 100;
/**
 * A release has proved itself once one of its workers has stood for `-s` after its ACK, or for this long where that is less: until then
 * a smooth upgrade tells no old worker to go. Starts do not wait for it either: what takes longer than this anyway takes no longer.
 */
export const proveMsMax = 750;
/** Deaths kept for `status`. */
export const maxRecentDeaths = 20;

/** Its ACK has come, in whatever way. Ends the streak of failures of its slot. */
export function becomeReady(turn: Turn, worker: Worker): void {
  const { state, now } = turn;
  const ackMs = now - worker.spawnedAt;
  setWorker(turn, worker.id, { phase: { kind: "ready", since: now }, ackMs });
  set(turn, {
    deathsInRow: 0,
    backoffs: state.backoffs.filter(
      (backoff) => backoff.slot !== worker.slot || backoff.generation !== worker.generation,
    ),
    counters: { ...state.counters, acks: state.counters.acks + 1, ackMsSum: state.counters.ackMsSum + ackMs },
  });
  const ready = readyCount(turn.state);
  log(turn, "info", `${messages.worker(worker)} is ready (${ready} of ${state.config.number})`, {
    slot: worker.slot,
    pid: worker.pid,
    generation: worker.generation,
    ackMs: Math.round(ackMs),
  });
}

/** How a worker can be gone. */
type Ending = Extract<Event, { kind: "exited" | "unspawned" }> | { kind: "lost" };

/** A worker is gone: what that means for its slot, for an upgrade under way, and for the exit code. */
export function bury(turn: Turn, worker: Worker, event: Ending): void {
  const cause = causeOf(event);
  const { state } = turn;
  set(turn, {
    workers: without(state.workers, worker),
    counters: counted(state.counters, cause),
  });
  const expected = worker.phase.kind === "told" || worker.phase.kind === "killed" || isStopping(state);
  const code = exitCodeOf(cause);
  if (!state.config.respawn && code !== 0 && state.exitCode === 0) set(turn, { exitCode: code });
  const exited = event.kind === "exited" ? event : { cpuMs: 0, maxRssBytes: 0, lastWords: null };
  const death = remember(turn, worker, cause, expected, exited);
  if (expected) log(turn, "info", messages.death(death) + messages.lastWords(death), fields(death));
  else fail(turn, worker, death);
}

/** Its zygote went before it forked, because the generation is over: as if it had never been ordered. */
export function callOff(turn: Turn, worker: Worker): void {
  const { workers, counters } = turn.state;
  set(turn, {
    workers: without(workers, worker),
    counters: { ...counters, starts: counters.starts - 1 },
  });
}

/** A worker that still lives but did not do what it should: counts as dead before its ACK. */
export function countFailure(turn: Turn, worker: Worker, cause: Cause): void {
  fail(turn, worker, remember(turn, worker, cause, false, { cpuMs: 0, maxRssBytes: 0, lastWords: null }));
}

function fail(turn: Turn, worker: Worker, death: Death): void {
  const { state, now } = turn;
  const backoff = nextBackoff(turn, worker, death);
  set(turn, {
    deathsInRow: death.wasReady ? state.deathsInRow : state.deathsInRow + 1,
    backoffs: [
      ...state.backoffs.filter((other) => other.slot !== worker.slot || other.generation !== worker.generation),
      backoff,
    ],
  });
  const { mode } = turn.state;
  if (
    mode.kind === "upgrading" &&
    worker.generation === state.generation &&
    speaksAgainst(turn, mode.upgrade, worker)
  ) {
    const upgrade = { ...mode.upgrade, deaths: mode.upgrade.deaths + 1, lastDeath: death };
    set(turn, { mode: { kind: "upgrading", upgrade } });
  }
  const next = state.config.respawn ? `; ${messages.nextSpawn(backoff.until - now)}` : "";
  log(
    turn,
    death.wasReady ? "info" : "error",
    `${messages.death(death)}${next}${messages.lastWords(death)}`,
    fields(death),
  );
}

/** Does this death of a new worker count as a failure of its release? An ACK followed by a quick death, or by one while it is watched, does. */
function speaksAgainst({ state, now }: Turn, upgrade: Upgrade, { phase }: Worker): boolean {
  if (phase.kind !== "ready" || !upgrade.canaryPassed) return true;
  return now - phase.since <= Math.max(settleMsMax, state.config.respawnMs);
}

/** At once when it had been up longer than `-s`; else `-s` after its last start, longer with each death before ACK. */
function nextBackoff(turn: Turn, worker: Worker, death: Death): Backoff {
  const { state, now } = turn;
  const before = state.backoffs.find(
    (backoff) => backoff.slot === worker.slot && backoff.generation === worker.generation,
  );
  const deaths = death.wasReady ? 0 : (before?.deaths ?? 0) + 1;
  const pauseMs = Math.min(backoffMaxMs, state.config.respawnMs * backoffFactor ** deaths);
  // A tenth of jitter once it fails in a row, so that slots that died together do not stay in step.
  const jittered = deaths === 0 ? pauseMs : pauseMs * (1 - random(turn) / 10);
  // An order to fork that was refused late was nobody's life.
  const lived = death.cause.kind !== "unspawned" && death.upMs > state.config.respawnMs;
  const until = lived ? now : worker.spawnedAt + jittered;
  return { slot: worker.slot, generation: worker.generation, deaths, until };
}

function remember(
  turn: Turn,
  worker: Worker,
  cause: Cause,
  expected: boolean,
  exited: { cpuMs: Millis; maxRssBytes: number; lastWords: string | null },
): Death {
  const death: Death = {
    pid: worker.pid,
    slot: worker.slot,
    generation: worker.generation,
    at: turn.now,
    upMs: turn.now - worker.spawnedAt,
    wasReady: wasReady(worker),
    expected,
    cause,
    cpuMs: exited.cpuMs,
    maxRssBytes: exited.maxRssBytes,
    // What one says that served and goes as it was told explains nothing.
    lastWords: expected && wasReady(worker) ? null : exited.lastWords,
  };
  set(turn, { recentDeaths: [...turn.state.recentDeaths, death].slice(-maxRecentDeaths) });
  return death;
}

function causeOf(event: Ending): Cause {
  if (event.kind === "lost") return event;
  if (event.kind === "unspawned") return { kind: "unspawned", errno: event.errno, syscall: event.syscall };
  if (event.signal !== null) return { kind: "signal", signal: event.signal, oom: event.oom };
  return { kind: "code", code: event.code ?? 0 };
}

/** The shell's rules: 127 not found, 126 not executable, 128 + signal. */
export function exitCodeOf(cause: Cause): number {
  switch (cause.kind) {
    case "code":
      return cause.code;
    case "signal":
      return 128 + (signalNumbers[cause.signal] ?? 0);
    case "unspawned":
      return cause.errno === "ENOENT" || cause.errno === "ENOTDIR" ? 127 : 126;
    case "unacked":
    case "lost":
      return 1;
  }
}

/** signal(7), the numbers of x86 and ARM. */
const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSYS: 31,
};

function counted(counters: Counters, cause: Cause): Counters {
  const { deaths } = counters;
  switch (cause.kind) {
    case "code":
      return {
        ...counters,
        deaths: cause.code === 0 ? { ...deaths, clean: deaths.clean + 1 } : { ...deaths, code: deaths.code + 1 },
      };
    case "signal":
      return {
        ...counters,
        deaths: cause.oom ? { ...deaths, oom: deaths.oom + 1 } : { ...deaths, signal: deaths.signal + 1 },
      };
    case "unspawned":
      return { ...counters, deaths: { ...deaths, unspawned: deaths.unspawned + 1 } };
    case "unacked":
    case "lost":
      return counters;
  }
}

function fields(death: Death): Record<string, string | number | boolean | null> {
  return {
    slot: death.slot,
    pid: death.pid,
    generation: death.generation,
    upMs: Math.round(death.upMs),
    ready: death.wasReady,
    cause: death.cause.kind === "signal" && death.cause.oom ? "oom" : death.cause.kind,
    code: death.cause.kind === "code" ? death.cause.code : null,
    signal: death.cause.kind === "signal" ? death.cause.signal : null,
  };
}
