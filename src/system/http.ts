/**
 * `--http`: probes and figures for orchestrators. GET and HEAD of five documents, one response per connection.
 *
 * Not node:http: loading it takes 10 ms and 3 MB, at every re-exec again; and libuv would own the descriptors. On the reactor
 * a connection that has not said all it wants yet is handed to the next image, so no probe fails because of an upgrade.
 */
import { closeSync } from "node:fs";
import { bytesOf, type Method, problem, type Response, readRequest } from "./http-message.ts";

/** Answers for a path, which has no query. */
export type Answer = (path: string) => Response | Promise<Response>;

/** What is used of the reactor. */
export interface Reactor {
  watch(fd: number, wanted: { readable?: boolean; writable?: boolean }, callback: () => void): void;
  unwatch(fd: number): void;
}

/** What is used of the addon. */
export interface Sockets {
  accept(o: { fd: number }): number;
  read(o: { fd: number; buffer: Uint8Array }): number;
  write(o: { fd: number; buffer: Uint8Array }): number;
  setNonBlocking(o: { fd: number; nonBlocking: boolean }): void;
  setInheritable(o: { fd: number; inheritable: boolean }): void;
}

export interface HttpSettings {
  /** A listening socket, and whatever a server of the last image handed over. */
  fd: number;
  connections?: readonly HandedOver[];
  reactor: Reactor;
  sockets: Sockets;
  answer: Answer;
  limits?: Partial<Limits>;
}

/** A connection whose request is not complete. */
export interface HandedOver {
  fd: number;
  received: string;
}

export interface Limits {
  /** At most so many; a new one takes the place of the one that has been waiting longest. */
  connections: number;
  /** For a request line and its headers together. */
  requestBytes: number;
  /** A request that comes byte by byte costs a turn each. */
  requestReads: number;
  /** From accept to the end of the response. */
  connectionMs: number;
  /** Responses that clients do not read, all together. */
  unreadBytes: number;
}

const defaultLimits: Limits = {
  connections: 128,
  requestBytes: 8192,
  requestReads: 64,
  connectionMs: 10_000,
  unreadBytes: 8 * 1024 * 1024,
};
/** How long to wait when no descriptor is left for another connection. */
const pauseMs = 100;
/** So that a flood of connections leaves time for everything else. */
const acceptsPerTurn = 16;

interface Connection {
  fd: number;
  received: string;
  reads: number;
  /** What is left to write; null before there is a response. */
  response: Buffer | null;
  timer: NodeJS.Timeout;
}

export class HttpServer {
  readonly #settings: HttpSettings;
  readonly #limits: Limits;
  readonly #buffer = new Uint8Array(4096);
  /** Oldest first. */
  readonly #connections = new Map<number, Connection>();
  #pause: NodeJS.Timeout | undefined;

  constructor(settings: HttpSettings) {
    const { fd, sockets, connections = [] } = settings;
    this.#settings = settings;
    this.#limits = { ...defaultLimits, ...settings.limits };
    // A client that is gone before accept(2) must not make it wait (its manual page, NOTES).
    sockets.setNonBlocking({ fd, nonBlocking: true });
    this.#listen();
    for (const { fd: open, received } of connections) this.#open(open, received);
  }

