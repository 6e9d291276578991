/** What /proc tells about processes, and the end of those that a test started. */
import fs from "node:fs";
import { until } from "./until.ts";

/** The environment variable by which a test's processes are found again, whoever their parent is. */
export const MARK = "TEST_MASTER_MARK";

/** Kills every process that carries this mark or belongs to this session, also those born meanwhile. */
export function killMarked(mark: string, session: number | null = null): void {
  for (;;) {
    const found = pids().filter((pid) => isMarked(pid, mark) || (session !== null && sessionOf(pid) === session));
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

/** Some programs write their title over their environment: for them there is the session. Zombies have neither. */
const isMarked = (pid: number, mark: string): boolean =>
  read(`/proc/${pid}/environ`)?.includes(`${MARK}=${mark}`) ?? false;

/** The session of a running process, field 6 of proc(5)'s stat; null for a zombie or none. */
function sessionOf(pid: number): number | null {
  const [state, , , session] = (read(`/proc/${pid}/stat`)?.split(") ").at(-1) ?? "Z").split(" ");
  return state === "Z" || state === "X" || session === undefined ? null : Number(session);
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

/** A field of /proc/PID/status, or of one of its threads. */
export function statusField(pid: number, name: string, tid: number = pid): string {
  const line = new RegExp(`^${name}:\\s*(.*)$`, "m").exec(read(`/proc/${pid}/task/${tid}/status`) ?? "");
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

/** What a process holds, by kind: numbers of inodes are left out. Sorted. */
export function descriptorsOf(pid: number): string[] {
  const links = fs.readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
    try {
      return [fs.readlinkSync(`/proc/${pid}/fd/${fd}`).replace(/\[\d+\]/, "[N]")];
    } catch {
      return [];
    }
  });
  return links.sort();
}

/** What it holds when nothing is on its way: no client of a moment ago, no check of an upgrade. */
export async function descriptorsAtRest(pid: number): Promise<string[]> {
  let last: string[] = [];
  let same = 0;
  await until("the descriptors to stay what they are", () => {
    const now = descriptorsOf(pid);
    same = differences(now, last).length === 0 ? same + 1 : 0;
    last = now;
    return same >= 5;
  });
  return last;
}

/** Waits until it holds just these again: what was on its way ends. */
export async function restsWith(pid: number, expected: readonly string[]): Promise<void> {
  const surplus = () => differences(descriptorsOf(pid), expected);
  await until(
    "the descriptors to be those of the start",
    () => surplus().length === 0,
    () => surplus().join("\n"),
  );
}

/** "+ x" for each that is too many in `now`, "- x" for each that is missing. */
function differences(now: readonly string[], before: readonly string[]): string[] {
  const kinds = new Set([...now, ...before]);
  return [...kinds].flatMap((kind) => {
    const more = now.filter((one) => one === kind).length - before.filter((one) => one === kind).length;
    return more === 0 ? [] : [`${more > 0 ? "+" : "-"}${Math.abs(more)} ${kind}`];
  });
}
