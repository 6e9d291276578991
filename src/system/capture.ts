/**
 * `--capture-stderr`: each worker has a pipe as its stderr. What comes out of it goes unchanged to the master's own, and its end
 * is kept for the report of the worker's death.
 *
 * Nothing is read that cannot be written at once: while nobody reads the master's stderr, the pipes fill up and then
 * the workers wait, as they would without us; the master does not. A pipe is open for as long as somebody can write to it: children
 * that outlive their worker included.
 */
import { closeSync, fchownSync, fstatSync, readlinkSync } from "node:fs";
import type { Native } from "../../native/einhorn-native.d.ts";
import type { Pid } from "../core/model.ts";
import { type CaptureState, type PipeState, part } from "./capture-state.ts";
import { now } from "./clock.ts";
import type { Change } from "./journal.ts";
import { LastWords } from "./last-words.ts";
import type { Outlet } from "./outlet.ts";

interface Pipe {
  id: number;
  fd: number | null;
  inode: number;
  pid: Pid | null;
  words: LastWords | null;
}

export interface CaptureSettings {
  from: CaptureState | null;
  outlet: Outlet;
  native: Pick<Native, "pipe" | "relay" | "setNonBlocking">;
  reactor: {
    watch(fd: number, wanted: { readable: true }, callback: () => void): void;
    unwatch(fd: number): void;
  };
  /** Writes down what `takeChanges` gives, for a crash. */
  keep(): void;
  /** The operator should know. */
  trouble(message: string): void;
}

/** A pipe that polls writable takes this much whole (pipe(7), PIPE_BUF): no line of half of it is ever mixed with another's. */
const chunkBytes = 4096;
/** Taken from one worker before others have their turn. */
const chunksAtOnce = 16;
/** A pipe's usual capacity, and more for one whose writer is as fast as we are. */
const chunksAtDeath = 64;
/** Where nobody says when there is room again. */
const retryMs = 100;
/** What is left when the master ends waits this long for its reader. */
const farewellMs = 1000;

type Outcome = "more" | "empty" | "full" | "end";

export class Capture {
  readonly #settings: CaptureSettings;
  /** By id. */
  readonly #pipes = new Map<number, Pipe>();
  #nextId = 1;
  readonly #changed = new Set<number | "rest">();
  readonly #buffer = Buffer.alloc(chunkBytes);
  /** Not watched while stderr is full. */
  readonly #parked = new Set<Pipe>();
  #rest: Buffer;
  #isWaiting = false;
  /** It has been said that something does not work. */
  #isTroubled = false;

  constructor(settings: CaptureSettings) {
    this.#settings = settings;
    this.#rest = Buffer.from(settings.from?.rest ?? "", "base64");
    for (const pipe of settings.from?.pipes ?? []) {
      const words = pipe.words === null ? null : new LastWords(Buffer.from(pipe.words, "base64"));
      this.#pipes.set(pipe.id, { ...pipe, words });
      this.#nextId = Math.max(this.#nextId, pipe.id + 1);
    }
  }

