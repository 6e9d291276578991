/**
 * The command socket's server: connections and their bytes. A line goes to reception.ts, which calls `handlers`; answers
 * come back through reply(). Nothing a client does stalls the master (rotation.ts), who does not read its replies is not
 * read from, and everything held can be written down for the next image.
 */
import type { Asker, ConnectionId, Pid } from "../core/model.ts";
import { now as monotonicMs } from "../system/clock.ts";
import { Acceptor, type Arrival } from "./acceptor.ts";
import { Connection, type ConnectionState, leastMissed, type Weight } from "./connection.ts";
import { type ControlState, defaultLimits, type Limits, type ServerOptions } from "./contract.ts";
import { Reception } from "./reception.ts";
import { Rotation } from "./rotation.ts";
import { encodeReply } from "./wire.ts";

export type { ControlState } from "./contract.ts";

const nothing = Buffer.alloc(0);
/** A pid is not given to another process within this. */
const sameProcessMs = 20;

export class CommandServer {
  readonly #kernel: ServerOptions["kernel"];
  readonly #authority: ServerOptions["authority"];
  readonly #handlers: ServerOptions["handlers"];
  readonly #onChange: (() => void) | undefined;
  readonly #limits: Limits;
  readonly #acceptor: Acceptor | null;
  readonly #reception: Reception;
  readonly #rotation: Rotation<Connection>;
  readonly #connections = new Map<ConnectionId, Connection>();
  readonly #readBuffer = Buffer.allocUnsafeSlow(64 * 1024);
  readonly #changed = new Set<ConnectionId>();
  #nextId: ConnectionId;
  #reads = 0;
  #lastArrival: { pid: Pid; at: number; worker: Pid | null } = { pid: 0, at: 0, worker: null };
  readonly #held: Weight = { input: 0, output: 0 };

  constructor(o: ServerOptions) {
    this.#kernel = o.kernel;
    this.#authority = o.authority;
    this.#handlers = o.handlers;
    this.#onChange = o.changed;
    this.#limits = { ...defaultLimits, ...o.limits };
    this.#reception = new Reception(o.authority, o.handlers, this.#limits);
    this.#rotation = new Rotation(this.#limits.turnMs, (connection, until) => this.#serve(connection, until));
    const { from } = o;
    const resumed = typeof from === "object" && from !== null;
    const state: ControlState = resumed ? from : { listener: from, nextId: 1, connections: [] };
    this.#nextId = state.nextId;
    this.#acceptor = state.listener === null ? null : this.#createAcceptor(state.listener);
    for (const connection of state.connections) {
      this.#connections.set(connection.id, Connection.fromState(connection, o.authority.trusts(connection.uid)));
    }
  }

