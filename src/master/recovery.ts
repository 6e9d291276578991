/** What an image that follows a crash finds out about the world, as nobody was there to see. */
import { crashExitCode, crashLimit } from "../core/crash.ts";
import type { About, ConnectionId, Event, Pid, State } from "../core/model.ts";
import { now } from "../system/clock.ts";
import type { Note } from "../system/crash-note.ts";
import { childPids, kill, livingChildren, workersAmong } from "../system/processes.ts";
import type { ShellAtStart } from "./shell.ts";

export interface Aftermath {
  state: State;
  shell: ShellAtStart;
  note: Note;
  about: About;
  connections: ConnectionId[];
}

export type CrashEvent = Extract<Event, { kind: "crashed" }>;

/** The event that tells the core of a crash. */
export function crashEvent({ state, shell, note, about, connections }: Aftermath): CrashEvent {
  const children = new Set(childPids());
  const known = knownPids(state);
  const strangers = livingChildren().filter((pid) => !known.has(pid));
  const newborn = shell.preload?.newborn;
  const tookMs = note.at === null ? "" : ` (after ${Math.round(now() - note.at)}ms)`;
  return {
    kind: "crashed",
    reason: `${note.reason}${tookMs}`,
    recent: shell.crashes.length,
    about,
    lost: [...known].filter((pid) => !children.has(pid)),
    found: [...workersAmong(strangers), ...(newborn && strangers.includes(newborn.pid) ? [newborn] : [])],
    connections,
  };
}

/** It crashes before it can even stop: tells the workers and gives the code to exit with; null while there is hope. */
export function surrender(state: State, shell: ShellAtStart): number | null {
  if (shell.crashes.length <= crashLimit + 3) return null;
  for (const pid of knownPids(state)) kill(pid, "SIGTERM");
  return crashExitCode;
}

function knownPids(state: State): Set<Pid> {
  return new Set(state.workers.flatMap(({ pid }) => pid ?? []));
}
