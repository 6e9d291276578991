/** One case per event: what is now true. Decides nothing; the rules in reconcile.ts do. */
import { answerCommand } from "./answers.ts";
import { recordCrash } from "./crash.ts";
import { becomeReady, bury, callOff } from "./life.ts";
import * as messages from "./messages.ts";
import type { About, Asker, Event, Handover, Millis, Signal, State, Worker } from "./model.ts";
import { byId, byPid, isStopping, wasReady } from "./pool.ts";
import { answer, log, progress, refuse, set, setWorker, setWorkers, type Turn } from "./turn.ts";
import { beginUpgrade } from "./upgrade.ts";

export function record(turn: Turn, event: Event): void {
  const { state, now } = turn;
  switch (event.kind) {
    case "booted":
      return set(turn, { about: event.about, launches: { [state.generation]: event.launch }, startedAt: now });
    case "reexeced":
      return recordReexec(turn, event);
    case "crashed":
      return recordCrash(turn, event);
    case "spawned":
      setWorker(turn, event.id, { pid: event.pid, spawnedAt: now, phase: { kind: "starting" } });
      return logStart(turn, byId(turn.state, event.id));
    case "unspawned": {
      const worker = byId(state, event.id);
      return worker && (event.errno === "ECANCELED" ? callOff(turn, worker) : bury(turn, worker, event));
    }
    case "exited": {
      const worker = byPid(state, event.pid);
      return worker && bury(turn, worker, event);
    }
    case "orphans-reaped":
      return set(turn, { counters: { ...state.counters, orphans: state.counters.orphans + event.count } });
    case "childless":
      return recordChildless(turn);
    case "signalled":
      return recordSignalled(turn, event.id, event.signal);
    case "acked":
      return recordAck(turn, event);
    case "pinged": {
      const worker = byPid(state, event.pid);
      return worker && setWorker(turn, worker.id, { pinged: { at: now, requestId: event.requestId } });
    }
    case "preloaded":
      return recordPreload(turn, event);
    case "notified":
      return recordNotice(turn, event);
    case "measured":
      return setWorkers(turn, (worker) => {
        const rssBytes = worker.pid === null ? undefined : event.rssBytes[worker.pid];
        return rssBytes === undefined ? worker : { ...worker, rssBytes };
      });
    case "asked":
      return answerCommand(turn, event);
    case "hung-up":
      return forget(turn, event.connection);
    case "signal":
      return recordSignal(turn, event.signal);
    case "checked":
      return recordCheck(turn, event);
    case "exec-failed":
      return endHandover(turn, messages.execFailed(event.reason));
    case "woke":
      return;
    default:
      event satisfies never;
  }
}

function logStart(turn: Turn, worker: Worker | undefined): void {
  if (worker === undefined) return;
  log(turn, "info", `${messages.worker(worker)} started`, {
    slot: worker.slot,
    pid: worker.pid,
    generation: worker.generation,
  });
}

function recordReexec(turn: Turn, event: Extract<Event, { kind: "reexeced" }>): void {
  const { state, now } = turn;
  const { handover } = state;
  set(turn, {
    about: sameMaster(state, event.about),
    handover: null,
    counters: { ...state.counters, reexecs: state.counters.reexecs + 1, lastReexecMs: now - event.execMs },
  });
  // sd_notify(3): each RELOADING=1 is followed by a READY=1.
  if (state.started) turn.effects.push({ kind: "announce", state: "READY=1" });
  log(turn, "info", "Replaced the master's image", { tookMs: Math.round(now - event.execMs) });
  if (handover === null) return;
  if (handover.goal.kind === "upgrade") return beginUpgrade(turn, handover.goal, event.launch, handover.askers);
  // A reload changes the master alone; workers that die later start with what the new image read.
  set(turn, { launches: { ...state.launches, [state.generation]: event.launch } });
  for (const asker of handover.askers) answer(turn, asker, "Reloaded");
}

function recordSignalled(turn: Turn, id: number, signal: Signal): void {
  const worker = byId(turn.state, id);
  if (worker === undefined) return;
  setWorker(turn, id, { signals: [...worker.signals, { signal, at: turn.now }] });
  log(turn, "debug", `${messages.worker(worker)} was sent ${signal}`, { slot: worker.slot, pid: worker.pid, signal });
}

