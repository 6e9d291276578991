/**
 * Gives memory back when the master has nothing to do. Most of an idle Node's resident memory is clean pages of its own
 * executable, used once at the start; the rest is garbage that V8 sees no reason to collect. Neither comes back by itself.
 *
 * Once, a little after the last thing that happened: no timer runs in a master that has been idle for longer.
 */
import { native } from "./native.ts";

/** Long enough that a burst of events pays for it once; short enough that memory is low within seconds of the start. */
const quietMs = 2000;

type CollectGarbage = (how: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

export class IdleTrim {
  #timer: NodeJS.Timeout | null = null;
  #busy = false;
  #collect: CollectGarbage | null = null;

  /** Something happens. Cheap: called for every event. */
  touch(): void {
    this.#busy = true;
    this.#timer ??= setTimeout(() => this.#look(), quietMs).unref();
  }

  #look(): void {
    this.#timer = null;
    if (!this.#busy) return void this.#trim();
    this.#busy = false;
    this.#timer = setTimeout(() => this.#look(), quietMs).unref();
  }

  async #trim(): Promise<void> {
    this.#collect ??= await garbageCollector();
    this.#collect({ type: "major", execution: "sync", flavor: "last-resort" });
    native.trimMemory();
  }
}

/** V8's own function: without --expose-gc on the command line, a context made after the flag was set has it. */
async function garbageCollector(): Promise<CollectGarbage> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as CollectGarbage;
}
