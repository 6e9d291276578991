/**
 * Gives memory back when the master has nothing to do, and bounds garbage while it has. Most of an idle Node's resident memory is
 * clean pages of its own executable, used once at the start; the rest is garbage that V8 sees no reason to collect. Neither
 * comes back by itself.
 *
 * A little after the last thing that happened, and once more when V8 is done as well: no timer runs in a master that has been idle for longer.
 */
import { native } from "./native.ts";

const lookMs = 250;
/** Long enough that a burst of events pays for it once; short enough that memory is low within seconds of the start. */
const quietMs = 2000;
/** What a busy master may have grown by until garbage is collected. V8 would let it be tens of MB. */
const grownBytesMax = 8 * 1024 * 1024;
/** What a start leaves, code above all, V8 lets go of only after it was not needed over several collections of 5 ms each. */
const collectionsOfStart = 6;
const collectionsLater = 2;
/** V8's threads finish what a collection began; what they touch would come back at once. */
const settlingMs = 100;
/** Some ten seconds after a lot of work V8 tidies up once more by itself, and touches 5 MB of its own code for it. */
const afterV8Ms = 9_000;

export class IdleTrim {
  #timer: NodeJS.Timeout | null = null;
  #late: NodeJS.Timeout | undefined;
  #isTouched = false;
  #quietMs = 0;
  #collections = collectionsOfStart;
  #leastRssBytes = Number.POSITIVE_INFINITY;

  /** Something happens. Cheap: called for every event. */
  touch(): void {
    this.#isTouched = true;
    this.#timer ??= this.#after(lookMs, () => this.#look());
  }

  #look(): void {
    clearTimeout(this.#late);
    this.#quietMs = this.#isTouched ? 0 : this.#quietMs + lookMs;
    this.#isTouched = false;
    if (this.#quietMs >= quietMs) return this.#trim();
    this.#boundGarbage();
    this.#timer = this.#after(lookMs, () => this.#look());
  }

  #boundGarbage(): void {
    const before = process.memoryUsage.rss();
    if (before > this.#leastRssBytes + grownBytesMax) {
      native.collectGarbage();
      this.#leastRssBytes = process.memoryUsage.rss();
    } else this.#leastRssBytes = Math.min(this.#leastRssBytes, before);
  }

  #trim(): void {
    for (let i = 0; i < this.#collections; i++) native.collectGarbage();
    this.#collections = collectionsLater;
    this.#timer = this.#after(settlingMs, () => {
      native.trimMemory();
      this.#late = setTimeout(() => native.trimMemory(), afterV8Ms).unref();
    });
    // What is needed again comes back page by page, and is no garbage.
    this.#leastRssBytes = Number.POSITIVE_INFINITY;
    this.#quietMs = 0;
  }

  #after(ms: number, act: () => void): NodeJS.Timeout {
    return setTimeout(() => {
      this.#timer = null;
      act();
    }, ms).unref();
  }
}
