/** What can happen to the master (Event), and what it can order (Effect). Plain data, as everything in the core. */
import type { Command } from "./commands.ts";
import type { About, Asker, ConnectionId, Generation, Launch, Level, Millis, Pid, Signal } from "./model.ts";

/** What has happened. Past facts only. */
export type Event =
  | { kind: "booted"; about: About; launch: Launch }
  /** A new image took over; `execMs` is when the old one called execve. `launch` is what new workers start from. */
  | { kind: "reexeced"; execMs: Millis; about: About; launch: Launch }
  /**
   * This image took over after a crash, the `recent`th within a minute. `lost` are workers that ended unseen, `found` are
   * children that the crashed turn had started, `connections` are those that are still open.
   */
  | {
      kind: "crashed";
      reason: string;
      recent: number;
      about: About;
      lost: readonly Pid[];
      found: readonly { pid: Pid; slot: number; generation: Generation }[];
      connections: readonly ConnectionId[];
    }
  | { kind: "spawned"; id: number; pid: Pid }
  /** ECANCELED: called off, because its generation is over; no failure. */
  | { kind: "unspawned"; id: number; errno: string; syscall: string }
  | {
      kind: "exited";
      pid: Pid;
      code: number | null;
      signal: Signal | null;
      oom: boolean;
      cpuMs: Millis;
      maxRssBytes: number;
      lastWords: string | null;
    }
  | { kind: "orphans-reaped"; count: number }
  /** No child of any kind is left (waitpid's ECHILD). */
  | { kind: "childless" }
  /** Which signal "graceful" turned out to be, or that it could not be sent. */
  | { kind: "signalled"; id: number; signal: Signal }
  | { kind: "acked"; pid: Pid; via: "command" | "notify" }
  | { kind: "pinged"; pid: Pid; requestId: string | null }
  /** How it is with the zygote of the wanted generation; "off": its workers are started by exec. */
  | { kind: "preloaded"; path: string; progress: "loading" | "active" | "off"; reason: string | null }
  | { kind: "notified"; pid: Pid; status?: string; stopping?: true; extendMs?: Millis; watchdog?: true }
  | { kind: "measured"; rssBytes: Readonly<Record<Pid, number>> }
  /** `wallMs` is the time of day, in ms since 1970: for answers that show when something was. */
  | { kind: "asked"; asker: Asker; command: Command; wallMs: number }
  | { kind: "hung-up"; connection: ConnectionId }
  | { kind: "signal"; signal: Signal }
  /**
   * `reason` is why the new image cannot take over; null: it can. `launch` is what new workers may be started from before it does;
   * null: they wait for it.
   */
  | { kind: "checked"; reason: string | null; launch: Launch | null }
  | { kind: "exec-failed"; reason: string }
  | { kind: "woke" };

/** What to do to the world. Orders only; a failure comes back as an event. */
export type Effect =
  | { kind: "spawn"; id: number; slot: number; generation: Generation; launch: Launch }
  | { kind: "signal"; id: number; pid: Pid; signal: Signal | "graceful" }
  /** To everything but ourselves, kill(2) with -1; PID 1 only. */
  | { kind: "signal-rest"; signal: Signal }
  | { kind: "check" }
  /** Give up a check that hangs. */
  | { kind: "end-check" }
  | { kind: "measure"; pids: readonly Pid[] }
  | { kind: "reply"; asker: Asker; message: string; wait: boolean; error: boolean; data?: unknown }
  /** To einhorn's own service manager, sd_notify(3). */
  | { kind: "announce"; state: "READY=1" | "RELOADING=1" | "STOPPING=1" }
  | { kind: "log"; level: Level; message: string; fields: Readonly<Record<string, string | number | boolean | null>> }
  | { kind: "exit"; code: number };
