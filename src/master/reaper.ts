/** Reaping: every child, whosever it was. Workers' ends are events, strangers' are counted. */
import type { Event, Pid, State } from "../core/model.ts";
import { byPid } from "../core/pool.ts";
import { now } from "../system/clock.ts";
import { OomCount, oomKills } from "../system/oom-count.ts";
import { OrphanPace } from "../system/orphan-pace.ts";
import type { Preload } from "../system/preload.ts";
import { reap } from "../system/processes.ts";
import type { Checker } from "./checker.ts";

/** How long orphans are counted before the core hears of them. */
const orphansEveryMs = 100;
/** Finding the counter takes half a millisecond, in which a new image's first worker, or clients that wait for its answer, would wait too. */
const findOomCountAfterMs = 20;
/** Reaped in one turn of the event loop. */
const batch = 256;

export interface ReaperSettings {
  state(): State;
  deliver(event: Event): void;
  preload: Preload | null;
  checker: Checker;
  lastWords(pid: Pid): string | null;
}

export class Reaper {
  readonly #settings: ReaperSettings;
  readonly #pace = new OrphanPace(() => this.reap());
  #oom: OomCount | null = null;
  #orphans = 0;
  #orphansDue: NodeJS.Timeout | null = null;
  #known: { workers: State["workers"] | null; check: Pid | null; pids: Int32Array } = {
    workers: null,
    check: null,
    pids: new Int32Array(),
  };

  constructor(settings: ReaperSettings) {
    this.#settings = settings;
    setTimeout(() => {
      this.#oom = new OomCount(oomKills());
    }, findOomCountAfterMs);
  }

  /** All in one drain, as signals coalesce (signal(7)); a thousand at once take several turns of the loop. */
  reap(): void {
    const { state, deliver, preload, checker } = this.#settings;
    const { exits, strangers, childless, more } = reap(batch, this.#knownPids(), !this.#pace.crowded);
    preload?.listen();
    let orphans = strangers;
    for (const exit of exits) {
      if (checker.ended(exit)) continue;
      const worker = byPid(state(), exit.pid);
      if (worker === undefined) orphans += preload?.died(exit) ? 0 : 1;
      else {
        const isKilled = exit.signal === "SIGKILL" && worker.phase.kind !== "killed";
        const oom = isKilled && (this.#oom?.claim(now()) ?? false);
        deliver({ kind: "exited", ...exit, oom, lastWords: this.#settings.lastWords(exit.pid) });
      }
    }
    if (orphans > 0) this.#count(orphans);
    if (more) setImmediate(() => this.reap());
    else if (this.#pace.again(orphans, now())) this.reap();
    else if (childless && state().mode.kind === "sweeping") deliver({ kind: "childless" });
  }

  /** Orphans die one by one and by the thousand: the core hears of them in sums. */
  #count(orphans: number): void {
    this.#orphans += orphans;
    this.#orphansDue ??= setTimeout(() => {
      this.#orphansDue = null;
      const count = this.#orphans;
      this.#orphans = 0;
      this.#settings.deliver({ kind: "orphans-reaped", count });
    }, orphansEveryMs);
  }

  /** Whose ends matter, ascending. With a preload anybody's may: a worker can end before its zygote has said who it is. */
  #knownPids(): Int32Array | undefined {
    const { state, preload, checker } = this.#settings;
    if (preload !== null) return undefined;
    const { workers } = state();
    const check = checker.pid;
    if (this.#known.workers !== workers || this.#known.check !== check) {
      // Filled by hand: a list of a thousand is made three times faster than by flatMap and from.
      const pids = new Int32Array(workers.length + 1);
      let count = 0;
      for (const { pid } of workers) if (pid !== null) pids[count++] = pid;
      if (check !== null) pids[count++] = check;
      this.#known = { workers, check, pids: pids.subarray(0, count).sort() };
    }
    return this.#known.pids;
  }
}
