/** What /proc tells about processes, and the end of those that a test started. */
import fs from "node:fs";

/** The environment variable by which a test's processes are found again, whoever their parent is. */
export const MARK = "TEST_MASTER_MARK";

/** Kills every process that carries this mark, also those born meanwhile. */
export function killMarked(mark: string): void {
  for (;;) {
    const found = marked(mark);
    if (found.length === 0) return;
    for (const pid of found) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
  }
}

/** The living processes with this mark; zombies have no environment. */
export function marked(mark: string): number[] {
  return pids().filter((pid) => read(`/proc/${pid}/environ`)?.includes(`${MARK}=${mark}`));
}

export function pids(): number[] {
  return fs.readdirSync("/proc").flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []));
}

/** True while the process runs; a zombie has ended. */
export function isAlive(pid: number): boolean {
  const stat = read(`/proc/${pid}/stat`);
  return stat !== null && !/^\d+ \(.*\) [ZX]/s.test(stat);
}

/** The children that a process has, zombies included. */
export function children(pid: number): number[] {
  return (read(`/proc/${pid}/task/${pid}/children`) ?? "").trim().split(" ").filter(Boolean).map(Number);
}

/** A field of /proc/PID/status. */
export function statusField(pid: number, name: string): string {
  const line = new RegExp(`^${name}:\\s*(.*)$`, "m").exec(read(`/proc/${pid}/status`) ?? "");
  if (line?.[1] === undefined) throw new Error(`process ${pid} has no ${name}`);
  return line[1];
}

/** The file's text, or null when the process is gone or not ours. */
export function read(path: string): string | null {
  try {
    return fs.readFileSync(path, "latin1");
  } catch {
    return null;
  }
}