  #createAcceptor(listener: number): Acceptor {
    return new Acceptor({
      listener,
      kernel: this.#kernel,
      acceptsInRow: this.#limits.acceptsInRow,
      arrived: (arrival) => this.#arrived(arrival),
      makeRoom: () => this.#makeRoom(),
      trouble: (message) => this.#handlers.trouble(message),
    });
  }

  /** Connections now open. */
  get size(): number {
    return this.#connections.size;
  }

  /**
   * Begins to accept and read. Apart from the constructor, so that nothing is heard before all is wired. After a crash `write` writes
   * down what changed: a request that waits now may be why, and is counted before it is handled.
   */
  start(write: (() => void) | null = null): void {
    if (write !== null) this.#suspect();
    write?.();
    this.#acceptor?.start();
    for (const connection of this.#connections.values()) this.#rotation.add(connection);
  }

  /** Serves `fd`, our end of a socketpair whose other end only this worker was given (`-g`). */
  adopt(o: { fd: number; pid: Pid; uid: number }): void {
    this.#welcome({ ...o, worker: o.pid, adopted: true });
  }

  /** Answers a command; nothing happens when the asker is gone. */
  reply(asker: Asker, reply: { message: string; wait: boolean; error: boolean; data?: unknown }): void {
    const connection = this.#connections.get(asker.connection);
    if (connection === undefined) return;
    this.#note(connection);
    if (connection.unsentBytes > this.#limits.unsentBytes) {
      this.#close(connection);
      return;
    }
    connection.queue(encodeReply({ ...reply, requestId: asker.requestId }));
    if (!reply.wait && connection.owed > 0) connection.owed--;
    // In a turn, replies to pipelined requests leave together at its end.
    if (this.#rotation.inTurn) this.#rotation.add(connection);
    else this.#settle(connection);
  }

  /** Everything the next image needs. Nothing may be handled between this and the execve; when that fails, all goes on. */
  toState(): ControlState {
    for (const connection of [...this.#connections.values()]) this.#take(connection);
    const connections = [...this.#connections.values()].map((connection) => connection.toState());
    return { listener: this.#acceptor?.listener ?? null, nextId: this.#nextId, connections };
  }

  /** Connections that may have changed since the last call, as they are now; null: closed. */
  takeChanges(): [ConnectionId, ConnectionState | null][] {
    const changes = [...this.#changed].map((id): [ConnectionId, ConnectionState | null] => {
      const connection = this.#connections.get(id);
      if (connection !== undefined) this.#take(connection);
      return [id, connection === undefined || connection.closed ? null : connection.toState()];
    });
    this.#changed.clear();
    return changes;
  }

  connectionIds(): ConnectionId[] {
    return [...this.#connections.keys()];
  }

  /** Takes `fd`, a connection that the listener accepted in an image that crashed before it wrote so. */
  adoptStray(fd: number): void {
    const peer = this.#acceptor?.peerOrClose(fd) ?? null;
    if (peer !== null) this.#arrived({ fd, ...peer });
  }

  /** Sends what can be sent, then closes everything, the listener included. */
  close(): void {
    this.#rotation.stop();
    this.#acceptor?.close();
    for (const connection of [...this.#connections.values()]) {
      this.#flush(connection);
      connection.owed = 0;
      this.#close(connection);
    }
  }

  #suspect(): void {
    for (const connection of [...this.#connections.values()]) {
      this.#read(connection);
      if (connection.closed || !connection.lines.hasLine()) continue;
      connection.lines.settle();
      connection.crashes++;
      this.#note(connection);
    }
  }

  #note(connection: Connection): void {
    if (this.#changed.size === 0) this.#onChange?.();
    this.#changed.add(connection.id);
  }

  #arrived({ fd, pid, uid }: Arrival): void {
    if (this.#connections.size >= this.#limits.connections) this.#makeRoom();
    // Asked now, since a short-lived helper of a worker may be gone when its line is read.
    const at = monotonicMs();
    // A flood comes from few processes, and looking at /proc is most of what a connection costs.
    if (pid !== this.#lastArrival.pid || at > this.#lastArrival.at + sameProcessMs) {
      this.#lastArrival = { pid, at, worker: this.#authority.workerOf(pid) };
    }
    this.#welcome({ fd, pid, uid, worker: this.#lastArrival.worker, adopted: false });
  }

  #welcome(o: { fd: number; pid: Pid; uid: number; worker: Pid | null; adopted: boolean }): void {
    const connection = new Connection({ ...o, id: this.#nextId++, trusted: this.#authority.trusts(o.uid) });
    connection.lastRead = ++this.#reads;
    this.#connections.set(connection.id, connection);
    this.#note(connection);
    this.#watch(connection);
  }

  #makeRoom(): boolean {
    const connection = leastMissed(this.#connections.values());
    if (connection !== null) this.#close(connection);
    return connection !== null;
  }

  #ready(connection: Connection, readable: boolean): void {
    if (readable && connection.heard.readable) this.#read(connection);
    if (connection.closed) return;
    this.#note(connection);
    this.#rotation.addNow(connection);
    // The read buffer is about to be used for somebody else.
    connection.lines.settle();
  }

  /** Looks at what was said and leaves it in the socket: should the master crash over it, the next image finds it there. */
  #read(connection: Connection): void {
    if (connection.untaken > 0) return;
    try {
      const length = this.#kernel.read({ fd: connection.fd, buffer: this.#readBuffer, peek: true });
      if (length < 0) return;
      connection.lastRead = ++this.#reads;
      if (length === 0) {
        connection.ended = true;
        // A client that only closed its sending half still reads; writing nothing fails if it is gone altogether. What it
        // said before it went counts all the same: workers ACK and close at once.
        if (!connection.lines.hasLine()) this.#kernel.write({ fd: connection.fd, buffer: nothing });
      } else {
        connection.lines.push(this.#readBuffer.subarray(0, length));
        connection.untaken = length;
      }
    } catch {
      this.#close(connection);
    }
  }

  /** What was looked at is written down, or done with: out of the socket with it. */
  #take(connection: Connection): void {
    try {
      connection.take(this.#kernel);
    } catch {
      this.#close(connection);
    }
  }

  /** Handles some of a connection's requests; returns whether it has more that can be handled now. */
  #serve(connection: Connection, until: number): boolean {
    for (let i = 0; i < this.#limits.requestsInRow && this.#mayHandle(connection) && monotonicMs() <= until; i++) {
      const line = connection.lines.next();
      if (line === null) break;
      this.#reception.handle(connection, line);
    }
    if (!connection.closed) this.#settle(connection);
    this.#rotation.delete(connection);
    return this.#mayHandle(connection) && connection.lines.hasLine();
  }

  #mayHandle(connection: Connection): boolean {
    return !connection.closed && !connection.closing && connection.unsentBytes <= this.#limits.throttleBytes;
  }

  /** After anything happened to a connection: send, enforce the limits, close it if it is done, say what to listen for. */
  #settle(connection: Connection): void {
    this.#note(connection);
    const waiting = connection.lines.hasLine();
    if (!waiting) connection.crashes = 0;
    if (!waiting) this.#reception.checkUnfinished(connection);
    this.#flush(connection);
    // In this order: who asks something that changes nothing is rather answered twice than never.
    this.#take(connection);
    if (connection.closed) return;
    const done = connection.closing || (connection.ended && !waiting && connection.owed === 0);
    if (this.#isTooMuch(connection) || (done && connection.unsentBytes === 0)) this.#close(connection);
    else {
      this.#watch(connection);
      if (waiting && this.#mayHandle(connection)) this.#rotation.add(connection);
    }
  }

  /** Keeps count of what is held, and says whether that is more than there may be. */
  #isTooMuch(connection: Connection): boolean {
    const { input, output } = connection.weigh();
    this.#held.input += input;
    this.#held.output += output;
    return this.#held.input > this.#limits.heldInputBytes || this.#held.output > this.#limits.heldOutputBytes;
  }

  #flush(connection: Connection): void {
    try {
      connection.flush(this.#kernel);
    } catch {
      // EPIPE, ECONNRESET: nobody will read it.
      this.#close(connection);
    }
  }

  #watch(connection: Connection): void {
    const waiting = connection.lines.hasLine() || connection.unsentBytes > this.#limits.throttleBytes;
    const readable = !connection.ended && !connection.closing && !waiting;
    const writable = connection.unsentBytes > 0;
    if (readable === connection.heard.readable && writable === connection.heard.writable) return;
    connection.heard = { readable, writable };
    try {
      if (!readable && !writable) this.#kernel.unwatch(connection.fd);
      else this.#kernel.watch(connection.fd, connection.heard, (ready) => this.#ready(connection, ready.readable));
    } catch {
      // The kernel's limit on watches (epoll_ctl(2), ENOSPC, ENOMEM): a client that cannot be heard is better told so.
      this.#close(connection);
    }
  }

  #close(connection: Connection): void {
    if (connection.closed) return;
    connection.closed = true;
    this.#note(connection);
    // Closed with something left unread, it would be reset, and its last reply lost (unix_release_sock in the kernel).
    this.#take(connection);
    connection.lines.clear();
    this.#isTooMuch(connection);
    this.#connections.delete(connection.id);
    this.#rotation.delete(connection);
    this.#kernel.unwatch(connection.fd);
    this.#kernel.close(connection.fd);
    if (connection.owed > 0) this.#handlers.hungUp(connection.id);
  }
}
