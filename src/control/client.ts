/**
 * The other end of the command socket, for einhornsh: one connection, requests by id, replies as they come.
 * Loads nothing but node:net, since `einhornsh ready` is a probe that runs every few seconds.
 */
import net from "node:net";
import { socketName } from "../core/places.ts";

export interface Reply {
  message: string;
  request_id?: string | number;
  /** More replies to this request follow. */
  wait?: true;
  error?: true;
  data?: unknown;
}

/** The connection ended before the last reply. `replies` of this request had come. */
export class ConnectionLost extends Error {
  readonly replies: number;
  constructor(replies: number) {
    super("the connection was closed");
    this.replies = replies;
  }
}

interface Pending {
  replies: number;
  onReply(reply: Reply): void;
  resolve(last: Reply): void;
  reject(error: Error): void;
}

export class Client {
  readonly #socket: net.Socket;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;
  #text = "";
  #open = true;

  /** Connects to a path or `@name`. Rejects with the errno's name as `code`. */
  static connect(place: string): Promise<Client> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(socketName(place));
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new Client(socket));
      });
    });
  }

  private constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (text: string) => this.#receive(text));
    // An error is followed by "close", which is all that matters.
    socket.on("error", () => {});
    socket.on("close", () => this.#lost());
  }

  get open(): boolean {
    return this.#open;
  }

  /** Sends a command; `onReply` hears every reply, the last one too. Rejects with ConnectionLost. */
  request(command: string, args: readonly string[], onReply: (reply: Reply) => void): Promise<Reply> {
    return new Promise((resolve, reject) => {
      if (!this.#open) {
        reject(new ConnectionLost(0));
        return;
      }
      const id = ++this.#lastId;
      this.#pending.set(id, { replies: 0, onReply, resolve, reject });
      const user = process.env.USER ?? process.env.LOGNAME;
      this.#socket.write(`${JSON.stringify({ id, command, args, user })}\n`);
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(text: string): void {
    const lines = (this.#text + text).split("\n");
    this.#text = lines.pop() ?? "";
    for (const line of lines) if (line !== "") this.#handle(line);
  }

  #handle(line: string): void {
    let reply: Reply;
    try {
      reply = JSON.parse(line) as Reply;
    } catch {
      // Upstream's master answers in YAML: not one of ours, and nothing that it says can be told apart.
      this.#fail(new Error("what answers there is not this einhorn: its reply is no JSON"));
      return;
    }
    const pending = this.#pendingFor(reply);
    if (pending === undefined) return;
    pending.replies++;
    pending.onReply(reply);
    if (reply.wait === true) return;
    for (const [id, each] of this.#pending) if (each === pending) this.#pending.delete(id);
    pending.resolve(reply);
  }

  /** Refusals of lines that were not understood carry no id: they belong to the oldest request. */
  #pendingFor(reply: Reply): Pending | undefined {
    if (typeof reply.request_id === "number") return this.#pending.get(reply.request_id);
    return this.#pending.values().next().value;
  }

  #lost(): void {
    this.#open = false;
    this.#fail(null);
  }

  #fail(error: Error | null): void {
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const { replies, reject } of pending) reject(error ?? new ConnectionLost(replies));
  }
}
