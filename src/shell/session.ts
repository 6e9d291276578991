/** Runs commands on the master: one after the other, each to its last reply. */
import { type Client, ConnectionLost } from "../control/client.ts";
import type { Invocation } from "./arguments.ts";
import { harmlessCommands } from "./commands.ts";
import { findMaster } from "./find.ts";
import { print, printReply, stderr } from "./print.ts";

const attempts = 5;
const pauseMs = 200;

export class Session {
  readonly #invocation: Invocation;
  #client: Client | null = null;

  constructor(invocation: Invocation) {
    this.#invocation = invocation;
  }

  /** Prints all replies; returns the exit code. Throws UserError where there is no master. */
  async run(words: readonly string[]): Promise<0 | 1> {
    // Also behind a command of -e, of stdin or of the prompt; the master has no use for it.
    const json = this.#invocation.json || words.includes("--json");
    const [command = "", ...args] = words.filter((word) => word !== "--json");
    for (let attempt = 1; ; attempt++) {
      const client = await this.connect();
      try {
        const last = await client.request(command, args, (reply) => printReply(reply, json));
        return last.error === true ? 1 : 0;
      } catch (error) {
        if (error instanceof ConnectionLost && attempt < attempts && this.#mayRepeat(command, error)) {
          await new Promise((resolve) => setTimeout(resolve, pauseMs));
          continue;
        }
        print(stderr, this.#explain(command, error));
        return 1;
      }
    }
  }

  async connect(): Promise<Client> {
    if (this.#client?.open !== true) this.#client = await findMaster(this.#invocation, process.env);
    return this.#client;
  }

  close(): void {
    this.#client?.close();
  }

  #mayRepeat(command: string, lost: ConnectionLost): boolean {
    return harmlessCommands.has(command) && lost.replies === 0;
  }

  #explain(command: string, error: unknown): string {
    if (!(error instanceof ConnectionLost)) throw error;
    if (command === "events") return "The stream has ended: the master closed the connection.";
    const what = `The connection broke before the master said how "${command}" ended.`;
    return harmlessCommands.has(command) ? what : `${what} It may be done, under way, or not: see einhornsh status.`;
  }
}

/** Ends the process when the time is over. */
export function limitTime(timeoutMs: number | null): void {
  if (timeoutMs === null) return;
  setTimeout(() => {
    print(
      stderr,
      `einhornsh: no final answer within ${timeoutMs / 1000} s. What was asked for may still be under way.`,
    );
    process.exit(1);
  }, timeoutMs).unref();
}
