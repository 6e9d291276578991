/** The options that upstream has, in its order. */
import type { Level } from "../core/model.ts";
import type { Options } from "../options.ts";
import { readBind } from "./bind.ts";
import { type Option, option } from "./option.ts";
import { refuse } from "./refusal.ts";
import { shellSplit } from "./shell-split.ts";
import * as read from "./values.ts";

const levels: readonly Level[] = ["debug", "info", "error"];

/** -v and -q move the threshold a step each, as upstream's. */
function moveVerbosity(options: Options, by: 1 | -1): void {
  const index = levels.indexOf(options.config.verbosity) + by;
  options.config.verbosity = levels[index] ?? options.config.verbosity;
}

const resetVerbosity: Partial<Option> = { clear: (o) => (o.config.verbosity = "info") };

export const upstreamOptions: readonly Option[] = [
  option(
    "-b, --bind",
    "ADDR",
    "Bind ADDR and pass it to the workers; repeatable",
    (o, v, c) => (o.binds = [...o.binds, readBind(v, c.readFile)]),
    { clear: (o) => (o.binds = []) },
  ),
  option(
    "-c, --command-name",
    "NAME",
    "Name of this einhorn, for einhornsh -c",
    (o, v) => (o.commandName = commandName(v)),
  ),
  option("-d, --socket-path", "PATH", "Where to open the command socket", (o, v) => (o.socketPath = read.nonEmpty(v))),
  option("-e, --pidfile", "PATH", "Where to write the master's pid", (o, v) => (o.pidfile = read.nonEmpty(v))),
  option("-f, --lockfile", "PATH", "Where to keep the lock", (o, v) => (o.lockfile = read.nonEmpty(v))),
  option(
    "-g, --command-socket-as-fd",
    null,
    "Give each worker a connection to the command socket (EINHORN_SOCK_FD)",
    (o) => (o.commandSocketAsFd = true),
  ),
  option("-h, --help", null, "Show this text", () => {}, { argvOnly: true }),
  option(
    "-k, --kill-children-on-exit",
    null,
    "Workers get SIGTERM should the master ever die",
    (o) => (o.killChildrenOnExit = true),
  ),
  option("-l, --backlog", "N", "Length of the accept queues (100)", (o, v) => (o.config.backlog = read.count(v))),
  option(
    "-m, --ack-mode",
    "S|manual|notify",
    "A worker is up after S seconds, or when it says so: worker:ack, or READY=1 to NOTIFY_SOCKET (1)",
    (o, v) => (o.config.ackMode = read.ackMode(v)),
  ),
  option(
    "-n, --number",
    "N|auto",
    "Number of workers; auto: the CPUs this container may use (1)",
    (o, v, c) => (o.config.number = read.workerNumber(v, c.cpus)),
  ),
  option(
    "-p, --preload",
    "PATH",
    "Load PATH once and fork the workers from it",
    (o, v) => (o.preload = read.nonEmpty(v)),
  ),
  option("-q, --quiet", null, "Log less", (o) => moveVerbosity(o, 1), resetVerbosity),
  option(
    "-s, --seconds",
    "S",
    "A worker that dies younger than S seconds is started again S seconds after its last start (1)",
    (o, v) => (o.config.respawnMs = read.secondsAboveZero(v)),
  ),
  option("-v, --verbose", null, "Log more", (o) => moveVerbosity(o, -1), resetVerbosity),
  option(
    "-t, --signal-timeout",
    "S",
    "SIGKILL for a worker that is still there S seconds after it was told to go (off)",
    (o, v) => (o.config.signalTimeoutMs = read.secondsAboveZero(v)),
  ),
  option(
    "--drop-env-var",
    "NAME",
    "Forget this variable at an upgrade; repeatable",
    (o, v) => (o.dropEnvVars = [...o.dropEnvVars, read.variableName(v)]),
    { clear: (o) => (o.dropEnvVars = []) },
  ),
  option(
    "--reexec-as",
    "CMDLINE",
    "At an upgrade run CMDLINE in place of einhorn",
    (o, v) => (o.reexecAs = commandLine(v)),
  ),
  option(
    "--nice",
    "MASTER[:WORKER[:CMD]]",
    "Nice levels of the master and of the workers; CMD is not used (unchanged)",
    (o, v) => ({ master: o.masterNice, worker: o.worker.nice } = read.niceLevels(v)),
  ),
  option(
    "--max-unacked",
    "N",
    "At most N workers start at a time (first start: all; upgrade: as many as there are CPUs)",
    (o, v) => (o.config.maxUnacked = read.count(v)),
  ),
  option(
    "--max-upgrade-additional",
    "N",
    "At most N workers above --number during a smooth upgrade",
    (o, v) => (o.config.maxUpgradeAdditional = read.count(v)),
  ),
  option("--gc-before-fork", null, "With --preload: collect garbage before each fork", (o) => (o.gcBeforeFork = true)),
  option("--upgrade-check", null, "Internal: show that this einhorn can start, and exit", () => {}, { argvOnly: true }),
  option("--with-state-fd", "FD", "Internal: take over from the state in FD", () => {}, { argvOnly: true }),
  option("--version", null, "Show the version", () => {}, { argvOnly: true }),
];

/** The part of a socket's file name that einhornsh -c looks for. */
function commandName(text: string): string {
  return /^[^/\0]{1,64}$/.test(text) ? text : refuse(text, 'a name: 1 to 64 characters without "/"');
}

function commandLine(text: string): readonly string[] {
  const words = shellSplit(text);
  return words.length > 0 ? words : refuse(text, "a command line");
}
