/**
 * What the kernel knows about processes: who died, who belongs to whom, what a program's name means.
 * /proc is read with plain files; what is gone by the time it is read is answered like what never was.
 */
import { readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { join } from "node:path";
import type { Reaped } from "../../native/einhorn-native.d.ts";
import type { Millis, Pid, Signal } from "../core/model.ts";
import { native } from "./native.ts";

/** The kernel's first and last real-time signals free for programs under glibc (signal(7)); musl keeps 34 to itself. */
const firstRealTime = 34;
const lastRealTime = 64;

const numberByName: ReadonlyMap<string, number> = new Map(Object.entries(constants.signals));
/** Of two names for one number the first of the system's list is the usual one (SIGABRT, SIGIOT): set last, it stays. */
const nameByNumber: ReadonlyMap<number, string> = new Map(
  [...numberByName].reverse().map(([name, number]) => [number, name] as const),
);

/** "SIGTERM", "SIGRTMIN+3"; "SIG99" for a number that no signal has. */
export function signalName(number: number): Signal {
  if (number >= firstRealTime && number <= lastRealTime) {
    return number === firstRealTime ? "SIGRTMIN" : `SIGRTMIN+${number - firstRealTime}`;
  }
  return nameByNumber.get(number) ?? `SIG${number}`;
}

/** Of "SIGTERM", "TERM", "term", "15", "SIGRTMIN+3" or "RTMAX-1"; null where there is no such signal. */
export function signalNumber(text: string): number | null {
  const upper = text.trim().toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  const realTime = /^SIGRT(?:MIN(?:\+(\d+))?|MAX(?:-(\d+))?)$/.exec(name);
  const number = /^\d+$/.test(upper)
    ? Number(upper)
    : realTime
      ? name.startsWith("SIGRTMIN")
        ? firstRealTime + Number(realTime[1] ?? 0)
        : lastRealTime - Number(realTime[2] ?? 0)
      : (numberByName.get(name) ?? 0);
  if (realTime && (number < firstRealTime || number > lastRealTime)) return null;
  return number >= 1 && number <= lastRealTime ? number : null;
}

/**
 * The files that execvp(3) would try for `program`, in its order. `path` is the PATH of the process to be: its own, where
 * it has none, is what glibc takes then.
 */
export function candidatesOf(program: string, path: string | undefined): string[] {
  if (program === "" || program.includes("/")) return [program];
  return (path ?? "/bin:/usr/bin").split(":").map((folder) => join(folder === "" ? "." : folder, program));
}

export interface Exit {
  pid: Pid;
  code: number | null;
  signal: Signal | null;
  cpuMs: Millis;
  /**
   * The largest the process ever was. A process that was small shows the master's own size: the kernel counts the memory
   * that a child shares with its parent between clone and execve (getrusage(2)).
   */
  maxRssBytes: number;
}

/**
 * Reaps who is dead, at most `limit` so that a thousand at once do not stop the loop: `more` says to come again.
 * `childless`: there is no child left at all, dead or alive. With `known`, ascending pids, others are only counted:
 * PID 1 of a container may have a hundred thousand orphans to bury, and nobody asks how they died. Without `rearm` the
 * next deaths are no SIGCHLD: the caller will look.
 */
export function reap(
  limit = 256,
  known?: Int32Array,
  rearm = true,
): { exits: Exit[]; strangers: number; childless: boolean; more: boolean } {
  const { deaths, strangers, taken, childless } = native.reap({ limit, rearm, ...(known && { known }) });
  return { exits: deaths.map(exitOf), strangers, childless, more: taken === limit };
}

function exitOf(death: Reaped): Exit {
  return { ...death, signal: death.signal === null ? null : signalName(death.signal) };
}

/** kill(2), -1 for everybody but ourselves. */
export function kill(pid: Pid, signal: Signal): void {
  try {
    process.kill(pid, signalNumber(signal) ?? 15);
  } catch {
    // It is gone, which its exit tells; or it is another user's by now, which nothing here can change.
  }
}

/** Does `pid` have a handler of its own for `signal`? SigCgt of proc(5); false for one that is gone. */
export function catchesSignal(pid: Pid, signal: number): boolean {
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readOr(`/proc/${pid}/status`, ""))?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
}

