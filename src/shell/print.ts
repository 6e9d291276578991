/** Writing without process.stdout, which takes time to set up and would make a shared pipe non-blocking. */
import { writeSync } from "node:fs";
import type { Reply } from "../control/client.ts";

export const stdout = 1;
export const stderr = 2;

/** Writes all of it. A reader that is gone ends the program quietly, as it ends others. */
export function print(fd: number, text: string): void {
  let rest = Buffer.from(text.endsWith("\n") || text === "" ? text : `${text}\n`);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") process.exit(1);
      // Somebody else made the pipe non-blocking, and its reader is slow.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}

/** A reply's data as one line of JSON, or its message: an error's on stderr. */
export function printReply(reply: Reply, json: boolean): void {
  if (json) print(stdout, JSON.stringify(reply.data ?? { message: reply.message, error: reply.error === true }));
  else print(reply.error === true ? stderr : stdout, reply.message);
}
