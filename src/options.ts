/**
 * Command line, EINHORN_OPTS and config file to Options. Precedence: argv, EINHORN_OPTS, file; of an option given
 * several times in one of them the last counts, and lists (bind, drop-env-var, rlimit) are not mixed between them.
 */
import type { Config } from "./core/model.ts";
import { UserError } from "./errors.ts";
import { refuseDuplicates } from "./options/bind.ts";
import { badOption, type Given, readWords } from "./options/command-line.ts";
import { Refusal } from "./options/refusal.ts";
import { shellSplit } from "./options/shell-split.ts";
import type { Context } from "./options/table.ts";
import { availableCpus } from "./system/cpus.ts";
import { version } from "./version.ts";

/** One `-b`. `name` is what LISTEN_FDNAMES says (default: the address as typed). */
export interface Bind {
  /** As the operator typed it, options included: identity of a bind across reloads. */
  text: string;
  target:
    | { kind: "tcp"; host: string; port: number }
    | { kind: "udp"; host: string; port: number }
    | { kind: "unix"; path: string }
    | { kind: "fd"; fd: number }
    | { kind: "fd-name"; name: string };
  /** SO_REUSEADDR: on unless this bind is a UNIX one. Upstream's `r` asks for what is the default here. */
  reuseAddress: boolean;
  /** O_NONBLOCK on the shared file description (upstream's `n`). */
  nonBlocking: boolean;
  /** SO_REUSEPORT queues held by the master; "per-worker" steers to the slot. null: one shared socket. */
  queues: number | "per-worker" | null;
  v6Only: boolean | null;
  backlog: number | null;
  noDelay: boolean;
  deferAcceptS: number | null;
  fastOpen: number | null;
  freeBind: boolean;
  mode: number | null;
  owner: { uid: number; gid: number | null } | null;
  name: string | null;
}

export interface WorkerSettings {
  user: { uid: number; gid: number; groups: readonly number[] } | null;
  chdir: string | null;
  umask: number | null;
  limits: readonly { resource: number; soft: number; hard: number }[];
  oomScoreAdj: number | null;
  envFile: string | null;
  nice: number | null;
}

export interface Options {
  program: readonly string[];
  binds: readonly Bind[];
  commandName: string | null;
  socketPath: string | null;
  pidfile: string | null;
  lockfile: string | null;
  commandSocketAsFd: boolean;
  killChildrenOnExit: boolean;
  preload: string | null;
  gcBeforeFork: boolean;
  dropEnvVars: readonly string[];
  reexecAs: readonly string[] | null;
  masterNice: number | null;
  /** `--http`: `IP:PORT` or `unix:PATH`. */
  http: { host: string; port: number } | { path: string } | null;
  worker: WorkerSettings;
  captureStderr: boolean;
  logFormat: "text" | "json";
  configFile: string | null;
  /** What of all this the running pool may change later, in the core's own form. */
  config: Config;
}

export type Invocation =
  | { kind: "print"; text: string; exitCode: number }
  | { kind: "run"; options: Options }
  /** Internal: a new image takes over (or, with `check`, only proves that it could) from the state in this descriptor. */
  | { kind: "resume"; stateFd: number; check: boolean };

export interface Surroundings {
  argv: readonly string[];
  env: Readonly<Record<string, string | undefined>>;
  /** Where a relative --config is looked for. */
  cwd: string;
  /** CPUs this container may use, and where user names come from: the system's where nothing else is said. */
  context?: Partial<Context>;
}

/** More sockets than any program has, and few enough for every limit on descriptors. */
const maxBinds = 128;

/** What this start is meant to be. Throws a UserError (exit 2) that names option, value and what is allowed. */
export async function readInvocation({ argv, env, cwd, context = {} }: Surroundings): Promise<Invocation> {
  const resume = readInternal(argv);
  if (resume !== null) return resume;
  const line = await readWords(argv, "");
  const names = new Set(line.given.map(({ option }) => option.long));
  const stateFd = line.given.findLast(({ option }) => option.long === "with-state-fd")?.value;
  if (stateFd !== undefined) return resumeFrom(stateFd, names.has("upgrade-check"));
  if (names.has("help")) return print((await import("./options/usage.ts")).longUsage(), 0);
  if (names.has("version")) return print(`${version}\n`, 0);
  if (names.has("upgrade-check")) return print(environmentInfo(), 0);
  if (line.program.length === 0) return print((await import("./options/usage.ts")).shortUsage(), 1);
  const fromEnv = await readVariable(env.EINHORN_OPTS ?? "");
  const file = [...fromEnv, ...line.given].findLast(({ option }) => option.long === "config")?.value;
  const fromFile = file === undefined ? [] : await (await import("./options/config-file.ts")).readConfigFile(file, cwd);
  const cpus = once(context.cpus ?? availableCpus);
  const options = defaults(line.program, cpus());
  for (const source of [fromFile, fromEnv, line.given]) apply(source, options, { ...context, cpus });
  check(options);
  return { kind: "run", options };
}

