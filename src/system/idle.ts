/**
 * Gives memory back when the master has nothing to do, and bounds garbage while it has. Most of an idle Node's resident
 * memory is clean pages of its own executable, used once at the start; the rest is garbage that V8 sees no reason to
 * collect. Neither comes back by itself.
 *
 * All of it once, a little after the last thing that happened: no timer runs in a master that has been idle for longer.
 */
import { now } from "./clock.ts";
import { native } from "./native.ts";

/** Long enough that a burst of events pays for it once; short enough that memory is low within seconds of the start. */
const quietMs = 2000;
/** While it is busy: how often it looks, and what it may have grown by until garbage is collected. V8 would let it be tens of MB. */
const busyLookMs = 250;
const grownBytesMax = 8 * 1024 * 1024;

type CollectGarbage = (how: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

export class IdleTrim {
  #timer: NodeJS.Timeout | null = null;
  #touchedAt = 0;
  #collect: CollectGarbage | null = null;
  #rssBytes = Number.POSITIVE_INFINITY;

  /** Something happens. Cheap: called for every event. */
  touch(): void {
    this.#touchedAt = now();
    this.#timer ??= setTimeout(() => void this.#look(), busyLookMs).unref();
  }

  async #look(): Promise<void> {
    this.#timer = null;
    this.#collect ??= await garbageCollector();
    const quiet = now() - this.#touchedAt >= quietMs;
    const rss = process.memoryUsage.rss();
    if (quiet || rss > this.#rssBytes + grownBytesMax) {
      this.#collect({ type: "major", execution: "sync", flavor: "last-resort" });
      if (quiet) return native.trimMemory();
      this.#rssBytes = process.memoryUsage.rss();
    }
    this.#rssBytes = Math.min(this.#rssBytes, rss);
    this.#timer ??= setTimeout(() => void this.#look(), busyLookMs).unref();
  }
}

/** V8's own function: without --expose-gc on the command line, a context made after the flag was set has it. */
async function garbageCollector(): Promise<CollectGarbage> {
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  // The V8 of Node 20 never makes its young generation smaller again: there it stays as small as it begins.
  if (process.version.startsWith("v20.")) setFlagsFromString("--semi-space-growth-factor=1");
  return runInNewContext("gc") as CollectGarbage;
}
