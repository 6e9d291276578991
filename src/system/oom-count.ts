/** Which SIGKILLs were the kernel's for want of memory: the container's counter says how many, never who. */
import type { Millis } from "../core/model.ts";

/** A kill that is counted is reaped soon after; what nobody has claimed by then was no worker. */
export const claimableMs = 1_000;

export class OomCount {
  readonly #read: () => number | null;
  #seen: number | null;
  #unclaimed = 0;
  #until: Millis = 0;

  /** `read` gives the counter, null where there is none (processes.ts, oomKills). */
  constructor(read: () => number | null) {
    this.#read = read;
    this.#seen = read();
  }

  /** A process ended by SIGKILL, and not by ours: takes one of the kills that nobody has claimed yet, and says if there was one. */
  claim(now: Millis): boolean {
    const kills = this.#read();
    const fresh = kills === null || this.#seen === null ? 0 : Math.max(0, kills - this.#seen);
    this.#seen = kills;
    if (now > this.#until) this.#unclaimed = 0;
    if (fresh > 0) this.#until = now + claimableMs;
    this.#unclaimed += fresh;
    if (this.#unclaimed === 0) return false;
    this.#unclaimed -= 1;
    return true;
  }
}
