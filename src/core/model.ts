/**
 * The words of the core: what the master knows (State). What can happen and what it can order is in events.ts.
 *
 * Everything here is plain data that survives JSON: a re-exec writes it down and reads it back (handover.ts).
 * Times are monotonic milliseconds (CLOCK_MONOTONIC: one clock for all processes, unaffected by a re-exec).
 */
export type Millis = number;
export type Pid = number;
/** A signal's name as in signal(7): "SIGTERM". Real-time signals are "SIGRTMIN+n". */
export type Signal = string;
/** Which version of the workers' code: every upgrade takes the next number, also one that fails. */
export type Generation = number;
/** A connection to the command socket; numbers are never used twice in a master's life, re-execs included. */
export type ConnectionId = number;

/** How a worker's ACK comes: by time alone, by `worker:ack` on the command socket, or by sd_notify's READY=1. */
export type AckMode = { kind: "timer"; ms: Millis } | { kind: "manual" } | { kind: "notify" };

/** Ready workers that readiness needs: a count, or a share of `number`. */
export type Quorum = { kind: "count"; count: number } | { kind: "percent"; percent: number };

/** What the operator wants of the pool. `null` is "off" or "no limit". All may change while the master runs. */
export interface Config {
  number: number;
  ackMode: AckMode;
  /** `-s`: a worker that lived longer than this is replaced at once, else this long after its last start. */
  respawnMs: Millis;
  /** `-l`: listen backlog of every bound socket that names none of its own. */
  backlog: number;
  /** `--max-unacked`: null is all at once on the first fill, `cpus` during a smooth upgrade. */
  maxUnacked: number | null;
  /** CPUs this container may use: the pace of a smooth upgrade where nothing else is said. */
  cpus: number;
  maxUpgradeAdditional: number | null;
  signalTimeoutMs: Millis | null;
  ackTimeoutMs: Millis | null;
  gracefulSignal: Signal | "auto";
  drainDelayMs: Millis;
  gracePeriodMs: Millis | null;
  readyMin: Quorum;
  upgradeTimeoutMs: Millis | null;
  upgradeMaxDeaths: number;
  giveUpAfter: number | null;
  /** False with `--no-respawn`: each slot runs once, the master exits with the first failure. */
  respawn: boolean;
  maxRssBytes: number | null;
  maxAgeMs: Millis | null;
  watchdogMs: Millis | null;
  /** Log lines from this level up: -v and `louder`, -q and `quieter` move it. */
  verbosity: Level;
}

export type Level = "debug" | "info" | "error";

/** What a worker of one generation is started from. A rollback starts workers from the old generation's launch. */
export interface Launch {
  argv: readonly string[];
  cwd: string;
  env: Readonly<Record<string, string>>;
}

/** Where a worker is in its life. `told` and `killed` remember whether it had been ready, for the reports. */
export type Phase =
  | { kind: "spawning" }
  | { kind: "starting" }
  | { kind: "ready"; since: Millis }
  | { kind: "told"; since: Millis; wasReady: boolean; killAt: Millis | null }
  | { kind: "killed"; since: Millis; wasReady: boolean };

export interface Worker {
  /** Identity from order to grave: the pid is not known when the spawn is ordered, and pids are used again. */
  id: number;
  pid: Pid | null;
  slot: number;
  generation: Generation;
  spawnedAt: Millis;
  phase: Phase;
  /** To be replaced by one of its own generation (`--max-rss`, `--max-age`, watchdog); null: no. Told to go, it has `killMs`. */
  recycle: { reason: string; killMs: Millis | null } | null;
  /** Signals the master sent it, oldest first, for `state`. */
  signals: readonly { signal: Signal; at: Millis }[];
  pinged: { at: Millis; requestId: string | null } | null;
  /** STATUS= of sd_notify. */
  status: string | null;
  /** Later than the ACK timeout where sd_notify's EXTEND_TIMEOUT_USEC asked for it. */
  deadline: Millis | null;
  /** When it last said WATCHDOG=1. */
  watchdogAt: Millis | null;
  maxAgeAt: Millis | null;
  ackMs: Millis | null;
  rssBytes: number | null;
}

/** Why a slot waits before its next start. One bad slot does not slow the others. */
export interface Backoff {
  slot: number;
  generation: Generation;
  /** Deaths in a row before ACK. */
  deaths: number;
  /** Not started before this. */
  until: Millis;
}

/** How one worker ended, kept for `status` and for the reason of a failed upgrade. */
export interface Death {
  pid: Pid | null;
  slot: number;
  generation: Generation;
  at: Millis;
  upMs: Millis;
  wasReady: boolean;
  /** True when the master had told it to go: not a failure. */
  expected: boolean;
  cause: Cause;
  cpuMs: Millis;
  maxRssBytes: number;
  /** Last lines it wrote to stderr, with --capture-stderr. */
  lastWords: string | null;
}

