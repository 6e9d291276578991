/** One client of the command socket: who it is, what it has said, what it is still owed. Decides nothing (server.ts does). */
import type { ConnectionId, Pid } from "../core/model.ts";
import type { Kernel } from "./contract.ts";
import { LineBuffer } from "./line-buffer.ts";

/** How a connection goes through a re-exec, as JSON. */
export interface ConnectionState {
  id: ConnectionId;
  fd: number;
  pid: Pid;
  uid: number;
  /** The worker that it speaks for; null: none. */
  worker: Pid | null;
  /** One end of a worker's private socketpair (`-g`): its other end was given to that worker alone. */
  adopted: boolean;
  /** Commands whose last reply has not been given. */
  owed: number;
  /** The client has closed its sending half. */
  ended: boolean;
  /** To be closed as soon as all replies are sent. */
  closing: boolean;
  /** Crashes of the master in a row that found a request waiting here; absent: none. */
  crashes?: number;
  /** Bytes not yet handled and bytes not yet sent, base64. */
  input: string;
  output: string;
}

/** Bytes of requests, and of replies. */
export interface Weight {
  input: number;
  output: number;
}

/** Known already, so nobody looks at it. */
const taken = Buffer.allocUnsafeSlow(4096);

export class Connection {
  readonly id: ConnectionId;
  readonly fd: number;
  readonly pid: Pid;
  readonly uid: number;
  readonly trusted: boolean;
  readonly adopted: boolean;
  readonly lines = new LineBuffer();
  /** Bytes in `lines`, or handled by now, that are still in the socket as well. */
  untaken = 0;
  /** Crashes in a row that found a request waiting here. */
  crashes = 0;
  worker: Pid | null;
  owed = 0;
  ended = false;
  closing = false;
  closed = false;
  /** Counts the server's reads: the smallest has been silent longest. */
  lastRead = 0;
  /** What the reactor watches it for. */
  heard: Readonly<{ readable: boolean; writable: boolean }> = { readable: false, writable: false };
  #weight: Weight = { input: 0, output: 0 };
  #unsent: Buffer[] = [];
  #unsentBytes = 0;
  #fresh = "";

  constructor(o: Pick<ConnectionState, "id" | "fd" | "pid" | "uid" | "worker" | "adopted"> & { trusted: boolean }) {
    this.id = o.id;
    this.fd = o.fd;
    this.pid = o.pid;
    this.uid = o.uid;
    this.worker = o.worker;
    this.adopted = o.adopted;
    this.trusted = o.trusted;
  }

  /** Neither root, nor the master's user, nor a worker: it will be refused whatever it says. */
  get stranger(): boolean {
    return !this.trusted && this.worker === null;
  }

  /** Bytes that wait for the client to read, nearly: text counts by characters until it is sent. */
  get unsentBytes(): number {
    return this.#unsentBytes + this.#fresh.length;
  }

  /** By how many bytes what is held for it has grown since the last call; what is held for a closed one is nothing. */
  weigh(): Weight {
    const before = this.#weight;
    this.#weight = this.closed ? { input: 0, output: 0 } : { input: this.lines.length, output: this.unsentBytes };
    return { input: this.#weight.input - before.input, output: this.#weight.output - before.output };
  }

  queue(text: string): void {
    this.#fresh += text;
  }

  /** Reads what was only looked at before. Throws what `read` throws: the client is gone. */
  take(kernel: Pick<Kernel, "read">): void {
    while (this.untaken > 0) {
      const buffer = taken.subarray(0, Math.min(taken.length, this.untaken));
      const length = kernel.read({ fd: this.fd, buffer });
      if (length <= 0) return;
      this.untaken -= length;
    }
  }

  /** Sends what the kernel takes. Throws what `write` throws: the client is gone. */
  flush(kernel: Pick<Kernel, "write">): void {
    this.#encode();
    for (let buffer = this.#unsent[0]; buffer !== undefined; buffer = this.#unsent[0]) {
      const written = kernel.write({ fd: this.fd, buffer });
      if (written < 0) return;
      this.#unsentBytes -= written;
      if (written < buffer.length) this.#unsent[0] = buffer.subarray(written);
      else this.#unsent.shift();
    }
  }

  #encode(): void {
    if (this.#fresh === "") return;
    const buffer = Buffer.from(this.#fresh);
    this.#fresh = "";
    this.#unsent.push(buffer);
    this.#unsentBytes += buffer.length;
  }

  toState(): ConnectionState {
    this.#encode();
    const { id, fd, pid, uid, worker, adopted, owed, ended, closing, crashes } = this;
    const input = this.lines.rest().toString("base64");
    return {
      id,
      fd,
      pid,
      uid,
      worker,
      adopted,
      owed,
      ended,
      closing,
      crashes,
      input,
      output: Buffer.concat(this.#unsent).toString("base64"),
    };
  }

  static fromState(state: ConnectionState, trusted: boolean): Connection {
    const connection = new Connection({ ...state, trusted });
    connection.owed = state.owed;
    connection.ended = state.ended;
    connection.closing = state.closing;
    connection.crashes = state.crashes ?? 0;
    connection.lines.push(Buffer.from(state.input, "base64"));
    connection.lines.settle();
    const output = Buffer.from(state.output, "base64");
    if (output.length > 0) connection.#unsent.push(output);
    connection.#unsentBytes = output.length;
    return connection;
  }
}

/** Whom to close when there is no room: one that may say nothing, else one that is owed nothing, else any; of those, who was silent longest. */
export function leastMissed(connections: Iterable<Connection>): Connection | null {
  const rank = (connection: Connection) => (connection.stranger ? 0 : connection.owed === 0 ? 1 : 2);
  let victim: Connection | null = null;
  for (const connection of connections) {
    // A worker cannot open its private connection again.
    if (connection.adopted) continue;
    const order = victim === null ? -1 : rank(connection) - rank(victim);
    if (victim === null || order < 0 || (order === 0 && connection.lastRead < victim.lastRead)) victim = connection;
  }
  return victim;
}
