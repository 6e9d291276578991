/** The listening end of the command socket: takes connections and finds out who is there. */
import type { Pid } from "../core/model.ts";
import type { Kernel } from "./contract.ts";

const solSocket = 1;
const soPeercred = 17;
const retryMs = 100;

export interface Arrival {
  fd: number;
  pid: Pid;
  uid: number;
}

export class Acceptor {
  readonly listener: number;
  readonly #kernel: Kernel;
  readonly #acceptsInRow: number;
  readonly #arrived: (arrival: Arrival) => void;
  readonly #makeRoom: () => boolean;
  readonly #trouble: (message: string) => void;
  #retry: NodeJS.Timeout | null = null;

  /**
   * `listener` is listening and non-blocking. `makeRoom` closes a connection so that a descriptor is free, or returns
   * false when there is none to close.
   */
  constructor(o: {
    listener: number;
    kernel: Kernel;
    acceptsInRow: number;
    arrived(arrival: Arrival): void;
    makeRoom(): boolean;
    trouble(message: string): void;
  }) {
    this.listener = o.listener;
    this.#kernel = o.kernel;
    this.#acceptsInRow = o.acceptsInRow;
    this.#arrived = o.arrived;
    this.#makeRoom = o.makeRoom;
    this.#trouble = o.trouble;
  }

  start(): void {
    this.#retry = null;
    try {
      this.#kernel.watch(this.listener, { readable: true, writable: false }, () => this.#accept());
    } catch (error) {
      this.#pause(
        `The command socket cannot be watched: ${(error as Error).message}. Trying again every ${retryMs} ms.`,
      );
    }
  }

  /** Stops listening. Clients that were not accepted see the connection reset. */
  close(): void {
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#kernel.unwatch(this.listener);
    this.#kernel.close(this.listener);
  }

  #accept(): void {
    for (let i = 0; i < this.#acceptsInRow; i++) {
      const fd = this.#acceptOne(i === 0);
      if (fd < 0) return;
      const peer = this.peerOrClose(fd);
      if (peer !== null) this.#arrived({ fd, ...peer });
    }
  }

  /**
   * Returns -1 when there is nobody, or no descriptor for them. Only the `first` of a row makes room: the kernel reports
   * EMFILE before it looks whether anybody waits, and a reactor that called us knows that for the first alone.
   */
  #acceptOne(first: boolean): number {
    for (let attempt = 0; ; attempt++) {
      try {
        return this.#kernel.accept({ fd: this.listener });
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        if (code === "ECONNABORTED") continue;
        if (code === "EMFILE" || code === "ENFILE") {
          if (!first) return -1;
          if (attempt === 0 && this.#makeRoom()) continue;
        }
        this.#pause(`The command socket cannot accept: ${message}. Trying again every ${retryMs} ms.`);
        return -1;
      }
    }
  }

  /** The listener stays readable while it cannot accept, which would keep the event loop busy: look again later. */
  #pause(message: string): void {
    this.#trouble(message);
    this.#kernel.unwatch(this.listener);
    this.#retry = setTimeout(() => this.start(), retryMs);
  }

  /** A client that cannot be known is nobody: it is let go, and may come again. */
  peerOrClose(fd: number): { pid: Pid; uid: number } | null {
    try {
      return this.#peer(fd);
    } catch (error) {
      this.#trouble(`A client of the command socket cannot be identified: ${(error as Error).message}`);
      this.#kernel.close(fd);
      return null;
    }
  }

  /** struct ucred: pid, uid, gid as the kernel saw them at connect(2). */
  #peer(fd: number): { pid: Pid; uid: number } {
    const bytes = this.#kernel.getSocketOption({ fd, level: solSocket, name: soPeercred, length: 12 });
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return { pid: view.getInt32(0, true), uid: view.getUint32(4, true) };
  }
}