export type Cause =
  | { kind: "code"; code: number }
  | { kind: "signal"; signal: Signal; oom: boolean }
  | { kind: "unspawned"; errno: string; syscall: string }
  /** Stopped by the master because no ACK came in time. */
  | { kind: "unacked"; afterMs: Millis }
  /** It ended while the master itself was restarting after a crash: how, nobody saw. */
  | { kind: "lost" };

/** What the shell knows and `state` shows: fixed for one image. */
export interface About {
  pid: Pid;
  version: string;
  commandName: string | null;
  socketPath: string;
  argv: readonly string[];
  binds: readonly BoundSocket[];
  isPid1: boolean;
  preload: { path: string; active: boolean; reason: string | null } | null;
}

export interface BoundSocket {
  /** As typed after -b. */
  text: string;
  /** What was bound: the port that the kernel chose instead of 0. */
  address: string;
  family: "AF_INET" | "AF_INET6" | "AF_UNIX";
  port: number | null;
  /** The descriptor that a worker finds it at. */
  workerFd: number;
}

/** Who asked, and how to answer: a connection and the id that its request carried (null: none). */
export interface Asker {
  connection: ConnectionId;
  requestId: string | number | null;
}

export type Strategy = "smooth" | "fleet";

export interface UpgradeRequest {
  strategy: Strategy;
  canary: { count: number; soakMs: Millis } | null;
}

/** The master replacing its own image: the new one proves itself, workers of an upgrade that need not wait are started, then execve. */
export type Handover = {
  phase: "checking" | "starting" | "executing";
  goal: { kind: "reload" } | ({ kind: "upgrade" } & UpgradeRequest);
  startedAt: Millis;
  askers: readonly Asker[];
};

/** Replacing the workers: after the re-exec, but for a fleet upgrade's starts where nothing that they need changes with it. */
export interface Upgrade extends UpgradeRequest {
  /** The generation to go back to when it fails. */
  from: Generation;
  startedAt: Millis;
  deaths: number;
  lastDeath: Death | null;
  paused: boolean;
  /** When the canaries were all ready; null before, and without canaries. */
  soakingSince: Millis | null;
  canaryPassed: boolean;
  askers: readonly Asker[];
}

export type Mode =
  | { kind: "running" }
  | { kind: "upgrading"; upgrade: Upgrade }
  /** Unready at once; `tellAt` ends the drain delay; `killAt` ends the grace period. */
  | {
      kind: "stopping";
      since: Millis;
      signal: Signal | "graceful";
      tellAt: Millis;
      killAt: Millis | null;
      exitCode: number | null;
      requests: number;
    }
  /** PID 1 only: no worker is left; whatever else still runs gets SIGTERM, then SIGKILL at `killAt`. */
  | { kind: "sweeping"; killAt: Millis | null; exitCode: number }
  /** Nothing is left to do; the order to exit is out. */
  | { kind: "gone" };

export interface State {
  config: Config;
  mode: Mode;
  handover: Handover | null;
  /** The generation wanted. Workers of any other are stale. */
  generation: Generation;
  /** The highest generation number ever given out. */
  lastGeneration: Generation;
  launches: Readonly<Record<Generation, Launch>>;
  workers: readonly Worker[];
  backoffs: readonly Backoff[];
  nextId: number;
  /** Deaths before ACK in a row, over all slots (`--give-up-after`). */
  deathsInRow: number;
  /** First failure under --no-respawn; 0 while there is none. */
  exitCode: number;
  startedAt: Millis;
  /** Deaths that are still worth showing, newest last; at most `maxRecentDeaths`. */
  recentDeaths: readonly Death[];
  lastUpgrade: {
    generation: Generation;
    strategy: Strategy;
    result: "done" | "failed";
    reason: string | null;
    tookMs: Millis;
  } | null;
  /** True from the first time all were ready (/startupz). */
  started: boolean;
  about: About;
  /** When worker memory is looked at next; null while --max-rss is off. */
  measureAt: Millis | null;
  /** Who streams `events`, and who waits for `wait`. */
  watchers: readonly Asker[];
  waiters: readonly Asker[];
  counters: Counters;
  /** Seed of the core's own random numbers (jitter); the core has no other randomness. */
  random: number;
}

/** Totals since the master first started; they live through re-execs. */
export interface Counters {
  starts: number;
  deaths: { clean: number; code: number; signal: number; oom: number; unspawned: number };
  acks: number;
  ackMsSum: Millis;
  upgradesDone: number;
  upgradesFailed: number;
  upgradeMsSum: Millis;
  orphans: number;
  reexecs: number;
  crashes: number;
  lastReexecMs: Millis;
}

export type { Effect, Event } from "./events.ts";
