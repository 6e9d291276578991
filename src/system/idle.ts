/**
 * Gives memory back when the master has nothing to do. Most of an idle Node's resident memory is clean pages of its own
 * executable, used once at the start; the rest is garbage that V8 sees no reason to collect. Neither comes back by itself.
 *
 * Once, a little after the last thing that happened: no timer runs in a master that has been idle for longer.
 */
import { native } from "./native.ts";

/** Long enough that a burst of events pays for it once; short enough that memory is low within seconds of the start. */
const quietMs = 2000;
/** What a start leaves, code above all, V8 lets go of only after it was not needed over several collections of 5 ms each. */
const collectionsOfStart = 6;
const collectionsLater = 2;
/** V8's threads finish what a collection began; what they touch would come back at once. */
const settlingMs = 100;

export class IdleTrim {
  #timer: NodeJS.Timeout | null = null;
  #busy = false;
  #collections = collectionsOfStart;

  /** Something happens. Cheap: called for every event. */
  touch(): void {
    this.#busy = true;
    this.#timer ??= this.#after(quietMs, () => this.#look());
  }

  #look(): void {
    if (this.#busy) {
      this.#busy = false;
      this.#timer = this.#after(quietMs, () => this.#look());
      return;
    }
    for (let i = 0; i < this.#collections; i++) native.collectGarbage();
    this.#collections = collectionsLater;
    this.#timer = this.#after(settlingMs, () => native.trimMemory());
  }

  #after(ms: number, act: () => void): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = null;
      act();
    }, ms).unref();
  }
}
