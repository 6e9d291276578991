/** What one image leaves for the next beside the core's state: the part of the document that is the shell's. */
import type { ControlState } from "../control/server.ts";
import type { Config, Millis } from "../core/model.ts";
import type { Options } from "../options.ts";
import { type CaptureState, captureFds } from "../system/capture-state.ts";
import type { Files } from "../system/files.ts";
import type { Listener } from "../system/listeners.ts";
import type { NotifySocket } from "../system/notify-socket.ts";
import { type PreloadState, preloadFds } from "../system/preload.ts";
import type { HttpSocket } from "../system/rebinding.ts";
import type { SignalPipe } from "../system/signals.ts";

/** Descriptors in it are inherited. */
export interface Shell {
  /** The command line of the first start: options are read from it again by every image. */
  argv: readonly string[];
  /** Which build wrote this down (version.ts). */
  build?: string | null;
  /** What they said last time, for when they cannot be read any more. */
  options: Options;
  /** The settings among them, to see which of them changed. */
  configured: Config;
  cwd: string;
  listeners: readonly Listener[];
  http: HttpSocket | null;
  control: ControlState;
  files: Files;
  /** Zygotes that live; absent in documents of images before there were any. */
  preload?: PreloadState | null;
  /** Pipes of workers that have one as stderr. */
  capture?: CaptureState | null;
  /** With `-m notify`. */
  notify?: NotifySocket | null;
  signals: SignalPipe;
  nofile: { soft: number; hard: number } | null;
  log: string;
  execMs: Millis;
  /** When it crashed, as far as that still counts. */
  crashes: readonly Millis[];
}

/** The shell as an image begins with it: the first one has no pipe for signals yet. */
export type ShellAtStart = Omit<Shell, "signals" | "execMs"> & { signals: SignalPipe | null };

/** Every descriptor that the document names. */
export function shellFds({
  listeners,
  http,
  control,
  files,
  signals,
  notify,
  preload,
  capture,
}: ShellAtStart): Set<number | null | undefined> {
  return new Set([
    ...listeners.flatMap(({ fds }) => fds),
    ...(http === null ? [] : [...http.listener.fds, ...http.connections.map(({ fd }) => fd)]),
    control.listener,
    ...control.connections.map(({ fd }) => fd),
    files.listener,
    signals?.read,
    signals?.write,
    notify?.fd,
    ...preloadFds(preload ?? null),
    ...captureFds(capture ?? null),
  ]);
}