  /** From here on it is relayed what was written since the image before. */
  resume(): void {
    for (const pipe of this.#pipes.values()) this.#watchAgain(pipe);
    if (this.#rest.length > 0) this.#wait();
  }

  /** For one worker of this user. Null: a pipe cannot be had, and the worker has the master's own stderr. */
  open(owner: { uid?: number; gid?: number } | null): { id: number; stderr: number } | null {
    const { native, keep } = this.#settings;
    const fds: number[] = [];
    const id = this.#nextId++;
    try {
      fds.push(...native.pipe({}));
      const [fd, stderr] = fds as [number, number];
      native.setNonBlocking({ fd: stderr, nonBlocking: false });
      // It must be able to open /dev/stderr.
      if (owner !== null) fchownSync(stderr, owner.uid ?? -1, owner.gid ?? -1);
      const pipe: Pipe = { id, fd, inode: fstatSync(fd).ino, pid: null, words: new LastWords() };
      this.#watch(pipe);
      this.#pipes.set(id, pipe);
      this.#changed.add(id);
      // Before there is a worker: after a crash nobody else could say what this descriptor is.
      keep();
      return { id, stderr };
    } catch (error) {
      for (const fd of fds) closeSync(fd);
      this.#settings.trouble(`A worker's stderr is not captured: ${(error as Error).message}`);
      return null;
    }
  }

  /** Whose stderr it is. */
  belongs(id: number, pid: Pid): void {
    const pipe = this.#pipes.get(id);
    if (pipe === undefined) return;
    pipe.pid = pid;
    this.#changed.add(id);
  }

  /** What it wrote last, now that it is dead; null: nothing, or it is not captured. What stderr has not taken yet is not in it. */
  lastWords(pid: Pid): string | null {
    const pipe = [...this.#pipes.values()].find((other) => other.pid === pid);
    if (pipe === undefined) return null;
    this.#pump(pipe, chunksAtDeath);
    const text = pipe.words?.text() ?? null;
    pipe.pid = null;
    pipe.words = null;
    this.#changed.add(pipe.id);
    if (pipe.fd === null) this.#pipes.delete(pipe.id);
    return text;
  }

  /** Finds the pipe of a worker that was started just before a crash, by what it has as its stderr. */
  recognise(pid: Pid): void {
    const target = linkTarget(`/proc/${pid}/fd/2`);
    for (const { id, inode } of this.#pipes.values()) if (target === `pipe:[${inode}]`) this.belongs(id, pid);
  }

  /** Before the master ends: what workers left in their pipes, as long as somebody reads it soon. */
  farewell(): void {
    const giveUpAt = now() + farewellMs;
    for (;;) {
      this.#writeRest();
      for (const pipe of [...this.#pipes.values()]) this.#pump(pipe, chunksAtDeath);
      if ((this.#parked.size === 0 && this.#rest.length === 0) || now() > giveUpAt) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      this.#parked.clear();
    }
  }

  toState(): CaptureState {
    return { pipes: [...this.#pipes.values()].map(stateOf), rest: this.#rest.toString("base64") };
  }

  /** Since it was last called. */
  takeChanges(): Change[] {
    if (this.#changed.size === 0) return [];
    const changes = [...this.#changed].map((key): Change => {
      if (key === "rest") return [`${part}rest`, this.#rest.toString("base64")];
      const pipe = this.#pipes.get(key);
      const isOpen = pipe !== undefined && pipe.fd !== null;
      return isOpen ? [`${part}${key}`, { ...stateOf(pipe), words: pipe.words && "" }] : [`${part}${key}`];
    });
    this.#changed.clear();
    return changes;
  }

  /** Throws {code, syscall}. */
  #watch(pipe: Pipe): void {
    if (pipe.fd !== null) this.#settings.reactor.watch(pipe.fd, { readable: true }, () => this.#readable(pipe));
  }

  /** One that cannot be watched now waits with those for which there is no room. */
  #watchAgain(pipe: Pipe): void {
    try {
      this.#watch(pipe);
    } catch (error) {
      this.#complain(error);
      this.#park(pipe);
    }
  }

  #readable(pipe: Pipe): void {
    // First come, first served.
    if (this.#parked.size > 0) this.#park(pipe);
    else this.#pump(pipe, chunksAtOnce);
  }

  /** At most so many chunks. */
  #pump(pipe: Pipe, chunks: number): Outcome {
    let outcome: Outcome = "more";
    for (let left = chunks; left > 0 && outcome === "more"; left -= 1) outcome = this.#move(pipe);
    if (outcome === "end") this.#close(pipe);
    if (outcome === "full") this.#park(pipe);
    return outcome;
  }

  #move(pipe: Pipe): Outcome {
    if (pipe.fd === null) return "empty";
    if (this.#rest.length > 0) return "full";
    const { native, outlet } = this.#settings;
    try {
      const moved = native.relay({ from: pipe.fd, to: outlet.fd, buffer: this.#buffer });
      this.#isTroubled = false;
      if (moved === null) return "full";
      const { length, written } = moved;
      if (length < 0) return "empty";
      if (length === 0) return "end";
      pipe.words?.add(this.#buffer.subarray(0, length));
      if (written < length) this.#setRest(Buffer.from(this.#buffer.subarray(written, length)));
      return "more";
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EBADF") return "end";
      this.#complain(error);
      return "full";
    }
  }

  #complain(error: unknown): void {
    if (this.#isTroubled) return;
    this.#isTroubled = true;
    this.#settings.trouble(`A worker's stderr cannot be relayed: ${(error as Error).message}. Trying again.`);
  }

  /** It is nowhere else any more. */
  #setRest(rest: Buffer): void {
    this.#rest = rest;
    this.#changed.add("rest");
    this.#settings.keep();
  }

  #writeRest(): void {
    if (this.#rest.length === 0) return;
    const written = this.#settings.outlet.write(this.#rest);
    if (written > 0) this.#setRest(this.#rest.subarray(written));
  }

  #park(pipe: Pipe): void {
    if (pipe.fd !== null) this.#settings.reactor.unwatch(pipe.fd);
    this.#parked.add(pipe);
    this.#wait();
  }

  #wait(): void {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    if (this.#isTroubled || !this.#settings.outlet.whenWritable(this.#continue))
      setTimeout(this.#continue, retryMs).unref();
  }

  readonly #continue = (): void => {
    this.#settings.outlet.forget(this.#continue);
    this.#isWaiting = false;
    this.#writeRest();
    if (this.#rest.length > 0) return this.#wait();
    for (const pipe of [...this.#parked]) {
      if (this.#pump(pipe, chunksAtOnce) === "full") return;
      this.#parked.delete(pipe);
      this.#watchAgain(pipe);
    }
  };

  /** Nobody can write to it any more. */
  #close(pipe: Pipe): void {
    if (pipe.fd === null) return;
    this.#settings.reactor.unwatch(pipe.fd);
    this.#parked.delete(pipe);
    closeSync(pipe.fd);
    pipe.fd = null;
    this.#changed.add(pipe.id);
    // One that nobody has written to belongs to a worker that could not be started, or has nothing to say.
    if (pipe.words === null || pipe.words.bytes().length === 0) this.#pipes.delete(pipe.id);
  }
}

function stateOf({ words, ...pipe }: Pipe): PipeState {
  return { ...pipe, words: words?.bytes().toString("base64") ?? null };
}

function linkTarget(path: string): string | null {
  try {
    return readlinkSync(path);
  } catch {
    // It is gone, or another user's and we may not look.
    return null;
  }
}
