/**
 * The commands of the command socket: name, help, and how to read the arguments. Nothing that a client sends goes
 * further than this file unchecked. `worker:ack` and `worker:ping` are not here: they are about who speaks
 * (control/server.ts).
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
  command?: unknown;
  args?: unknown;
  user?: unknown;
}

/** An argument that cannot be used; its message is the answer. */
class BadArgument extends Error {}

interface Entry {
  help: string;
  read(args: readonly string[], request: Request): Command;
}

const maxNumber = 10_000;

/** One entry per command, in the order that `help` lists them. */
const table: Readonly<Record<string, Entry>> = {
  help: { help: "list the commands", read: () => ({ name: "help" }) },
  status: { help: "show workers, sockets, the last upgrade and the last deaths", read: () => ({ name: "status" }) },
  state: { help: "dump the state as YAML, in the form of the Ruby program", read: () => ({ name: "state" }) },
  ready: { help: "succeed if enough workers are ready", read: () => ({ name: "ready" }) },
  wait: { help: "wait until the workers are ready and no upgrade is under way", read: () => ({ name: "wait" }) },
  events: { help: "stream what happens until you disconnect", read: () => ({ name: "events" }) },
  upgrade: {
    help: "replace all workers smoothly, re-executing the master first [--canary N [--soak SECONDS]]",
    read: (args) => ({ name: "upgrade", ...readUpgrade("smooth", args) }),
  },
  upgrade_fleet: {
    help: "start a whole new set of workers, then stop all old ones",
    read: (args) => ({ name: "upgrade", ...readUpgrade("fleet", args) }),
  },
  abort: { help: "give up the upgrade under way and keep the old workers", read: () => ({ name: "abort" }) },
  pause: { help: "stop replacing workers for now", read: () => ({ name: "pause" }) },
  resume: { help: "go on with a paused upgrade", read: () => ({ name: "resume" }) },
  reload: { help: "re-execute the master alone; workers stay as they are", read: () => ({ name: "reload" }) },
  inc: { help: "one worker more [COUNT]", read: (args) => ({ name: "add-number", by: readCount(args[0]) }) },
  dec: { help: "one worker fewer [COUNT]", read: (args) => ({ name: "add-number", by: -readCount(args[0]) }) },
  set_workers: {
    help: "run this many workers: COUNT",
    read: (args) => ({ name: "set-number", number: readNumber(args[0]) }),
  },
  signal: {
    help: "send signals to all workers: SIG...",
    read: (args) => {
      if (args.length === 0) throw new BadArgument("signal needs at least one signal, such as: signal USR1");
      return { name: "signal", signals: args.map(readSignal) };
    },
  },
  die: {
    help: "stop gracefully and exit when the last worker is gone [SIG]",
    read: (args) => ({ name: "die", signal: args[0] === undefined ? "graceful" : readSignal(args[0]) }),
  },
  config: {
    help: 'change settings: config "{number: 4, seconds: 2}"',
    read: (args, request) => readConfig(args, request),
  },
  louder: { help: "log more", read: () => ({ name: "verbosity", by: -1 }) },
  quieter: { help: "log less", read: () => ({ name: "verbosity", by: 1 }) },
  ehlo: {
    help: "say who answers",
    read: (_args, request) => ({ name: "ehlo", user: typeof request.user === "string" ? request.user : "" }),
  },
};

export const commandHelp: readonly string[] = Object.entries(table).map(([name, { help }]) => `${name}: ${help}`);

/** Reads one request. Returns the command, or the sentence that says what was wrong and what is allowed. */
export function readCommand(request: Request): { command: Command } | { error: string } {
  const { command: name } = request;
  if (name === undefined) return { error: 'The request has no "command". Try: help' };
  const entry = typeof name === "string" && Object.hasOwn(table, name) ? table[name] : undefined;
  if (entry === undefined) {
    return { error: `Unrecognized command: ${JSON.stringify(name)?.slice(0, 100)}\n\n${commandHelp.join("\n")}` };
  }
  try {
    return { command: entry.read(readArgs(request.args), request) };
  } catch (error) {
    if (error instanceof BadArgument) return { error: error.message };
    throw error;
  }
}

function readArgs(args: unknown): string[] {
  if (args === undefined || args === null) return [];
  if (!Array.isArray(args)) throw new BadArgument('"args" must be a list');
  return args.map((arg: unknown) => {
    if (typeof arg === "string" || typeof arg === "number" || typeof arg === "boolean") return String(arg);
    if (typeof arg === "object" && arg !== null) return JSON.stringify(arg);
    throw new BadArgument('"args" must be a list of words');
  });
}

function readUpgrade(strategy: "smooth" | "fleet", args: readonly string[]): UpgradeRequest {
  let count: number | null = null;
  let soakMs = 0;
  const words = [...args];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [flag, joined] = word.split("=", 2) as [string, string | undefined];
    const value = () => joined ?? words.shift();
    if (flag === "--canary") count = readCount(value(), "--canary");
    else if (flag === "--soak") soakMs = readSeconds(value(), "--soak");
    else
      throw new BadArgument(
        `upgrade does not know ${JSON.stringify(word)}; it takes --canary COUNT and --soak SECONDS`,
      );
  }
  if (count === null && soakMs > 0) throw new BadArgument("--soak needs --canary COUNT: how many new workers to watch");
  return { strategy, canary: count === null ? null : { count, soakMs } };
}

