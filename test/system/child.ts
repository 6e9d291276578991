/** Runs a child through the addon and waits for the fact of its end. */
import { closeSync, fstatSync, readSync } from "node:fs";
import type { SpawnOptions } from "../../native/einhorn-native.d.ts";
import { native } from "../../src/system/native.ts";
import { type Exit, reap } from "../../src/system/processes.ts";

const seen = new Map<number, Exit>();

/** Reaps until `pid` is among the dead. Others that die meanwhile are kept for those who wait for them. */
export async function exitOf(pid: number): Promise<Exit> {
  for (;;) {
    for (const exit of reap().exits) seen.set(exit.pid, exit);
    const found = seen.get(pid);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Waits until `condition` holds. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

export const shell = (script: string): Pick<SpawnOptions, "files" | "args" | "env" | "fds"> => ({
  files: ["/bin/sh"],
  args: ["sh", "-c", script],
  env: ["PATH=/usr/local/bin:/usr/bin:/bin"],
  fds: [],
});

/** What the child wrote to stdout, and how it ended. */
export async function run(options: SpawnOptions): Promise<{ pid: number; output: string; exit: Exit }> {
  const file = native.memoryFile({ name: "output", private: true });
  try {
    const [stdin = null, , stderr = null] = options.stdio ?? [];
    const pid = native.spawn({ ...options, stdio: [stdin, file, stderr] });
    const exit = await exitOf(pid);
    const bytes = Buffer.alloc(fstatSync(file).size);
    readSync(file, bytes, 0, bytes.length, 0);
    return { pid, output: bytes.toString(), exit };
  } finally {
    closeSync(file);
  }
}

/** The fields of /proc/PID/status that `text` holds. */
export function statusField(text: string, name: string): string | undefined {
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(text)?.[1];
}

/** Runs `call` and returns the addon's error. */
export function failure(call: () => unknown): { code: string; errno: number; syscall: string; message: string } {
  try {
    call();
  } catch (error) {
    return error as { code: string; errno: number; syscall: string; message: string };
  }
  throw new Error("it did not fail");
}
