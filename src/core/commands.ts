/**
 * The commands of the command socket: name, help, and how to read the arguments. Nothing a client sends goes further
 * than this file unchecked. `worker:ack` and `worker:ping` are not here: they are about who speaks (control/server.ts).
 */
import type { Config, Signal, UpgradeRequest } from "./model.ts";

export type Command =
  | { name: "ehlo"; user: string }
  | { name: "help" }
  | { name: "state" }
  | { name: "status" }
  | { name: "ready" }
  | { name: "wait" }
  | { name: "events" }
  | { name: "reload" }
  | ({ name: "upgrade" } & UpgradeRequest)
  | { name: "abort" }
  | { name: "pause" }
  | { name: "resume" }
  | { name: "set-number"; number: number }
  | { name: "add-number"; by: number }
  | { name: "verbosity"; by: 1 | -1 }
  | { name: "signal"; signals: readonly Signal[] }
  | { name: "die"; signal: Signal | "graceful" }
  | { name: "config"; changes: Partial<Config> };

/** A request as the wire gives it: checked to be a mapping, nothing more. */
export interface Request {
  command: unknown;
  args?: unknown;
  user?: unknown;
}

/** Reads one request. Returns the command, or the sentence that says what was wrong and what is allowed. */
export function readCommand(request: Request): { command: Command } | { error: string } {
  return { error: `Unrecognized command: ${String(request.command)}` };
}
