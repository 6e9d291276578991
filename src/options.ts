/**
 * Command line, EINHORN_OPTS and config file to Options. Every flag with its unit, default and error.
 * Precedence: argv, EINHORN_OPTS, file.
 */
import type { Config } from "./core/model.ts";

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
