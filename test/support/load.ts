/**
 * A counting HTTP client: asks without pause until told to stop and leaves no failure uncounted.
 *
 * By default every request opens a connection of its own (`agent: false`), because a listener that drops queued connections shows
 * itself only there. A refused or reset connection, a reply cut short, a status other than the expected and a reply that does not
 * come within the time limit all count as failed.
 */
import http from "node:http";
import type { Socket } from "node:net";

export interface LoadOptions {
  readonly port?: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** A UNIX socket instead of host and port. */
  readonly socketPath?: string;
  /** Requests in flight at any moment. Default 4. */
  readonly concurrency?: number;
  /** Reuse connections as a proxy does; a request that meets a connection closed while idle is sent again once (RFC 9110 9.2.2). */
  readonly keepAlive?: boolean;
  readonly path?: string;
  /** The status that counts as served. Default 200. */
  readonly status?: number;
  /** A request that takes longer has failed. Default 30 s. */
  readonly timeoutMs?: number;
  /** Pause of each of the `concurrency` clients between two requests. Default 0. */
  readonly pauseMs?: number;
}

export interface LoadReport {
  readonly ok: number;
  readonly failed: number;
  /** At most the first 50 failures, one sentence each. */
  readonly errors: readonly string[];
  /** How often each distinct body was served; at most 1,000 distinct bodies are kept. */
  readonly bodies: ReadonlyMap<string, number>;
  /** Requests sent again because a kept-alive connection had been closed while idle. */
  readonly retried: number;
}

export interface Load {
  /** The counts up to now; the load goes on. */
  soFar(): LoadReport;
  /** Resolves when at least `count` requests more than now were served; rejects when 500 in a row failed. */
  served(count: number): Promise<void>;
  /** Starts no new request, waits for those in flight, and reports. */
  stop(): Promise<LoadReport>;
}

const KEPT_ERRORS = 50;
const KEPT_BODIES = 1000;
const HOPELESS = 500;

export function startLoad(options: LoadOptions): Load {
  const count = new Counter();
  // Without `maxSockets`: a request that waits for a free connection is forgotten by the agent when that one is closed.
  const agent = options.keepAlive ? new http.Agent({ keepAlive: true }) : false;
  let stopping = false;

  const client = async (): Promise<void> => {
    while (!stopping) {
      await requestOnce(options, agent, count);
      if (options.pauseMs) await new Promise((resolve) => setTimeout(resolve, options.pauseMs));
    }
  };
  const clients = Promise.all(Array.from({ length: options.concurrency ?? 4 }, client));

  return {
    soFar: () => count.report(),
    served: (more) => count.served(more),
    stop: async () => {
      stopping = true;
      await clients;
      if (agent) agent.destroy();
      return count.report();
    },
  };
}

class Counter {
  #ok = 0;
  #failed = 0;
  #retried = 0;
  readonly #errors: string[] = [];
  readonly #bodies = new Map<string, number>();
  #failedInARow = 0;
  #waiting: { at: number; resolve: () => void; reject: (why: Error) => void }[] = [];

  served(more: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ at: this.#ok + more, resolve, reject });
    });
  }

  success(body: string): void {
    this.#ok += 1;
    this.#failedInARow = 0;
    const seen = this.#bodies.get(body);
    if (seen !== undefined || this.#bodies.size < KEPT_BODIES) this.#bodies.set(body, (seen ?? 0) + 1);
    const due = this.#waiting.filter((waiter) => waiter.at <= this.#ok);
    if (due.length === 0) return;
    this.#waiting = this.#waiting.filter((waiter) => waiter.at > this.#ok);
    for (const waiter of due) waiter.resolve();
  }

  failure(why: string): void {
    this.#failed += 1;
    this.#failedInARow += 1;
    if (this.#errors.length < KEPT_ERRORS) this.#errors.push(why);
    if (this.#failedInARow < HOPELESS) return;
    for (const waiter of this.#waiting) waiter.reject(new Error(`nothing is served any more: ${why}`));
    this.#waiting = [];
  }

  retry(): void {
    this.#retried += 1;
  }

  report(): LoadReport {
    return {
      ok: this.#ok,
      failed: this.#failed,
      errors: [...this.#errors],
      bodies: new Map(this.#bodies),
      retried: this.#retried,
    };
  }
}

async function requestOnce(options: LoadOptions, agent: http.Agent | false, count: Counter): Promise<void> {
  const first = await attempt(options, agent);
  let outcome = first;
  if (first.kind === "stale") {
    count.retry();
    outcome = await attempt(options, false);
  }
  if (outcome.kind === "served") count.success(outcome.body);
  else count.failure(outcome.why);
}

type Outcome =
  | { readonly kind: "served"; readonly body: string }
  | { readonly kind: "failed" | "stale"; readonly why: string };

/** Connections that carried a request before. */
const used = new WeakSet<Socket>();

/** One request on one connection; never rejects. */
function attempt(options: LoadOptions, agent: http.Agent | false): Promise<Outcome> {
  const expected = options.status ?? 200;
  const timeoutMs = options.timeoutMs ?? 30_000;
  return new Promise((resolve) => {
    const where = options.socketPath
      ? { socketPath: options.socketPath }
      : { host: options.host ?? "127.0.0.1", port: options.port };
    const request = http.get({ ...where, path: options.path ?? "/", agent });
    const deadline = setTimeout(() => request.destroy(new Error(`no reply within ${timeoutMs} ms`)), timeoutMs);
    const finish = (outcome: Outcome): void => {
      clearTimeout(deadline);
      resolve(outcome);
    };
    // Not `request.reusedSocket`: a request that waited for a free connection gets one without that mark.
    let reused = false;
    request.on("socket", (socket) => {
      reused = used.has(socket);
      used.add(socket);
    });
    request.on("error", (error: NodeJS.ErrnoException) => {
      const idleClose = reused && (error.code === "ECONNRESET" || error.code === "EPIPE");
      finish({ kind: idleClose ? "stale" : "failed", why: `${error.code ?? "error"}: ${error.message}` });
    });
    request.on("response", (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (text: string) => {
        body += text;
      });
      response.on("error", (error) => finish({ kind: "failed", why: `reply cut short: ${error.message}` }));
      response.on("close", () => {
        if (!response.complete) finish({ kind: "failed", why: `reply cut short after ${body.length} characters` });
        else if (response.statusCode !== expected)
          finish({ kind: "failed", why: `status ${response.statusCode} instead of ${expected}: ${body.slice(0, 80)}` });
        else finish({ kind: "served", body });
      });
    });
  });
}
