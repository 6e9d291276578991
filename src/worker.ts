/**
 * `einhorn/worker`: for Node programs that run under einhorn.
 *
 * ```js
 * import { ack, listener, onGracefulStop } from "einhorn/worker";
 *
 * const server = http.createServer(app);
 * server.listen(listener(0), () => ack());
 * onGracefulStop(() => server.close());
 * ```
 *
 * Everything but `listener` may be called in a process that einhorn did not start, and then does nothing: the same
 * program runs without einhorn during development. No dependencies.
 */
import net from "node:net";

/** Whether einhorn started this very process. A child of a worker inherits the environment, but is none. */
export function isWorker(): boolean {
  return process.env.EINHORN_MASTER_PID === String(process.ppid);
}

/** This worker's slot, 0 to N-1: stays the same for its successors, and no two live workers of a generation share it. Null outside of einhorn. */
export function childIndex(): number | null {
  return numberFrom("EINHORN_CHILD_INDEX");
}

/** Which version of the code this worker is: every upgrade adds one. Null outside of einhorn. */
export function generation(): number | null {
  return numberFrom("EINHORN_GENERATION");
}

/** How many sockets einhorn has bound for its workers: one for each `-b`. 0 outside of einhorn. */
export function listenerCount(): number {
  return numberFrom("EINHORN_FD_COUNT") ?? 0;
}

/**
 * The socket of the `index`th `-b`, counted from 0, for `server.listen()` of net, http, https, http2 and tls.
 * Throws RangeError when there is none.
 */
export function listener(index: number): { fd: number } {
  const fd = numberFrom(`EINHORN_FD_${index}`);
  if (fd !== null) return { fd };
  const count = listenerCount();
  const have = count === 0 ? "einhorn has bound none" : `einhorn has bound ${count}, counted from 0`;
  throw new RangeError(`There is no socket ${index}: ${have}. Give einhorn one -b ADDR for each.`);
}

/**
 * Tells the master that this worker is ready, as `-m manual` waits for. Resolves with true when the master has the
 * message, with false outside of einhorn. Rejects when the command socket cannot be reached.
 */
export function ack(): Promise<boolean> {
  return tell({ command: "worker:ack", pid: process.pid });
}

/** Tells the master that this worker is alive; `state` shows when, and with which `id`, it last was. Otherwise as `ack`. */
export function ping(id?: string | number): Promise<boolean> {
  return tell({ command: "worker:ping", pid: process.pid, request_id: id });
}

/**
 * Calls `callback` once, when this worker is asked to finish its work and exit: SIGUSR2, SIGTERM, or SIGINT. Later ones
 * change nothing, except that outside of einhorn a second Ctrl-C ends the process. Returns a function that undoes this.
 */
export function onGracefulStop(callback: (signal: "SIGUSR2" | "SIGTERM" | "SIGINT") => void): () => void {
  const signals = ["SIGUSR2", "SIGTERM", "SIGINT"] as const;
  let stopping = false;
  const heard = (signal: NodeJS.Signals) => {
    if (stopping) return;
    stopping = true;
    if (!isWorker()) process.off("SIGINT", heard);
    callback(signal as (typeof signals)[number]);
  };
  for (const signal of signals) process.on(signal, heard);
  return () => {
    for (const signal of signals) process.off(signal, heard);
  };
}

function numberFrom(variable: string): number | null {
  const text = process.env[variable];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : null;
}

/** The connection of EINHORN_SOCK_FD: it can be opened once, and must not keep the process alive. */
let ownConnection: net.Socket | null = null;

function tell(message: object): Promise<boolean> {
  if (!isWorker()) return Promise.resolve(false);
  const line = `${JSON.stringify(message)}\n`;
  const fd = numberFrom("EINHORN_SOCK_FD");
  if (fd !== null) return tellOwn(fd, line);
  const path = process.env.EINHORN_SOCK_PATH;
  if (!path) return Promise.reject(new Error("einhorn gave this worker no command socket (EINHORN_SOCK_PATH)"));
  return tellPath(path, line);
}

function tellOwn(fd: number, line: string): Promise<boolean> {
  ownConnection ??= openOwn(fd);
  const connection = ownConnection;
  return new Promise((resolve, reject) => {
    connection.write(line, (error) => (error ? reject(error) : resolve(true)));
  });
}

function openOwn(fd: number): net.Socket {
  const socket = new net.Socket({ fd, readable: true, writable: true });
  // The master says nothing here; errors are reported by write().
  socket.on("error", () => {});
  socket.resume();
  socket.unref();
  return socket;
}

/** When hundreds of workers connect at once the socket's backlog may be full for a moment (EAGAIN, connect(2)). */
async function tellPath(path: string, line: string): Promise<boolean> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await tellOnce(path, line);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN" || attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** The master answers an ACK by closing the connection: that it was read is then certain. A reply is a refusal. */
function tellOnce(path: string, line: string): Promise<boolean> {
  // "@name" is an abstract socket; its name has a leading zero byte (unix(7)).
  const socket = net.connect(path.startsWith("@") ? `\0${path.slice(1)}` : path);
  return new Promise((resolve, reject) => {
    let reply = "";
    socket.setEncoding("utf8");
    socket.on("connect", () => socket.write(line));
    socket.on("data", (text: string) => {
      reply += text;
    });
    socket.on("error", reject);
    socket.on("close", () => (reply === "" ? resolve(true) : reject(new Error(refusal(reply)))));
  });
}

function refusal(reply: string): string {
  try {
    return String((JSON.parse(reply) as { message: unknown }).message);
  } catch {
    return reply;
  }
}
