/** A command server on a real UNIX socket, in this process, with the real addon; and clients to talk to it. */
import { chmodSync, closeSync, mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Handlers, Kernel, Limits } from "../../src/control/contract.ts";
import { CommandServer, type ControlState } from "../../src/control/server.ts";
import type { Asker, Pid } from "../../src/core/model.ts";
import { type Authority, createAuthority } from "../../src/system/authority.ts";
import { native } from "../../src/system/native.ts";
import { unwatch, watch } from "../../src/system/reactor.ts";

export const kernel: Kernel = {
  accept: native.accept,
  read: native.read,
  write: native.write,
  getSocketOption: native.getSocketOption,
  close: closeSync,
  watch,
  unwatch,
};

const patienceMs = 60_000;
const afUnix = 1;
const sockStream = 1;
const sockNonBlock = 0o4000;

/** A listening socket at `path`, which anybody may connect to: what the server allows is tested, not what the file allows. */
export function listenAt(path: string): number {
  const fd = native.socket({ family: afUnix, type: sockStream | sockNonBlock });
  const address = Buffer.alloc(110);
  address.writeUInt16LE(afUnix, 0);
  address.write(path, 2);
  const umask = process.umask(0);
  native.bind({ fd, address: address.subarray(0, 2 + Buffer.byteLength(path) + 1) });
  process.umask(umask);
  native.listen({ fd, backlog: 1024 });
  return fd;
}

/** Scripted commands: each answers as often as it likes. */
export type Commands = Readonly<
  Record<
    string,
    (
      reply: (reply: { message: string; wait?: boolean; error?: boolean; data?: unknown }) => void,
      args: unknown[],
    ) => void
  >
>;

interface Image {
  alive: boolean;
  server: CommandServer;
}

/** Calls that do nothing and return `result` once `image` is dead. */
function mortal<T extends object>(target: T, image: { alive: boolean }, result: unknown): T {
  return new Proxy(target, {
    get(_, name) {
      const method = Reflect.get(target, name) as ((...args: unknown[]) => unknown) | undefined;
      if (method === undefined) return undefined;
      return (...args: unknown[]) => (image.alive ? method.apply(target, args) : result);
    },
  });
}

export interface Fixture extends Disposable {
  path: string;
  server: CommandServer;
  workers: Set<Pid>;
  /** What the server told the master, in order. */
  heard: string[];
  /** Askers of commands that got no answer yet: only `echo`, `twice` and `big` are answered at once. */
  unanswered: Asker[];
  /** Goes on with a second server from what the first wrote down, as the next image does. */
  handOver(): void;
  /** Goes on with a second server after a crash: it knows what the first wrote down after the crash before, which is nothing at first. */
  crash(): void;
  /** Resolves when `fact` holds; looks again between turns of the event loop. */
  until(fact: () => boolean): Promise<void>;
}

