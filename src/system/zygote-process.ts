/** One zygote: how it is started, and the words that go over its connection (docs/preloading.md has the protocol). */
import { closeSync, openSync } from "node:fs";
import type { SpawnOptions } from "../../native/einhorn-native.d.ts";
import type { Pid } from "../core/model.ts";
import { native } from "./native.ts";
import { candidatesOf } from "./processes.ts";
import type { ZygoteCommand } from "./zygote-command.ts";

const sockSeqPacket = 5;
const solSocket = 1;
const soPassCred = 16;
const firstWorkerFd = 3;
/** Places kept below the connection beyond those needed now, for sockets that a reload adds. */
export const sparePlaces = 8;

export interface ZygoteProcess {
  pid: Pid;
  fd: number;
}

/**
 * Starts it with places for `places` sockets kept free, so that what the application opens while loading is not in their way,
 * and orders it to load. Throws {code, syscall} when it cannot be executed.
 */
export function startZygote(o: {
  command: ZygoteCommand;
  path: string;
  collect: boolean;
  places: number;
  /** "K=V" strings. */
  env: readonly string[];
  searchPath: string | undefined;
  /** As a worker's. */
  settings: Partial<SpawnOptions>;
}): ZygoteProcess {
  const [ours, theirs] = native.socketPair({ type: sockSeqPacket });
  const nothing = openSync("/dev/null", "r+");
  try {
    native.setSocketOption({ fd: ours, level: solSocket, name: soPassCred, value: 1 });
    native.setNonBlocking({ fd: theirs, nonBlocking: false });
    const pid = native.spawn({
      ...o.settings,
      files: candidatesOf(o.command.argv[0] as string, o.searchPath),
      args: o.command.argv,
      env: [...o.env, `EINHORN_ZYGOTE_FD=${firstWorkerFd + o.places}`],
      fds: [...Array.from({ length: o.places }, () => nothing), theirs],
    });
    tell(ours, ["load", o.path, o.collect ? "1" : "0", ...o.command.program], []);
    return { pid, fd: ours };
  } catch (error) {
    closeSync(ours);
    throw error;
  } finally {
    closeSync(theirs);
    closeSync(nothing);
  }
}

/** False when it cannot be sent now. */
export function orderFork(
  fd: number,
  o: {
    id: number;
    deathSignal: number;
    variables: readonly string[];
    fds: readonly number[];
    stderr: number | null;
  },
): boolean {
  const words = ["fork", String(o.id), String(o.deathSignal), ...o.variables];
  if (o.stderr === null) return tell(fd, words, o.fds);
  return tell(fd, [...words, `EINHORN_STDERR_FD=${firstWorkerFd + o.fds.length}`], [...o.fds, o.stderr]);
}

function tell(fd: number, words: readonly string[], fds: readonly number[]): boolean {
  return native.send({ fd, buffer: Buffer.from(words.join("\0")), fds }) >= 0;
}

export type Word =
  | { kind: "loaded"; warning: string | null }
  | { kind: "failed"; reason: string }
  /** `pid` is who sent it, from the kernel: the worker itself. */
  | { kind: "born"; id: number; pid: Pid }
  | { kind: "unborn"; id: number; errno: string }
  | { kind: "unknown"; text: string }
  | { kind: "end" };

const buffer = Buffer.alloc(16 * 1024);

/** The next message; null when there is none now. */
export function hear(fd: number): Word | null {
  let message: ReturnType<typeof native.receive>;
  try {
    message = native.receive({ fd, buffer });
  } catch (error) {
    // The other end was closed with something of ours unread.
    if ((error as NodeJS.ErrnoException).code === "ECONNRESET") return { kind: "end" };
    // ENOMEM, ENOBUFS: what was said is still there, and the reactor comes again.
    return null;
  }
  if (message === null) return null;
  for (const stray of message.fds) closeSync(stray);
  if (message.length === 0) return { kind: "end" };
  const [kind = "", first = "", second = ""] = buffer.toString("utf8", 0, message.length).split("\0");
  switch (kind) {
    case "loaded":
      return { kind, warning: first || null };
    case "failed":
      return { kind, reason: printable(first) || "it gave no reason" };
    case "born":
      return { kind, id: Number(first), pid: message.pid };
    case "unborn":
      return { kind, id: Number(first), errno: /^E[A-Z0-9]+$/.test(second) ? second : "EAGAIN" };
    default:
      return { kind: "unknown", text: printable(kind) };
  }
}

/** One line, for the log and `status`. */
function printable(text: string): string {
  return text
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .slice(0, 300);
}