/**
 * A re-exec's command line begins with --with-state-fd N (and --upgrade-check when it is only a proof). It is not read
 * further: the state knows the rest, and the master is not to be deaf for longer than it must.
 */
function readInternal(argv: readonly string[]): Invocation | null {
  const check = argv[0] === "--upgrade-check" || argv[2] === "--upgrade-check";
  const [name, fd = ""] = argv.slice(argv[0] === "--upgrade-check" ? 1 : 0);
  return name === "--with-state-fd" ? resumeFrom(fd, check) : null;
}

function resumeFrom(fd: string, check: boolean): Invocation {
  if (!/^\d{1,9}$/.test(fd)) throw new UserError(badOption, "--with-state-fd: needs the number of a descriptor", 2);
  return { kind: "resume", stateFd: Number(fd), check };
}

function print(text: string, exitCode: number): Invocation {
  return { kind: "print", text, exitCode };
}

/** --upgrade-check alone: enough to see which program and which Node answered. */
function environmentInfo(): string {
  const { version: node, arch, execPath } = process;
  return `einhorn ${version}\nnode ${node} ${arch}\nexecutable ${execPath}\ndirectory ${process.cwd()}\n`;
}

async function readVariable(text: string): Promise<readonly Given[]> {
  const source = "EINHORN_OPTS: ";
  const { given, program } = await readWords(
    refusing(source, () => shellSplit(text)),
    source,
  );
  const misplaced = program[0] ?? given.find(({ option }) => option.argvOnly && option.long !== "config")?.option.long;
  if (misplaced === undefined) return given;
  throw new UserError(badOption, `${source}${JSON.stringify(misplaced)} cannot be here; it holds options only`, 2);
}

/** Puts one source's options over those of lower precedence. */
function apply(source: readonly Given[], options: Options, context: Context): void {
  for (const { option } of source) option.clear?.(options);
  for (const { option, value, where } of source) refusing(where, () => option.set(options, value, context));
}

/** What only shows once all is known. */
function check(options: Options): void {
  refusing("-b/--bind: ", () => refuseDuplicates(options.binds));
  const { drainDelayMs, gracePeriodMs, watchdogMs, ackMode } = options.config;
  if (options.binds.length > maxBinds) throw new UserError(badOption, `-b/--bind: at most ${maxBinds} are allowed`, 2);
  if (gracePeriodMs !== null && drainDelayMs >= gracePeriodMs) {
    const seconds = `${drainDelayMs / 1000} is not shorter than the --grace-period of ${gracePeriodMs / 1000}`;
    throw new UserError(badOption, `--drain-delay: ${seconds}: workers would be killed before they are asked`, 2);
  }
  if (watchdogMs !== null && ackMode.kind !== "notify") {
    throw new UserError(badOption, "--watchdog: needs -m notify, which gives workers a NOTIFY_SOCKET to write to", 2);
  }
}

function refusing<T>(where: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw error instanceof Refusal ? new UserError(badOption, `${where}${error.message}`, 2) : error;
  }
}

function once(count: () => number): () => number {
  let known: number | null = null;
  return () => {
    known ??= count();
    return known;
  };
}

/** Upstream's where it has the option. */
function defaults(program: readonly string[], cpus: number): Options {
  return {
    program,
    binds: [],
    commandName: null,
    socketPath: null,
    pidfile: null,
    lockfile: null,
    commandSocketAsFd: false,
    killChildrenOnExit: false,
    preload: null,
    gcBeforeFork: false,
    dropEnvVars: [],
    reexecAs: null,
    masterNice: null,
    http: null,
    worker: { user: null, chdir: null, umask: null, limits: [], oomScoreAdj: null, envFile: null, nice: null },
    captureStderr: false,
    logFormat: "text",
    configFile: null,
    config: defaultConfig(cpus),
  };
}

function defaultConfig(cpus: number): Config {
  return {
    number: 1,
    ackMode: { kind: "timer", ms: 1000 },
    respawnMs: 1000,
    backlog: 100,
    maxUnacked: null,
    cpus,
    maxUpgradeAdditional: null,
    signalTimeoutMs: null,
    ackTimeoutMs: null,
    gracefulSignal: "auto",
    drainDelayMs: 0,
    gracePeriodMs: null,
    readyMin: { kind: "percent", percent: 100 },
    upgradeTimeoutMs: null,
    upgradeMaxDeaths: 3,
    giveUpAfter: null,
    respawn: true,
    maxRssBytes: null,
    maxAgeMs: null,
    watchdogMs: null,
    verbosity: "info",
  };
}

/**
 * The Config after a re-exec read the options again: a field whose configured value changed (`previous` to `next`)
 * takes the new one; the others keep what the running pool has, which `inc`, `louder` and their like may have moved.
 */
export function mergeReconfigured(previous: Config, next: Config, current: Config): Config {
  const changed = Object.entries(next).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(previous[key as keyof Config]),
  );
  return { ...current, ...Object.fromEntries(changed) };
}
