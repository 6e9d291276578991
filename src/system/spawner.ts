/** From the core's order to a running worker: files to try, descriptors, environment, limits, user. */
import { closeSync, readFileSync } from "node:fs";
import type { Launch, Pid } from "../core/model.ts";
import { inheritedVariables, type WorkerSocket, workerVariables } from "../core/worker-env.ts";
import type { Options } from "../options.ts";
import type { Listener } from "./listeners.ts";
import { native } from "./native.ts";
import { candidatesOf, signalNumber } from "./processes.ts";
import { queueOf } from "./queues.ts";

/** getrlimit(2). */
export const rlimitNofile = 7;
const sockStream = 1;
/** Descriptors in a worker begin here: systemd's convention (sd_listen_fds(3)). */
export const firstWorkerFd = 3;

export interface SpawnOrder {
  launch: Launch;
  slot: number;
  generation: number;
}

export interface SpawnContext {
  options: Options;
  listeners: readonly Listener[];
  socketPath: string;
  notifySocket: string | null;
  /** With `--capture-stderr`: a pipe, or null where it cannot be had. */
  capture: (() => { id: number; stderr: number } | null) | null;
  /** The soft limit on descriptors that einhorn was started with: Node raised its own before any script ran. */
  nofile: { soft: number; hard: number } | null;
}

/** What one worker gets beside what its generation has: `fds` become 3, 4, ..., `variables` are "K=V" strings. */
export interface Outfit {
  fds: readonly number[];
  variables: readonly string[];
  /** PR_SET_PDEATHSIG; 0 is none. */
  deathSignal: number;
  /** With `-g`: our end of the worker's own connection. */
  connection: number | null;
  /** What becomes its stderr; null: the master's own. */
  stderr: number | null;
  /** Which pipe that is (capture.ts). */
  captured: number | null;
  /** Ours to close when the worker has its copies. */
  close: readonly number[];
}

export function outfitWorker(order: { slot: number; generation: number }, context: SpawnContext): Outfit {
  const { options, listeners } = context;
  const { backlog } = options.config;
  const fds = listeners.map((listener) => queueOf(listener, bindOf(listener, options), order.slot, backlog));
  const pair = options.commandSocketAsFd ? native.socketPair({ type: sockStream }) : null;
  const pipe = context.capture?.() ?? null;
  const variables = workerVariables({
    sockets: listeners.map((listener, index) => workerSocket(listener, options, index)),
    masterPid: process.pid,
    sockPath: context.socketPath,
    sockFd: pair === null ? null : firstWorkerFd + fds.length,
    slot: order.slot,
    generation: order.generation,
    notifySocket: context.notifySocket,
    watchdogMs: options.config.watchdogMs,
  });
  return {
    fds: pair === null ? fds : [...fds, pair[1]],
    variables,
    deathSignal: options.killChildrenOnExit ? deathSignal(options) : 0,
    connection: pair === null ? null : pair[0],
    stderr: pipe?.stderr ?? null,
    captured: pipe?.id ?? null,
    close: [...(pair === null ? [] : [pair[1]]), ...(pipe === null ? [] : [pipe.stderr])],
  };
}

/** What all workers of a launch are started with: directory, limits, user. Also what a zygote is started with, for its forks inherit it. */
export function settingsOf(launch: Launch, { options, nofile }: Pick<SpawnContext, "options" | "nofile">) {
  const { worker } = options;
  const limits = nofile === null ? [] : [{ resource: rlimitNofile, ...nofile }];
  return {
    cwd: launch.cwd,
    limits: [...limits, ...worker.limits],
    ...(worker.umask === null ? {} : { umask: worker.umask }),
    ...(worker.user === null ? {} : worker.user),
    ...(worker.oomScoreAdj === null ? {} : { oomScoreAdj: worker.oomScoreAdj }),
    ...(worker.nice === null ? {} : { nice: worker.nice }),
    ...(options.killChildrenOnExit ? { deathSignal: deathSignal(options) } : {}),
  };
}

/**
 * Whether the one worker of `--no-respawn` is to have the terminal that einhorn has: stdin is one, it is the controlling
 * one, and we are in its foreground (tty_nr and tpgid of proc_pid_stat(5); tcsetpgrp(3)). Else einhorn was put in the background.
 */
function ownsTerminal({ config }: Options): boolean {
  if (config.respawn || config.number !== 1 || !native.isTerminal({ fd: 0 })) return false;
  const stat = readFileSync("/proc/self/stat", "utf8");
  const [, , group, , terminal, foreground] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return terminal !== "0" && foreground === group;
}

/** What the master has of a worker that it started. */
export interface Started {
  pid: Pid;
  connection: number | null;
  captured: number | null;
}

/** Throws {code, syscall} when it cannot be executed. */
export function spawnWorker(order: SpawnOrder, context: SpawnContext): Started {
  const outfit = outfitWorker(order, context);
  const { launch } = order;
  try {
    const pid = native.spawn({
      ...settingsOf(launch, context),
      files: candidatesOf(launch.argv[0] ?? "", launch.env.PATH),
      args: launch.argv,
      env: [...inheritedVariables(launch.env), ...outfit.variables],
      fds: outfit.fds,
      stdio: [null, null, outfit.stderr],
      // Job control: a shell or an editor must own the terminal. Only one process can, and only where it is not replaced.
      ...(ownsTerminal(context.options) ? { foregroundOf: 0 } : {}),
    });
    return { pid, connection: outfit.connection, captured: outfit.captured };
  } catch (error) {
    if (outfit.connection !== null) closeSync(outfit.connection);
    throw error;
  } finally {
    for (const fd of outfit.close) closeSync(fd);
  }
}

/** `-k`: upstream's is USR2 (lib/einhorn/prctl.rb); the kernel cannot look what the worker catches, so `auto` means that too. */
function deathSignal(options: Options): number {
  const { gracefulSignal } = options.config;
  return signalNumber(gracefulSignal === "auto" ? "SIGUSR2" : gracefulSignal) ?? 15;
}

function bindOf(listener: Listener, { binds }: Options) {
  return binds.find(({ text }) => text === listener.text);
}

function workerSocket(listener: Listener, options: Options, index: number): WorkerSocket {
  const bind = bindOf(listener, options);
  const address = listener.address.replace(/^(udp|unix):/, "");
  const at = address.lastIndexOf(":");
  return {
    fd: firstWorkerFd + index,
    family: listener.family,
    // A passed socket goes on under the name it was passed by.
    name: bind?.name ?? (bind?.target.kind === "fd-name" ? bind.target.name : listener.text),
    address:
      listener.port === null
        ? { path: address }
        : { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: listener.port },
  };
}
