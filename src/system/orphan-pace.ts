/**
 * How often PID 1 looks for dead orphans. One that dies now and then is reaped at once. When they come in a stream, waking
 * up for each costs far more than reaping it, so they are then collected every few milliseconds, and a worker that dies in the
 * midst of them is noticed that much later.
 */
import type { Millis } from "../core/model.ts";

/** Orphans closer together than this are a stream. */
const streamGapMs = 10;
/** A look is to find about so many: waking up costs as much as reaping ten, and they are few beside what a PID table holds. */
const orphansPerLook = 20;
const pauseMsMin = 1;
const pauseMsMax = 4;

export class OrphanPace {
  readonly #reap: () => void;
  #timer: NodeJS.Timeout | null = null;
  #lastAt: Millis = Number.NEGATIVE_INFINITY;
  #crowded = false;

  constructor(reap: () => void) {
    this.#reap = reap;
  }

  /** A stream is on: the next look comes by itself, and SIGCHLD need not tell. */
  get crowded(): boolean {
    return this.#crowded;
  }

  /** After each look, with how many orphans it found. True: look once more, now with SIGCHLD told again. */
  again(orphans: number, at: Millis): boolean {
    const wasCrowded = this.#crowded;
    const sinceMs = at - this.#lastAt;
    this.#crowded = orphans > 0 && (wasCrowded || sinceMs < streamGapMs);
    if (orphans > 0) this.#lastAt = at;
    if (this.#crowded) {
      const dueMs = Math.round((orphansPerLook * sinceMs) / orphans);
      const pauseMs = Math.min(pauseMsMax, Math.max(pauseMsMin, dueMs));
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#reap();
      }, pauseMs);
    }
    return wasCrowded && !this.#crowded;
  }
}
