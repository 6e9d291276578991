/** What is done with one line, depending on who said it. */
import { now as monotonicMs } from "../system/clock.ts";
import type { Connection } from "./connection.ts";
import type { Authority, Handlers, Limits } from "./contract.ts";
import { decodeRequest, encodeReply, type WireRequest } from "./wire.ts";

/** Fewer than the master survives in a minute (core/crash.ts): one request must not be its end. */
const crashesMax = 2;
/** At most one refusal in this time is reported: a refused client must not fill the log. */
const reportEveryMs = 1_000;

export class Reception {
  readonly #authority: Authority;
  readonly #handlers: Handlers;
  readonly #limits: Limits;
  #reportedAt = Number.NEGATIVE_INFINITY;
  #unreported = 0;

  constructor(authority: Authority, handlers: Handlers, limits: Limits) {
    this.#limits = limits;
    this.#authority = authority;
    this.#handlers = handlers;
  }

  handle(connection: Connection, line: Buffer): void {
    if (line.length > this.#lineLimit(connection)) {
      this.#endTooLong(connection);
      return;
    }
    if (connection.crashes > crashesMax) {
      complain(connection, `einhorn crashed ${connection.crashes} times over this, and does not try it again`, null);
      return;
    }
    const decoded = decodeRequest(line);
    if (decoded === null) return;
    if ("error" in decoded) complain(connection, decoded.error, null);
    else if (decoded.request.command === "worker:ack" || decoded.request.command === "worker:ping") {
      this.#aboutWorker(connection, decoded.request);
    } else if (!connection.trusted) {
      this.#refuse(connection, decoded.request, "Only root and the user that runs einhorn may give commands");
    } else {
      const { requestId, ...request } = decoded.request;
      connection.owed++;
      this.#handlers.command({ connection: connection.id, requestId }, request);
    }
  }

  /** What can no longer become a request: too long, or left without its line break. */
  checkUnfinished(connection: Connection): void {
    if (connection.closing) return;
    if (connection.lines.length > this.#lineLimit(connection)) this.#endTooLong(connection);
    else if (connection.ended && connection.lines.length > 0) {
      complain(connection, "A request ends with a line break", null);
      connection.lines.clear();
    }
  }

  #lineLimit(connection: Connection): number {
    return connection.stranger ? this.#limits.strangerLineBytes : this.#limits.lineBytes;
  }

  #endTooLong(connection: Connection): void {
    complain(connection, `A request is at most ${this.#lineLimit(connection)} bytes long`, null);
    connection.lines.clear();
    connection.closing = true;
  }

  /** The `pid` that such a request carries is what the client believes to be; who it is, the kernel said. */
  #aboutWorker(connection: Connection, request: WireRequest): void {
    // Once more: a worker that a zygote forked can be faster than the news of its birth.
    connection.worker ??= this.#authority.workerOf(connection.pid);
    const worker = connection.worker;
    if (worker === null) {
      const why = `This counts only from a worker or a process that one started, and process ${connection.pid} is neither`;
      this.#refuse(connection, request, why);
      return;
    }
    // Upstream closes here, in case the worker forgets to. A private connection (-g) cannot be opened again.
    if (!connection.adopted) connection.closing = true;
    if (request.command === "worker:ack") this.#handlers.ack(worker, connection.id);
    else this.#handlers.ping(worker, request.requestId === null ? null : String(request.requestId));
  }

  #refuse(connection: Connection, request: WireRequest, why: string): void {
    complain(connection, `Refused: ${why}`, request.requestId);
    connection.closing = true;
    this.#unreported++;
    const now = monotonicMs();
    if (now - this.#reportedAt < reportEveryMs) return;
    this.#reportedAt = now;
    const command = String(request.command).slice(0, 60);
    this.#handlers.refused({ pid: connection.pid, uid: connection.uid, command, others: this.#unreported - 1 });
    this.#unreported = 0;
  }
}

/** Answers with an error, outside of any command. */
export function complain(connection: Connection, message: string, requestId: string | number | null): void {
  connection.queue(encodeReply({ message, requestId, wait: false, error: true }));
}