interface Stat {
  state: string;
  parent: Pid;
  /** Clock ticks since boot. */
  startedAt: number;
}

/** Of /proc/PID/stat (proc(5)): the name in parentheses may hold anything, parentheses included. */
export function parseStat(text: string): Stat | null {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, parent] = fields;
  if (!text.includes(")") || state === undefined || parent === undefined) return null;
  return { state, parent: Number(parent), startedAt: Number(fields[19]) };
}

const statOf = (pid: Pid): Stat | null => parseStat(readOr(`/proc/${pid}/stat`, ""));

/** Null for one that is gone. */
export const parentOf = (pid: Pid): Pid | null => statOf(pid)?.parent ?? null;

/**
 * Is `pid` the process `ancestor`, or a child of its, or theirs? False where the chain breaks: the asker, or one
 * between, is gone. A parent that is younger than its child is a pid that was used again: also false.
 */
export function isDescendant(pid: Pid, ancestor: Pid): boolean {
  let current = pid;
  let startedAt = Number.POSITIVE_INFINITY;
  for (let depth = 0; depth < 256 && current > 0; depth++) {
    const stat = statOf(current);
    if (stat === null || stat.startedAt > startedAt) return false;
    if (current === ancestor) return true;
    startedAt = stat.startedAt;
    current = stat.parent;
  }
  return false;
}

/**
 * Our workers among `pids`, by the environment they were started with. A helper that a worker left behind has the same one,
 * but not a process group of its own, or not that LISTEN_PID.
 */
export function workersAmong(pids: readonly Pid[]): { pid: Pid; slot: number; generation: number }[] {
  return pids.flatMap((pid) => {
    const group = Number(
      readOr(`/proc/${pid}/stat`, "")
        .replace(/^.*\) /s, "")
        .split(" ")[2],
    );
    const env = new Map(
      readOr(`/proc/${pid}/environ`, "")
        .split("\0")
        .map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)] as const),
    );
    const isOurs = env.get("EINHORN_MASTER_PID") === String(process.pid) && env.has("EINHORN_CHILD_INDEX");
    if (!isOurs || group !== pid || Number(env.get("LISTEN_PID") ?? pid) !== pid) return [];
    return [{ pid, slot: Number(env.get("EINHORN_CHILD_INDEX")), generation: Number(env.get("EINHORN_GENERATION")) }];
  });
}

/** Resident memory; null for a process that is gone. */
export function rssBytes(pid: Pid): number | null {
  const pages = Number(readOr(`/proc/${pid}/statm`, "").split(" ")[1]);
  return pages > 0 ? pages * pageBytes() : null;
}

let knownPageBytes = 0;

/** From our own auxiliary vector (getauxval(3), AT_PAGESZ is 6): 4 KiB, or up to 64 KiB on arm64. */
function pageBytes(): number {
  if (knownPageBytes > 0) return knownPageBytes;
  knownPageBytes = 4096;
  try {
    const vector = readFileSync("/proc/self/auxv");
    for (let at = 0; at + 16 <= vector.length; at += 16) {
      if (vector.readUInt32LE(at) === 6) knownPageBytes = vector.readUInt32LE(at + 8);
    }
  } catch {
    // Not readable after a change of user: 4 KiB is then the best guess.
  }
  return knownPageBytes;
}

/** Children of this process that have not ended, adopted ones included. */
export function livingChildren(): Pid[] {
  return childPids().filter((pid) => {
    const state = statOf(pid)?.state;
    return state !== undefined && state !== "Z" && state !== "X";
  });
}

/** The same, dead ones that were not reaped included. */
export function childPids(): Pid[] {
  try {
    const tasks = readdirSync("/proc/self/task");
    const lists = tasks.map((task) => readFileSync(`/proc/self/task/${task}/children`, "utf8"));
    return lists.flatMap((list) => list.split(" ").filter(Boolean).map(Number));
  } catch {
    // Kernels without CONFIG_PROC_CHILDREN, gVisor.
    const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return pids.map(Number).filter((pid) => statOf(pid)?.parent === process.pid);
  }
}

function readOr(file: string, otherwise: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return otherwise;
  }
}
