/**
 * The master's signals: caught by the addon, which writes a record to a pipe for each; read here, in order, with who
 * sent them. The pipe goes through a re-exec, so a record not yet read is read by the next image.
 *
 * A re-exec loses no signal if: the old image calls `hold`, adds `withHold` to the environment and executes; the new one
 * catches, then calls `release`. Why each is needed: native/hold-signals.c.
 */
import type { Pid, Signal } from "../core/model.ts";
import { holdSignalsPath, native } from "./native.ts";
import { signalName, signalNumber } from "./processes.ts";
import { unwatch, watch } from "./reactor.ts";

/** What the master has a meaning for, or passes on to its workers, and SIGCHLD. Real-time signals are 34 to 64. */
const names = "TERM INT HUP QUIT USR1 USR2 WINCH CONT TTIN TTOU CHLD".split(" ");
const caught: readonly number[] = [
  ...names.map((name) => signalNumber(name) as number),
  ...Array.from({ length: 31 }, (_, n) => 34 + n),
];

/** The two ends of the signals' pipe, which holds 8192 records; both are inheritable. */
export interface SignalPipe {
  read: number;
  write: number;
}

const recordBytes = 8;
const recordsInRow = 64;
const retryMs = 100;

/**
 * Catches all the signals above and calls `deliver` for each, from the event loop. SIGCHLD is delivered once until the next
 * `reap`. `from` is the previous image's pipe. Keeps the event loop alive; `stop` ends that.
 */
export function catchSignals(deliver: (signal: Signal, sender: Pid) => void, from?: SignalPipe): SignalPipe {
  const pipe = from ?? openPipe();
  const record = Buffer.alloc(recordBytes);
  native.catchSignals({ signals: caught, fd: pipe.write });
  const read = () => {
    try {
      return native.read({ fd: pipe.read, buffer: record });
    } catch {
      // ENOMEM: what is in the pipe stays there, and the reactor comes again.
      return 0;
    }
  };
  // One by one: what a signal leads to may be an execve, and records that were read with it would be lost. Bounded, so
  // that a flood of signals leaves the loop its turn.
  const drain = () => {
    for (let n = 0; n < recordsInRow && read() === recordBytes; n++) {
      deliver(signalName(record.readInt32LE(0)), record.readInt32LE(4));
    }
  };
  const listen = () => {
    try {
      watch(pipe.read, { readable: true }, drain);
    } catch {
      // ENOMEM, ENOSPC (epoll_ctl(2)): signals wait in the pipe until they can be heard.
      setTimeout(listen, retryMs);
    }
  };
  listen();
  return pipe;
}

function openPipe(): SignalPipe {
  const [read, write] = native.pipe({});
  return { read, write };
}

/** Signals are still caught, but no longer delivered. */
export function stop(pipe: SignalPipe): void {
  unwatch(pipe.read);
}

/** From here on signals wait, in the kernel, for the next image's `release`; or for ours, when the execve failed. */
export function hold(): void {
  native.holdSignals({ signals: caught });
}

/** Call it when the signals are caught: those that waited arrive now. */
export function release(): void {
  native.releaseSignals();
}

/**
 * `env` with the preload object that keeps held signals held while Node starts. Unchanged where that object was not
 * shipped, or where its path has a character that LD_PRELOAD cannot hold (ld.so(8)).
 */
export function withHold(env: Readonly<Record<string, string>>): Record<string, string> {
  const clean = withoutHold(env);
  if (holdSignalsPath === null || /[\s:]/.test(holdSignalsPath)) return clean;
  return { ...clean, LD_PRELOAD: clean.LD_PRELOAD ? `${holdSignalsPath}:${clean.LD_PRELOAD}` : holdSignalsPath };
}

/** `env` without it: what a worker, or `state`, is to see. The operator's own preloads stay. */
export function withoutHold(env: Readonly<Record<string, string>>): Record<string, string> {
  const { LD_PRELOAD, ...rest } = env;
  if (LD_PRELOAD === undefined) return rest;
  const others = LD_PRELOAD.split(/[\s:]+/).filter((file) => file !== "" && !file.endsWith("/hold-signals.so"));
  if (others.length === 0) return rest;
  return { ...rest, LD_PRELOAD: others.join(":") };
}