function readCount(text: string | undefined, what = "COUNT"): number {
  if (text === undefined && what === "COUNT") return 1;
  return readNumber(text, what);
}

function readNumber(text: string | undefined, what = "COUNT"): number {
  const number = Number(text);
  if (text === undefined || !/^\d+$/.test(text) || number < 1 || number > maxNumber) {
    throw new BadArgument(`${what} must be a whole number from 1 to ${maxNumber}, not ${JSON.stringify(text ?? "")}`);
  }
  return number;
}

function readSeconds(text: string | undefined, what: string, least = 0): number {
  const seconds = Number(text);
  if (text === undefined || text.trim() === "" || !Number.isFinite(seconds) || seconds < least) {
    throw new BadArgument(
      `${what} must be a number of seconds${least > 0 ? " above 0" : ""}, not ${JSON.stringify(text ?? "")}`,
    );
  }
  return seconds * 1000;
}

const knownSignals = new Set(
  "HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(
    " ",
  ),
);

/** "usr1", "SIGUSR1" and "USR1" are the same signal. */
function readSignal(text: string): Signal {
  const name = text.toUpperCase().replace(/^SIG/, "");
  const realTime = /^RTMIN(?:\+(\d{1,2}))?$/.exec(name);
  if (realTime !== null && Number(realTime[1] ?? 0) <= 30) return `SIGRTMIN+${Number(realTime[1] ?? 0)}`;
  if (!knownSignals.has(name))
    throw new BadArgument(`Invalid signal: ${JSON.stringify(text)}. Use a name such as TERM, USR1 or HUP`);
  return `SIG${name}`;
}

/** What `config` may change, by option name, and how each is read. */
const settings: Readonly<Record<string, (value: unknown) => Partial<Config>>> = {
  number: (value) => ({ number: readNumber(String(value), "number") }),
  // As -s: without any pause a program that cannot be started would be tried again for ever within one turn.
  seconds: (value) => ({ respawnMs: readSeconds(String(value), "seconds", Number.MIN_VALUE) }),
  backlog: (value) => ({ backlog: readNumber(String(value), "backlog") }),
  "max-unacked": (value) => ({ maxUnacked: value === null ? null : readNumber(String(value), "max-unacked") }),
  "max-upgrade-additional": (value) => ({
    maxUpgradeAdditional: value === null ? null : readNumber(String(value), "max-upgrade-additional"),
  }),
  "signal-timeout": (value) => ({
    signalTimeoutMs: value === null ? null : readSeconds(String(value), "signal-timeout"),
  }),
  "ack-timeout": (value) => ({ ackTimeoutMs: value === null ? null : readSeconds(String(value), "ack-timeout") }),
  "drain-delay": (value) => ({ drainDelayMs: readSeconds(String(value), "drain-delay") }),
  "grace-period": (value) => ({ gracePeriodMs: value === null ? null : readSeconds(String(value), "grace-period") }),
  "upgrade-timeout": (value) => ({
    upgradeTimeoutMs: value === null ? null : readSeconds(String(value), "upgrade-timeout"),
  }),
  "upgrade-max-deaths": (value) => ({ upgradeMaxDeaths: readNumber(String(value), "upgrade-max-deaths") }),
};

/** One mapping as the single argument (the wire has parsed it), or words `name: value` joined, as upstream. */
function readConfig(args: readonly string[], request: Request): Command {
  const given = Array.isArray(request.args) && request.args.length === 1 ? (request.args[0] as unknown) : undefined;
  const mapping =
    typeof given === "object" && given !== null && !Array.isArray(given) ? given : parseFlow(args.join(" "));
  let changes: Partial<Config> = {};
  for (const [name, value] of Object.entries(mapping)) {
    const read = Object.hasOwn(settings, name) ? settings[name] : undefined;
    if (read === undefined) {
      throw new BadArgument(
        `config does not know ${JSON.stringify(name)}. It knows: ${Object.keys(settings).join(", ")}`,
      );
    }
    changes = { ...changes, ...read(value) };
  }
  if (Object.keys(changes).length === 0) throw new BadArgument('Pass settings, such as: config "{number: 4}"');
  return { name: "config", changes };
}

/** `{a: 1, b: 2}` or `a: 1, b: 2`: the flat flow mapping that settings need; anything else is refused. */
function parseFlow(text: string): Record<string, unknown> {
  const inner = text.trim().replace(/^\{([\s\S]*)\}$/, "$1");
  const mapping: Record<string, unknown> = {};
  for (const part of inner.split(",").filter((piece) => piece.trim() !== "")) {
    const pair = /^\s*["':]?([a-z][a-z_-]*)["']?\s*(?::|=>|=)\s*["']?([^"'{}[\]]*?)["']?\s*$/i.exec(part);
    if (pair === null)
      throw new BadArgument(`Cannot read ${JSON.stringify(part.trim())}; pass settings such as: config "{number: 4}"`);
    const [, name = "", value = ""] = pair;
    mapping[name.replaceAll("_", "-")] = /^(null|off|~)$/.test(value) ? null : value;
  }
  return mapping;
}
