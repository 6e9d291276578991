/** What each command does and answers. Reading and checking of arguments has happened (commands.ts). */
import { commandHelp } from "./commands.ts";
import * as messages from "./messages.ts";
import type { Asker, Event, Level } from "./model.ts";
import { isPoolReady, isStopping, quorum, readyCount } from "./pool.ts";
import { beginStop, requestHandover, signalEverybody } from "./record.ts";
import { answer, log, progress, refuse, set, type Turn } from "./turn.ts";
import { announce, failUpgrade, setUpgrade } from "./upgrade.ts";
import { statusData, statusText, upstreamState } from "./views.ts";

export function answerCommand(turn: Turn, { asker, command, wallMs }: Extract<Event, { kind: "asked" }>): void {
  const { state, now } = turn;
  switch (command.name) {
    case "ehlo":
      return answer(turn, asker, greeting(turn, command.user));
    case "help":
      return answer(
        turn,
        asker,
        `You are speaking to the Einhorn command socket. You can run the following commands:\n\n${commandHelp.join("\n")}`,
      );
    case "state":
      return answer(turn, asker, upstreamState(state, now, wallMs));
    case "status":
      return answer(turn, asker, statusText(state, now), statusData(state, now));
    case "ready": {
      const text = `${readyCount(state)} of ${state.config.number} workers ready, ${quorum(state)} needed`;
      const data = {
        ready: readyCount(state),
        needed: quorum(state),
        number: state.config.number,
        stopping: isStopping(state),
      };
      if (isPoolReady(state)) return answer(turn, asker, `Ready: ${text}`, data);
      return refuse(turn, asker, `Not ready: ${isStopping(state) ? messages.stoppingNow : text}`, data);
    }
    case "wait":
      if (isStopping(state)) return refuse(turn, asker, messages.stoppingNow);
      return set(turn, { waiters: [...state.waiters, asker] });
    case "events":
      progress(turn, [asker], "Streaming events");
      return set(turn, { watchers: [...state.watchers, asker] });
    case "reload":
      return requestHandover(turn, { kind: "reload" }, asker);
    case "upgrade":
      return requestHandover(turn, { kind: "upgrade", strategy: command.strategy, canary: command.canary }, asker);
    case "abort":
    case "pause":
    case "resume":
      return steerUpgrade(turn, asker, command.name);
    case "set-number":
      return setNumber(turn, asker, command.number);
    case "add-number":
      return setNumber(turn, asker, state.config.number + command.by);
    case "verbosity":
      return setVerbosity(turn, asker, command.by);
    case "signal":
      return sendSignals(turn, asker, command.signals);
    case "die":
      beginStop(turn, command.signal, "Asked to die");
      return answer(turn, asker, `Einhorn is going down: ${state.workers.length} workers are told to finish`);
    case "config":
      set(turn, { config: { ...state.config, ...command.changes } });
      log(turn, "info", `Settings changed: ${JSON.stringify(command.changes)}`);
      return answer(turn, asker, `Successfully merged in config: ${JSON.stringify(command.changes)}`);
    default:
      command satisfies never;
  }
}

function greeting(turn: Turn, user: string): string {
  const { about } = turn.state;
  const name = about.commandName === null ? "" : ` (${about.commandName})`;
  return `Welcome ${user || "stranger"}! You are speaking to Einhorn Master Process ${about.pid}${name}`;
}

function steerUpgrade(turn: Turn, asker: Asker, verb: "abort" | "pause" | "resume"): void {
  const { mode, handover } = turn.state;
  if (mode.kind !== "upgrading") {
    const hint = handover === null ? "" : "; one is being prepared, try again when it has begun";
    return refuse(turn, asker, `No upgrade is under way${hint}`);
  }
  const { upgrade } = mode;
  switch (verb) {
    case "abort":
      failUpgrade(turn, upgrade, messages.aborted);
      return answer(turn, asker, "Upgrade aborted; the old workers go on serving");
    case "pause":
    case "resume": {
      const paused = verb === "pause";
      if (upgrade.paused === paused)
        return answer(turn, asker, paused ? "The upgrade is paused already" : "The upgrade is not paused");
      setUpgrade(turn, { ...upgrade, paused });
      announce(turn, upgrade, paused ? "Upgrade paused" : "Upgrade goes on");
      return answer(turn, asker, paused ? "Upgrade paused" : "Upgrade goes on");
    }
  }
}

function setNumber(turn: Turn, asker: Asker, number: number): void {
  const { state } = turn;
  const before = state.config.number;
  if (number < 1) {
    return refuse(turn, asker, `Can't decrease number of workers (already at ${before}). To stop einhorn, use: die`);
  }
  if (number > 10_000) return refuse(turn, asker, `Can't run more than 10000 workers (${before} now)`);
  if (number === before) return answer(turn, asker, `Already at ${before} workers`);
  set(turn, { config: { ...state.config, number } });
  const verb = number > before ? "Incrementing" : "Decrementing";
  const message = `${verb} number of workers from ${before} -> ${number}`;
  log(turn, "info", message);
  answer(turn, asker, message);
}

function setVerbosity(turn: Turn, asker: Asker, by: 1 | -1): void {
  const levels: readonly Level[] = ["debug", "info", "error"];
  const { config } = turn.state;
  const verbosity = levels[levels.indexOf(config.verbosity) + by];
  if (verbosity === undefined) return answer(turn, asker, `Verbosity is already ${config.verbosity}`);
  set(turn, { config: { ...config, verbosity } });
  answer(turn, asker, `Verbosity set to ${verbosity}`);
}

function sendSignals(turn: Turn, asker: Asker, signals: readonly string[]): void {
  const pids = turn.state.workers.flatMap((worker) => worker.pid ?? []);
  for (const signal of signals) signalEverybody(turn, signal);
  answer(
    turn,
    asker,
    signals
      .map((signal) => `Successfully sent ${signal}s to ${pids.length} processes: [${pids.join(", ")}]`)
      .join("\n"),
  );
}