function recordAck(turn: Turn, event: Extract<Event, { kind: "acked" }>): void {
  const { ackMode } = turn.state.config;
  const worker = byPid(turn.state, event.pid);
  if (worker === undefined) return;
  const name = messages.worker(worker);
  const expected = ackMode.kind === "manual" ? "command" : ackMode.kind;
  if (expected !== event.via) {
    return log(
      turn,
      "error",
      `${name} sent an ACK by ${event.via}, but the ACK mode is ${ackMode.kind}; it is ignored`,
    );
  }
  // sd_notify's READY=1 may be said again at any time, and php-fpm does every ten seconds; by command it is a mistake.
  const level = event.via === "notify" ? "debug" : "info";
  if (wasReady(worker)) return log(turn, level, `${name} has ACKed already; the second ACK changes nothing`);
  if (worker.phase.kind === "starting") becomeReady(turn, worker);
}

/** What a new image says about itself, but that it cannot know how preloading went before it. */
export function sameMaster({ about }: State, next: About): About {
  const { preload } = about;
  return preload !== null && preload.path === next.preload?.path ? { ...next, preload } : next;
}

function recordPreload(turn: Turn, event: Extract<Event, { kind: "preloaded" }>): void {
  const { path, progress, reason } = event;
  const { about, generation } = turn.state;
  set(turn, { about: { ...about, preload: { path, active: progress === "active", reason } } });
  log(turn, progress === "off" ? "error" : "info", messages.preload(path, progress, reason), { path, generation });
}

function recordNotice(turn: Turn, event: Extract<Event, { kind: "notified" }>): void {
  const worker = byPid(turn.state, event.pid);
  if (worker === undefined) return;
  const changes: Partial<Worker> = {};
  if (event.status !== undefined) changes.status = event.status;
  if (event.watchdog) changes.watchdogAt = turn.now;
  if (event.extendMs !== undefined) changes.deadline = turn.now + event.extendMs;
  // It goes by itself: nothing to send, but its place is free, and it has the time of one that was told.
  if (event.stopping && (worker.phase.kind === "ready" || worker.phase.kind === "starting")) {
    const { signalTimeoutMs } = turn.state.config;
    const killAt = signalTimeoutMs === null ? null : turn.now + signalTimeoutMs;
    changes.phase = { kind: "told", since: turn.now, wasReady: wasReady(worker), killAt };
  }
  setWorker(turn, worker.id, changes);
}

function recordChildless(turn: Turn): void {
  const { mode } = turn.state;
  if (mode.kind !== "sweeping") return;
  turn.effects.push({ kind: "exit", code: mode.exitCode });
  set(turn, { mode: { kind: "gone" } });
}

function recordSignal(turn: Turn, signal: Signal): void {
  switch (signal) {
    case "SIGTERM":
    case "SIGINT":
    case "SIGUSR2":
      return beginStop(turn, turn.state.config.respawn ? "graceful" : signal, `Got ${signal}`);
    case "SIGHUP":
      if (!turn.state.config.respawn) return signalEverybody(turn, signal);
      return requestHandover(turn, { kind: "upgrade", strategy: "smooth", canary: null }, null);
    case "SIGQUIT":
      log(turn, "info", "Got SIGQUIT: passing it on and exiting at once");
      signalEverybody(turn, signal);
      turn.effects.push({ kind: "exit", code: 1 });
      return set(turn, { mode: { kind: "gone" } });
    default:
      return signalEverybody(turn, signal);
  }
}

export function signalEverybody(turn: Turn, signal: Signal): void {
  for (const worker of turn.state.workers) {
    if (worker.pid !== null) turn.effects.push({ kind: "signal", id: worker.id, pid: worker.pid, signal });
  }
}

/** The first asks to stop, a second ends the drain delay, a third kills. A stop wins over everything under way. */
export function beginStop(turn: Turn, signal: Signal | "graceful", why: string): void {
  const { state, now } = turn;
  const { config, mode } = state;
  if (mode.kind === "sweeping" || mode.kind === "gone") return;
  if (mode.kind === "stopping") {
    const requests = mode.requests + 1;
    const killAt = requests >= 3 ? now : mode.killAt;
    log(turn, "info", requests >= 3 ? `${why} again: killing all workers` : `${why} again: telling all workers now`);
    return set(turn, { mode: { ...mode, requests, tellAt: Math.min(mode.tellAt, now), killAt } });
  }
  log(turn, "info", `${why}: stopping ${state.workers.length} workers`, { drainDelayMs: config.drainDelayMs });
  enterStopping(turn, { signal, tellAt: now + config.drainDelayMs, exitCode: null });
}

