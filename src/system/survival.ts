/**
 * The master does not die of its own faults: everything that the next image needs is kept in a memory file (journal.ts), and
 * a fault, an abort or an exception that nobody caught executes that image in the same PID.
 */
import { closeSync } from "node:fs";
import type { Options } from "../options.ts";
import { now } from "./clock.ts";
import { type Note, readNote, writeText } from "./crash-note.ts";
import { type Change, fileStorage, isJournal, Journal, type Parts, readJournal } from "./journal.ts";
import { native } from "./native.ts";
import { command, environment, pairs } from "./reexec.ts";
import { hold, release, withHold } from "./signals.ts";

export interface SurvivalSettings {
  options: Options;
  /** Changes since it was last called. */
  changes(): readonly Change[];
  /** Everything there is. */
  everything(): Iterable<Change>;
  /** The operator should know. */
  trouble(message: string): void;
}

export class Survival {
  readonly #settings: SurvivalSettings;
  readonly #fd: number;
  readonly #journal: Journal;
  readonly #args: readonly string[];
  #troubled = false;
  #planned: NodeJS.Immediate | null = null;

  /** From here on a crash leads to the next image. Throws {code, syscall} when there is no memory for the file; nothing is left of it then. */
  constructor(settings: SurvivalSettings) {
    const { options } = settings;
    this.#settings = settings;
    this.#fd = native.memoryFile({ name: "einhorn-crash" });
    this.#args = [...command(options, "running"), "--with-state-fd", String(this.#fd), "--", ...options.program];
    try {
      this.#journal = new Journal(fileStorage(this.#fd), settings.everything);
      this.#write(settings.changes());
      native.surviveCrashes({ ...this.#next(), stateFd: this.#fd });
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Writes what changed. Never throws: a file that cannot be written leaves the master as it is, but older in a crash. */
  save(): void {
    if (this.#planned !== null) clearImmediate(this.#planned);
    this.#planned = null;
    const changes = this.#settings.changes();
    if (changes.length > 0) this.#write(changes);
  }

  #write(changes: readonly Change[]): void {
    try {
      this.#journal.write(changes);
      this.#troubled = false;
    } catch (error) {
      if (this.#troubled) return;
      this.#troubled = true;
      this.#settings.trouble(`The state cannot be kept for a crash: ${(error as Error).message}. Trying again.`);
    }
  }

  /** `save` once all that is under way in the event loop has been done. */
  saveSoon(): void {
    this.#planned ??= setImmediate(() => {
      this.#planned = null;
      this.save();
    });
  }

  /** An exception that nobody caught: the turn it ended is as if it had not been. Returns only if nothing can be executed. */
  crash(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    try {
      holdIfPossible();
      writeText(fileStorage(this.#fd), { text, at: now() });
      const { files, args, env } = this.#next();
      native.exec({ file: files[0] as string, args, env });
    } catch (failure) {
      release();
      this.#settings.trouble(`[BUG] ${text}; the master cannot be restarted: ${(failure as Error).message}`);
    }
  }

  /** This very program: what is on the disk by now may be a release that was never checked. */
  #next(): { files: string[]; args: readonly string[]; env: readonly string[] } {
    const env = pairs(withHold(environment(this.#settings.options)));
    return { files: [this.#args[0] as string, "/proc/self/exe"], args: this.#args, env };
  }
}

/** When there was no memory for what a crash needs. */
const retryMs = 1000;

/** Calls `ready` when crashes are survived: at once, or, where the kernel refuses what that needs, as soon as it no longer does. */
export function prepareSurvival(settings: SurvivalSettings, ready: (survival: Survival) => void): void {
  try {
    ready(new Survival(settings));
  } catch (error) {
    settings.trouble(`A crash of the master would be its end: ${(error as Error).message}. Trying again.`);
    setTimeout(() => prepareSurvival(settings, ready), retryMs);
  }
}

/** Too few descriptors to look for threads is no reason to stay crashed. */
function holdIfPossible(): void {
  try {
    hold();
  } catch {
    // A signal that comes just now may be lost.
  }
}

/** What a crash left: the parts, and why. Null for a document of an ordinary re-exec. */
export function readCrash(fd: number): { parts: Parts; note: Note } | null {
  const storage = fileStorage(fd);
  if (!isJournal(storage)) return null;
  const parts = readJournal(storage);
  if (parts === null) throw new Error("the state that the crashed master kept cannot be read");
  return { parts, note: readNote(storage) };
}
