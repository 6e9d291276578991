/**
 * A descriptor that is shared with every worker and written without ever waiting: the master's stderr.
 *
 * O_NONBLOCK belongs to what is shared (fcntl(2)): it is not touched. Pipes and terminals are opened once more for a
 * description of our own; where that is refused, poll(2) is asked first.
 */
import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";

/** What an outlet needs of the reactor (system/reactor.ts). */
export interface Watcher {
  watch(fd: number, wanted: { writable: true }, callback: () => void): void;
  unwatch(fd: number): void;
}

/** poll(2) with timeout 0, as the addon has it: bit 2 says writable. */
export type Poll = (order: { fd: number; events: number }) => number;

export interface OutletSettings {
  watcher: Watcher;
  poll: Poll;
  /** Default 2. */
  fd?: number;
}

const writableBit = 2;

export class Outlet {
  /** Where to write: our own description, or the shared one. */
  readonly fd: number;
  readonly #isOwn: boolean;
  readonly #watcher: Watcher;
  readonly #poll: Poll;
  readonly #waiting = new Set<() => void>();

  constructor({ watcher, poll, fd = 2 }: OutletSettings) {
    this.#watcher = watcher;
    this.#poll = poll;
    const own = reopen(fd);
    this.#isOwn = own !== null;
    this.fd = own ?? fd;
  }

  /** Bytes written; all of them are gone too when nobody can read them any more. 0: full. Never throws. */
  write(bytes: Buffer): number {
    try {
      if (!this.#isOwn && (this.#poll({ fd: this.fd, events: writableBit }) & writableBit) === 0) return 0;
      return writeSync(this.fd, bytes);
    } catch (error) {
      // EPIPE, EBADF, ENOSPC, EIO: there is no other place to say so, and the workers go on.
      const { code = "" } = error as NodeJS.ErrnoException;
      return ["EAGAIN", "ENOMEM", "ENOBUFS"].includes(code) ? 0 : bytes.length;
    }
  }

  /** Calls `callback` whenever there is room, until `forget`. False: nobody will ever say so (EBADF, ENOMEM). */
  whenWritable(callback: () => void): boolean {
    try {
      if (this.#waiting.size === 0) this.#watcher.watch(this.fd, { writable: true }, () => this.#callAll());
    } catch {
      return false;
    }
    this.#waiting.add(callback);
    return true;
  }

  forget(callback: () => void): void {
    if (this.#waiting.delete(callback) && this.#waiting.size === 0) this.#watcher.unwatch(this.fd);
  }

  close(): void {
    if (this.#waiting.size > 0) this.#watcher.unwatch(this.fd);
    this.#waiting.clear();
    if (this.#isOwn) closeSync(this.fd);
  }

  #callAll(): void {
    for (const callback of [...this.#waiting]) callback();
  }
}

/** A second description of a pipe or terminal, or null: not one, or not permitted (EACCES; ENXIO for sockets). */
function reopen(fd: number): number | null {
  try {
    // A file has one offset per description: workers and we would write over each other. It never blocks either.
    const stat = fstatSync(fd);
    if (!stat.isFIFO() && !stat.isCharacterDevice()) return null;
    const { O_WRONLY, O_APPEND, O_NONBLOCK, O_NOCTTY } = constants;
    return openSync(`/proc/self/fd/${fd}`, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY);
  } catch {
    return null;
  }
}