  /** For the next image: still served here should execve(2) fail. Their descriptors become inheritable. */
  handOver(): HandedOver[] {
    const waiting = [...this.#connections.values()].filter(({ response }) => response === null);
    for (const { fd } of waiting) this.#settings.sockets.setInheritable({ fd, inheritable: true });
    return waiting.map(({ fd, received }) => ({ fd, received }));
  }

  #listen(): void {
    const { fd, reactor } = this.#settings;
    try {
      reactor.watch(fd, { readable: true }, () => this.#accept());
    } catch {
      this.#pause = setTimeout(() => this.#listen(), pauseMs);
    }
  }

  /** Stops answering. The listening socket stays open: who opened it closes it. */
  close(): void {
    clearTimeout(this.#pause);
    this.#settings.reactor.unwatch(this.#settings.fd);
    for (const connection of [...this.#connections.values()]) this.#close(connection);
  }

  #accept(): void {
    const { fd, sockets } = this.#settings;
    for (let turn = 0; turn < acceptsPerTurn; turn++) {
      let accepted: number;
      try {
        accepted = sockets.accept({ fd });
      } catch (error) {
        // That client's matter; others may wait behind it.
        if ((error as NodeJS.ErrnoException).code === "ECONNABORTED") continue;
        // EMFILE, ENOMEM: the socket stays readable, so look away for a while.
        this.#settings.reactor.unwatch(fd);
        this.#pause = setTimeout(() => this.#listen(), pauseMs);
        return;
      }
      if (accepted < 0) return;
      try {
        this.#open(accepted, "");
      } catch {
        // ENOMEM, ENOSPC (epoll_ctl(2)): nobody would hear it.
        const connection = this.#connections.get(accepted);
        if (connection === undefined) closeSync(accepted);
        else this.#close(connection);
      }
    }
  }

  #open(fd: number, received: string): void {
    const [oldest] = this.#connections.values();
    if (oldest !== undefined && this.#connections.size >= this.#limits.connections) this.#close(oldest);
    const connection: Connection = {
      fd,
      received,
      reads: 0,
      response: null,
      timer: setTimeout(() => this.#close(connection), this.#limits.connectionMs).unref(),
    };
    this.#connections.set(fd, connection);
    this.#settings.sockets.setInheritable({ fd, inheritable: false });
    this.#settings.reactor.watch(fd, { readable: true }, () => this.#read(connection));
    // Most requests are here already: answered now, there is nothing to hand over.
    if (!this.#consider(connection)) this.#read(connection);
  }

  #read(connection: Connection): void {
    const { sockets } = this.#settings;
    const length = this.#try(connection, () => sockets.read({ fd: connection.fd, buffer: this.#buffer }));
    if (length === null || length < 0) return;
    if (length === 0) return this.#close(connection);
    connection.reads += 1;
    connection.received += Buffer.from(this.#buffer.buffer, 0, length).toString("latin1");
    this.#consider(connection);
  }

  /** Answers when the request is complete, or too much. */
  #consider(connection: Connection): boolean {
    const { received, reads } = connection;
    const isComplete = /\n\r?\n/.test(received);
    const isTooMuch = received.length > this.#limits.requestBytes || reads >= this.#limits.requestReads;
    if (!isComplete && !isTooMuch) return false;
    // Nothing more is read: what follows is a request that nobody is going to answer.
    this.#settings.reactor.unwatch(connection.fd);
    if (isComplete) void this.#respond(connection);
    else this.#send(connection, "GET", problem(431, "request too long"));
    return true;
  }

  async #respond(connection: Connection): Promise<void> {
    const request = readRequest(connection.received);
    if ("status" in request) return this.#send(connection, "GET", request);
    const response = this.#ask(request.path);
    if (!(response instanceof Promise)) return this.#send(connection, request.method, response);
    const later = await response.catch(() => problem(500, "the figures could not be made"));
    if (this.#connections.get(connection.fd) === connection) this.#send(connection, request.method, later);
  }

  #ask(path: string): Response | Promise<Response> {
    try {
      return this.#settings.answer(path);
    } catch {
      return problem(500, "the answer could not be made");
    }
  }

  #send(connection: Connection, method: Method, response: Response): void {
    connection.response = bytesOf(response, method);
    this.#write(connection);
  }

  #write(connection: Connection): void {
    const { response, fd } = connection;
    if (response === null) return;
    const written = this.#try(connection, () => this.#settings.sockets.write({ fd, buffer: response }));
    if (written === null) return;
    connection.response = response.subarray(Math.max(0, written));
    if (connection.response.length === 0) return this.#close(connection);
    const { reactor } = this.#settings;
    const watched = this.#try(connection, () => {
      reactor.watch(fd, { writable: true }, () => this.#write(connection));
      return 0;
    });
    if (watched === null) return;
    this.#boundUnread();
  }

  /** Clients that ask and do not read lose their connection, the oldest first. */
  #boundUnread(): void {
    const unread = [...this.#connections.values()].filter(({ response }) => response !== null);
    let bytes = unread.reduce((sum, { response }) => sum + (response?.length ?? 0), 0);
    for (const connection of unread.slice(0, -1)) {
      if (bytes <= this.#limits.unreadBytes) return;
      bytes -= connection.response?.length ?? 0;
      this.#close(connection);
    }
  }

  /** null: the connection broke (ECONNRESET, EPIPE) and is closed. */
  #try(connection: Connection, action: () => number): number | null {
    try {
      return action();
    } catch {
      this.#close(connection);
      return null;
    }
  }

  #close(connection: Connection): void {
    if (this.#connections.get(connection.fd) !== connection) return;
    this.#connections.delete(connection.fd);
    clearTimeout(connection.timer);
    this.#settings.reactor.unwatch(connection.fd);
    closeSync(connection.fd);
  }
}
