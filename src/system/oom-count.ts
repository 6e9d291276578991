/** Which SIGKILLs were the kernel's for want of memory: the container's counter says how many, never who. */
import { closeSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import type { Millis } from "../core/model.ts";

/** A kill that is counted is reaped soon after; what nobody has claimed by then was no worker. */
export const claimableMs = 1_000;

export class OomCount {
  readonly #read: () => number | null;
  #seen: number | null;
  #unclaimed = 0;
  #until: Millis = 0;

  /** `read` gives the counter, null where there is none (`oomKills`). */
  constructor(read: () => number | null) {
    this.#read = read;
    this.#seen = read();
  }

  /** A process ended by SIGKILL, and not by ours: takes one of the kills that nobody has claimed yet, and says if there was one. */
  claim(now: Millis): boolean {
    const kills = this.#read();
    const fresh = kills === null || this.#seen === null ? 0 : Math.max(0, kills - this.#seen);
    this.#seen = kills;
    if (now > this.#until) this.#unclaimed = 0;
    if (fresh > 0) this.#until = now + claimableMs;
    this.#unclaimed += fresh;
    if (this.#unclaimed === 0) return false;
    this.#unclaimed -= 1;
    return true;
  }
}

/**
 * The counter: `oom_kill` of cgroup v2's memory.events or v1's memory.oom_control, null where there is no such file. The file
 * is found once and stays open (close-on-exec): to find it at a death costs more than all else until the successor starts.
 */
export function oomKills(files: readonly string[] = oomFiles(ownCgroups())): () => number | null {
  const bytes = Buffer.alloc(1024);
  for (const file of files) {
    try {
      const fd = openSync(file, "r");
      const read = () => countIn(bytes.toString("latin1", 0, readSync(fd, bytes, 0, bytes.length, 0)));
      if (read() !== null) return () => orNull(read);
      closeSync(fd);
    } catch {
      // Of another version of cgroups.
    }
  }
  return () => null;
}

const countKey = "oom_kill ";

function countIn(text: string): number | null {
  const at = text.indexOf(countKey);
  return at < 0 ? null : Number.parseInt(text.slice(at + countKey.length), 10);
}

/** Where to look, by /proc/self/cgroup: inside a container the mount shows our own group as its root, whatever the path says. */
export function oomFiles(cgroups: string): string[] {
  const lines = cgroups.split("\n").map((line) => line.split(":"));
  const v1 = lines.find(([, controllers]) => controllers?.split(",").includes("memory"))?.[2];
  const v2 = lines.find(([id, controllers]) => id === "0" && controllers === "")?.[2];
  const files: string[] = [];
  if (v1 !== undefined) {
    const root = "/sys/fs/cgroup/memory";
    files.push(join(root, v1, "memory.oom_control"), join(root, "memory.oom_control"));
  }
  if (v2 !== undefined) {
    files.push(join("/sys/fs/cgroup", v2, "memory.events"), "/sys/fs/cgroup/memory.events");
  }
  return files;
}

function ownCgroups(): string {
  return orNull(() => readFileSync("/proc/self/cgroup", "utf8")) ?? "";
}

function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}