export function serve(
  o: {
    limits?: Partial<Limits>;
    authority?: Partial<Authority>;
    kernel?: Kernel;
    commands?: Commands;
    file?: string;
  } = {},
): Fixture {
  const folder = mkdtempSync(join(tmpdir(), "einhorn-control-"));
  chmodSync(folder, 0o755);
  const path = join(folder, o.file ?? "s.sock");
  const workers = new Set<Pid>();
  const heard: string[] = [];
  const unanswered: Asker[] = [];
  const authentic = createAuthority({ uid: process.geteuid?.() ?? 0, isWorker: (pid) => workers.has(pid) });
  const authority = { ...authentic, ...o.authority };

  const handlers: Handlers = {
    command(asker, request) {
      const args = Array.isArray(request.args) ? request.args : [];
      const answer = (message: string, wait = false) => fixture.server.reply(asker, { message, wait, error: false });
      const scripted = o.commands?.[String(request.command)];
      if (scripted !== undefined) {
        heard.push([request.command, ...args].join(" "));
        return scripted((reply) => fixture.server.reply(asker, { wait: false, error: false, ...reply }), args);
      }
      if (request.command === "echo") return answer(String(args[0]));
      if (request.command === "big") return answer("x".repeat(Number(args[0])));
      if (request.command === "twice") {
        answer("one", true);
        return answer("two");
      }
      heard.push(`command ${String(request.command)}`);
      unanswered.push(asker);
    },
    ack: (worker) => heard.push(`ack ${worker}`),
    ping: (worker, id) => heard.push(`ping ${worker} ${id}`),
    hungUp: (connection) => heard.push(`hung-up ${connection}`),
    refused: ({ uid, command, others }) => heard.push(`refused ${uid} ${command} ${others}`),
    trouble: (message) => heard.push(`trouble ${message}`),
  };
  const accepted: number[] = [];
  let written: ControlState | null = null;
  const real = o.kernel ?? kernel;
  const watched: Kernel = {
    ...real,
    accept(call) {
      const fd = real.accept(call);
      if (fd >= 0) accepted.push(fd);
      return fd;
    },
  };
  /** An image of the master; when it is replaced, nothing that it still tries reaches anybody, as after execve. */
  const create = (from: number | ControlState): Image => {
    const image = { alive: true };
    const server = new CommandServer({
      from,
      kernel: mortal(watched, image, -1),
      authority,
      handlers: mortal(handlers, image, undefined),
      limits: o.limits ?? {},
    });
    return Object.assign(image, { server });
  };
  const listener = listenAt(path);
  let image = create(listener);
  const fixture: Fixture = {
    path,
    server: image.server,
    workers,
    heard,
    unanswered,
    handOver() {
      const state = JSON.parse(JSON.stringify(fixture.server.toState())) as ControlState;
      image.alive = false;
      image = create(state);
      fixture.server = image.server;
      fixture.server.start();
    },
    crash() {
      image.alive = false;
      const known = written ?? { listener, nextId: 1, connections: [] };
      image = create(known);
      fixture.server = image.server;
      for (const fd of accepted) {
        if (!known.connections.some((connection) => connection.fd === fd)) fixture.server.adoptStray(fd);
      }
      fixture.server.start(() => {
        written = JSON.parse(JSON.stringify(fixture.server.toState())) as ControlState;
      });
    },
    async until(fact) {
      const until = performance.now() + patienceMs;
      while (!fact()) {
        // Not a measure of anything: a fact that never comes must not look like a test that is still running.
        if (performance.now() > until) throw new Error(`This did not happen: ${fact}. Heard: ${heard.slice(-20)}`);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    },
    [Symbol.dispose]() {
      fixture.server.close();
      rmSync(folder, { recursive: true });
    },
  };
  fixture.server.start();
  return fixture;
}

export class Client {
  readonly socket: net.Socket;
  readonly replies: { message: string; request_id?: unknown; wait?: boolean; error?: boolean }[] = [];
  ended = false;
  closed = false;
  /** Bytes received. */
  bytes = 0;
  #text = "";

  constructor(path: string, options: { reading?: boolean } = {}) {
    this.socket = net.connect({ path, allowHalfOpen: true });
    this.socket.on("end", () => {
      this.ended = true;
      if (!this.socket.writableEnded) this.socket.end();
    });
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.closed = true;
    });
    if (options.reading !== false) this.read();
  }

  read(): void {
    this.socket.on("data", (chunk) => {
      this.bytes += chunk.length;
      const lines = (this.#text + chunk.toString()).split("\n");
      this.#text = lines.pop() ?? "";
      for (const line of lines) this.replies.push(JSON.parse(line));
    });
  }

  send(text: string): void {
    this.socket.write(text);
  }

  ask(command: string, args: readonly unknown[] = [], id: number | null = null): void {
    this.send(`${JSON.stringify({ command, args, ...(id === null ? {} : { id }) })}\n`);
  }

  messages(): string[] {
    return this.replies.map((reply) => reply.message);
  }
}
