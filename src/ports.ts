/**
 * Every way out of the master, as one struct: the real kernel (main.ts wires system/ and control/) and the simulator
 * (test/simulation/world.ts) are its two implementations.
 */
import type { Asker, Effect, Millis, Pid, Signal, State } from "./core/model.ts";

export interface Ports {
  clock: {
    /** CLOCK_MONOTONIC in ms. */
    now(): Millis;
    /** Sets the one alarm; null stops it. The alarm delivers `woke`. */
    wakeAt(at: Millis | null): void;
  };
  processes: {
    /** Starts a worker; null: `spawned` or `unspawned` will tell (a zygote forks it). Throws {code, syscall} when it cannot be executed. */
    spawn(order: Extract<Effect, { kind: "spawn" }>): Pid | null;
    /** Sends it; "graceful" chooses USR2 or TERM by what the worker catches. Returns what was sent; a worker that is gone already is no error. */
    signal(pid: Pid, signal: Signal | "graceful"): Signal;
    signalRest(signal: Signal): void;
    /** Resident bytes of each living pid. */
    measure(pids: readonly Pid[]): Readonly<Record<Pid, number>>;
  };
  reexec: {
    /** Starts the proof that the new image works; the outcome is the event `checked`. */
    check(): void;
    endCheck(): void;
    /** Replaces this image; the next one starts from `state`. Returns only when that failed, with the reason. */
    exec(state: State): string;
  };
  /** At the end of each turn that changed the state: what a crash goes back to. Never throws. */
  save(state: State): void;
  control: {
    reply(asker: Asker, reply: { message: string; wait: boolean; error: boolean; data?: unknown }): void;
  };
  log(entry: Extract<Effect, { kind: "log" }>): void;
  announce(state: string): void;
  exit(code: number): void;
}
