import { now as monotonicMs } from "../system/clock.ts";

/**
 * Turns: everybody who waits is served in rotation, for a limited time before the event loop has its turn. A client that
 * sends without end delays others by one round, never the master's signals and timers.
 */
export class Rotation<Member> {
  /** In the order of turns. */
  readonly #waiting = new Set<Member>();
  readonly #turnMs: number;
  readonly #serve: (member: Member, until: number) => boolean;
  #next: NodeJS.Immediate | null = null;
  #inTurn = false;

  /** `serve` handles a little, not past `until` (system/clock.ts), and returns whether the member waits again. */
  constructor(turnMs: number, serve: (member: Member, until: number) => boolean) {
    this.#turnMs = turnMs;
    this.#serve = serve;
  }

  /** A turn is going on: what is added now is served in it. */
  get inTurn(): boolean {
    return this.#inTurn;
  }

  add(member: Member): void {
    this.#waiting.add(member);
    if (!this.#inTurn) this.#schedule();
  }

  /** Serves at once, unless others have been waiting. */
  addNow(member: Member): void {
    this.#waiting.add(member);
    if (this.#next === null && !this.#inTurn) this.#turn();
  }

  delete(member: Member): void {
    this.#waiting.delete(member);
  }

  stop(): void {
    this.#waiting.clear();
    if (this.#next !== null) clearImmediate(this.#next);
    this.#next = null;
  }

  #schedule(): void {
    this.#next ??= setImmediate(() => {
      this.#next = null;
      this.#turn();
    });
  }

  #turn(): void {
    const until = monotonicMs() + this.#turnMs;
    this.#inTurn = true;
    try {
      // A set visits what is added while it is walked: whoever waits again comes after the others.
      for (const member of this.#waiting) {
        this.#waiting.delete(member);
        if (this.#serve(member, until)) this.#waiting.add(member);
        if (monotonicMs() > until) break;
      }
    } finally {
      this.#inTurn = false;
      if (this.#waiting.size > 0) this.#schedule();
    }
  }
}