/** From running or upgrading. What was under way ends here: a new image that is still being checked must not undo the stop. */
export function enterStopping(
  turn: Turn,
  { signal, tellAt, exitCode }: { signal: Signal | "graceful"; tellAt: Millis; exitCode: number | null },
): void {
  endHandover(turn, messages.stoppingNow);
  const { mode, waiters, config } = turn.state;
  if (mode.kind === "upgrading") {
    for (const asker of mode.upgrade.askers) refuse(turn, asker, messages.upgradeFailed(messages.stoppingNow));
  }
  for (const asker of waiters) refuse(turn, asker, messages.stoppingNow);
  turn.effects.push({ kind: "announce", state: "STOPPING=1" });
  const killAt = config.gracePeriodMs === null ? null : turn.now + config.gracePeriodMs;
  set(turn, {
    waiters: [],
    mode: { kind: "stopping", since: turn.now, signal, tellAt, killAt, exitCode, requests: 1 },
  });
}

/** Asks for a re-exec. One that is being prepared takes the new goal; its askers learn the common outcome. */
export function requestHandover(turn: Turn, goal: Handover["goal"], asker: Asker | null): void {
  const { state, now } = turn;
  if (isStopping(state)) return asker ? refuse(turn, asker, messages.stoppingNow) : undefined;
  if (!state.config.respawn) {
    return asker ? refuse(turn, asker, "Nothing to replace: with --no-respawn every worker runs once") : undefined;
  }
  const askers = [...(state.handover?.askers ?? []), ...(asker ? [asker] : [])];
  if (asker) progress(turn, [asker], goal.kind === "reload" ? "Reloading, as commanded" : "Upgrading, as commanded");
  if (state.handover !== null) {
    // An upgrade is more than a reload: it stays wanted.
    const kept = goal.kind === "reload" ? state.handover.goal : goal;
    return set(turn, { handover: { ...state.handover, goal: kept, askers } });
  }
  log(
    turn,
    "info",
    goal.kind === "reload"
      ? "Reloading the master"
      : `Preparing a ${goal.strategy} upgrade: checking that the new einhorn starts`,
  );
  turn.effects.push({ kind: "check" });
  set(turn, { handover: { phase: "checking", goal, startedAt: now, askers } });
}

function recordCheck(turn: Turn, { reason, launch }: Extract<Event, { kind: "checked" }>): void {
  const { handover, about } = turn.state;
  if (handover?.phase !== "checking") return;
  if (reason !== null) return endHandover(turn, messages.checkFailed(reason));
  if (turn.state.started) turn.effects.push({ kind: "announce", state: "RELOADING=1" });
  const { goal, askers } = handover;
  // The re-exec takes as long as Node takes to start: workers that are all started at once can do so meanwhile.
  const isAhead = goal.kind === "upgrade" && goal.strategy === "fleet" && launch !== null && about.preload === null;
  if (!isAhead) return set(turn, { handover: { ...handover, phase: "executing" } });
  set(turn, { handover: { ...handover, phase: "starting", goal: { kind: "reload" }, askers: [] } });
  beginUpgrade(turn, goal, launch, askers);
}

export function endHandover(turn: Turn, reason: string): void {
  const { handover } = turn.state;
  if (handover === null) return;
  set(turn, { handover: null });
  if (handover.phase === "checking") turn.effects.push({ kind: "end-check" });
  else if (turn.state.started) turn.effects.push({ kind: "announce", state: "READY=1" });
  const message = handover.goal.kind === "reload" ? `Reload failed: ${reason}` : messages.upgradeFailed(reason);
  log(turn, "error", message);
  for (const asker of handover.askers) refuse(turn, asker, message);
}

function forget(turn: Turn, connection: number): void {
  keepAskers(turn, (asker) => asker.connection !== connection);
}

/** Connections that broke unseen. */
export function forgetOthers(turn: Turn, connections: readonly number[]): void {
  const open = new Set(connections);
  keepAskers(turn, (asker) => open.has(asker.connection));
}

function keepAskers(turn: Turn, stays: (asker: Asker) => boolean): void {
  const { state } = turn;
  const changes: Partial<State> = { watchers: state.watchers.filter(stays), waiters: state.waiters.filter(stays) };
  if (state.handover !== null) changes.handover = { ...state.handover, askers: state.handover.askers.filter(stays) };
  if (state.mode.kind === "upgrading") {
    const { upgrade } = state.mode;
    changes.mode = { kind: "upgrading", upgrade: { ...upgrade, askers: upgrade.askers.filter(stays) } };
  }
  set(turn, changes);
}
