/** The proof that a new image can take over: one child at a time, whose end is the core's `checked`. */
import type { Event, Pid } from "../core/model.ts";
import type { Options } from "../options.ts";
import { type Exit, kill } from "../system/processes.ts";
import { type Check, judgeCheck, startCheck } from "../system/reexec.ts";

export class Checker {
  readonly #options: Options;
  readonly #deliver: (event: Event) => void;
  #check: Check | null = null;

  constructor(options: Options, deliver: (event: Event) => void) {
    this.#options = options;
    this.#deliver = deliver;
  }

  /** Null while none is under way. */
  get pid(): Pid | null {
    return this.#check?.pid ?? null;
  }

  start(document: unknown): void {
    try {
      this.#check = startCheck(this.#options, document);
    } catch (error) {
      // Not within this turn: the core is still busy with the event that asked for it.
      const reason = (error as Error).message;
      setImmediate(() => this.#deliver({ kind: "checked", reason, launch: null }));
    }
  }

  giveUp(): void {
    if (this.#check === null) return;
    this.#check.timedOut = true;
    kill(this.#check.pid, "SIGKILL");
  }

  /** Was it the check that ended? */
  ended({ pid, code, signal }: Exit): boolean {
    const check = this.#check;
    if (check === null || pid !== check.pid) return false;
    this.#check = null;
    const judgement = judgeCheck(check, code, signal);
    // Not within the drain of deaths that this one was found in: the verdict leads to execve, and the others would be lost.
    setImmediate(() => this.#deliver({ kind: "checked", ...judgement }));
    return true;
  }
}
