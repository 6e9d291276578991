/**
 * The master crashed in the middle of a turn, and the image after it starts from the state before that turn. What the turn
 * had already done to the world is in the event; what it had not done yet, the rules order again.
 */
import { bury } from "./life.ts";
import type { Event, Worker } from "./model.ts";
import { byPid, isStopping } from "./pool.ts";
import { beginStop, endHandover, forgetOthers, sameMaster } from "./record.ts";
import { withAdded } from "./roster.ts";
import { log, set, setWorker, type Turn } from "./turn.ts";

/** This many crashes in `crashWindowMs` are no accident: the orchestrator shall start afresh. */
export const crashLimit = 5;
export const crashWindowMs = 60_000;
/** EX_SOFTWARE of sysexits.h. */
export const crashExitCode = 70;

type Crash = Extract<Event, { kind: "crashed" }>;

export function recordCrash(turn: Turn, event: Crash): void {
  const { counters } = turn.state;
  const startedAt = turn.state.startedAt || turn.now;
  set(turn, {
    about: sameMaster(turn.state, event.about),
    startedAt,
    counters: { ...counters, crashes: counters.crashes + 1 },
  });
  log(turn, "error", `The master crashed and goes on where it was: ${event.reason}`, { recent: event.recent });
  for (const pid of event.lost) {
    const worker = byPid(turn.state, pid);
    if (worker !== undefined) bury(turn, worker, { kind: "lost" });
  }
  for (const found of event.found) adopt(turn, found);
  dropUnborn(turn);
  forgetOthers(turn, event.connections);
  resolveHandover(turn);
  if (event.recent < crashLimit || isStopping(turn.state)) return;
  beginStop(turn, "graceful", `${event.recent} crashes within ${crashWindowMs / 1000}s`);
  const { mode } = turn.state;
  if (mode.kind === "stopping") set(turn, { mode: { ...mode, exitCode: crashExitCode } });
}

/** A worker that was started and not written down yet. Its ACK counts from now, as does its age. */
function adopt(turn: Turn, { pid, slot, generation }: Crash["found"][number]): void {
  const { state, now } = turn;
  const ordered = state.workers.find(
    (worker) => worker.pid === null && worker.slot === slot && worker.generation === generation,
  );
  const born: Worker = {
    ...(ordered ?? unknownWorker),
    id: ordered?.id ?? state.nextId,
    pid,
    slot,
    generation,
    spawnedAt: now,
    phase: { kind: "starting" },
  };
  log(turn, "info", `worker slot=${slot} gen=${generation} pid=${pid} had been started when the master crashed`);
  if (ordered !== undefined) return setWorker(turn, ordered.id, born);
  const { counters } = state;
  set(turn, {
    workers: withAdded(state.workers, [born]),
    nextId: state.nextId + 1,
    lastGeneration: Math.max(state.lastGeneration, generation),
    counters: { ...counters, starts: counters.starts + 1 },
  });
}

const unknownWorker = {
  recycle: null,
  signals: [],
  pinged: null,
  status: null,
  deadline: null,
  watchdogAt: null,
  maxAgeAt: null,
  ackMs: null,
  rssBytes: null,
};

/** Ordered and never started: the rules order them again. */
function dropUnborn(turn: Turn): void {
  const { workers, counters } = turn.state;
  const born = workers.filter((worker) => worker.pid !== null);
  if (born.length === workers.length) return;
  set(turn, {
    workers: born,
    counters: { ...counters, starts: counters.starts - (workers.length - born.length) },
  });
}

/** The proof that was running is a stranger's child now: it is run again. A new image that crashed at once is not tried again. */
function resolveHandover(turn: Turn): void {
  const { handover } = turn.state;
  if (handover === null) return;
  if (handover.phase !== "checking") return endHandover(turn, "the master crashed while it was replacing its image");
  turn.effects.push({ kind: "check" });
  set(turn, { handover: { ...handover, startedAt: turn.now } });
}
