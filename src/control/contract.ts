/** What the command socket's server needs from others, tells others, and limits. main.ts wires it. */
import type { Asker, ConnectionId, Pid } from "../core/model.ts";
import type { ConnectionState } from "./connection.ts";

/** The addon's calls (native/einhorn-native.d.ts), close(2) and the reactor (system/reactor.ts). */
export interface Kernel {
  accept(o: { fd: number }): number;
  read(o: { fd: number; buffer: Uint8Array; peek?: boolean }): number;
  write(o: { fd: number; buffer: Uint8Array }): number;
  getSocketOption(o: { fd: number; level: number; name: number; length: number }): Uint8Array;
  close(fd: number): void;
  watch(fd: number, wanted: Readiness, callback: (ready: Readiness) => void): void;
  unwatch(fd: number): void;
}

export interface Readiness {
  readable: boolean;
  writable: boolean;
}

/** Who may speak; system/authority.ts. */
export interface Authority {
  /** Whether this user may give any command. */
  trusts(uid: number): boolean;
  /** The worker that this process is, or descends from; null when there is none. */
  workerOf(pid: Pid): Pid | null;
}

/** What the server tells the master. */
export interface Handlers {
  /** A command from someone who may give it, for core/commands.ts. It is owed replies, up to one without `wait`. */
  command(asker: Asker, request: { command: unknown; args?: unknown; user?: unknown }): void;
  ack(worker: Pid, connection: ConnectionId): void;
  ping(worker: Pid, requestId: string | null): void;
  /** A connection that was owed a reply is gone. */
  hungUp(connection: ConnectionId): void;
  /** Someone was refused. At most one call a second; `others` were refused since the last one. */
  refused(o: { pid: Pid; uid: number; command: string; others: number }): void;
  /** The operator should know: one sentence. */
  trouble(message: string): void;
}

/** The limits that the README states. */
export const defaultLimits = {
  /** Connections at once. Over it the one that was silent longest is closed, those that may say nothing first. */
  connections: 2_000,
  /** An unfinished line of one who may not give commands: an ACK is short. */
  strangerLineBytes: 4 * 1024,
  /** An unfinished line of anybody. */
  lineBytes: 64 * 1024,
  /** Unsent replies at which a connection's further requests wait. */
  throttleBytes: 256 * 1024,
  /** Unsent replies at which another reply closes the connection; one reply by itself may be longer. */
  unsentBytes: 1024 * 1024,
  /** Requests of all connections together that the master holds, unfinished or not yet handled. */
  heldInputBytes: 1024 * 1024,
  /** Replies of all connections together that nobody has read yet; only who may give commands gets long ones. */
  heldOutputBytes: 16 * 1024 * 1024,
  /** Requests of one connection before the others have their turn. */
  requestsInRow: 8,
  /** Milliseconds of handling requests before the event loop has its turn. */
  turnMs: 5,
  /** Connections accepted before the event loop has its turn. */
  acceptsInRow: 64,
};

export type Limits = typeof defaultLimits;

/** Goes through a re-exec as JSON. */
export interface ControlState {
  listener: number | null;
  nextId: ConnectionId;
  connections: ConnectionState[];
}

export interface ServerOptions {
  /** A listening, non-blocking descriptor (null: adopted connections only), or what toState() gave in the last image. */
  from: number | null | ControlState;
  kernel: Kernel;
  authority: Authority;
  handlers: Handlers;
  limits?: Partial<Limits>;
  /** toState() would give something else than before; takeChanges() says what. */
  changed?(): void;
}
