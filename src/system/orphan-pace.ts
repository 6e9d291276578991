/**
 * How often PID 1 looks for dead orphans. One that dies now and then is reaped at once. When they come in a stream, waking
 * up for each costs far more than reaping it, so they are then collected every millisecond, and a worker that dies in the
 * midst of them is noticed that much later.
 */
import type { Millis } from "../core/model.ts";

/** Orphans closer together than this are a stream. */
const streamGapMs = 10;
/** A process that leaves orphans as fast as it can fork leaves some 10 in this time: few beside what a PID table holds. */
const pauseMs = 1;

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
    this.#crowded = orphans > 0 && (wasCrowded || at - this.#lastAt < streamGapMs);
    if (orphans > 0) this.#lastAt = at;
    if (this.#crowded) {
      this.#timer ??= setTimeout(() => {
        this.#timer = null;
        this.#reap();
      }, pauseMs);
    }
    return wasCrowded && !this.#crowded;
  }
}
