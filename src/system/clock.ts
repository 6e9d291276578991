/** The time and the one alarm. */
import type { Millis } from "../core/model.ts";

/** CLOCK_MONOTONIC, the same clock for every process: times in the state stay true over a re-exec. */
export function now(): Millis {
  const [seconds, nanos] = process.hrtime();
  return seconds * 1000 + nanos / 1e6;
}

/** setTimeout's longest (a 32-bit number of ms); an alarm later than that is set again when it is reached. */
const longestMs = 2 ** 31 - 1;

export class Alarm {
  readonly #ring: () => void;
  #timer: NodeJS.Timeout | undefined;
  #at: Millis | null = null;

  constructor(ring: () => void) {
    this.#ring = ring;
  }

  /** Rings at `at` or a little later; null never. Setting it again replaces what was set. */
  set(at: Millis | null): void {
    if (at === this.#at) return;
    clearTimeout(this.#timer);
    this.#at = at;
    if (at === null) return;
    const inMs = Math.min(Math.max(0, Math.ceil(at - now())), longestMs);
    this.#timer = setTimeout(() => {
      this.#at = null;
      this.#ring();
    }, inMs);
  }
}
