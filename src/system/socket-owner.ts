/** Who has the port that we wanted? Answers from /proc/net and /proc/PID/fd: for an error message, not for a decision. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

const listening = "0A";

/** "nginx (pid 12)", "this einhorn itself", or null where it cannot be seen: other users' processes, other containers. */
export function ownerOfPort(protocol: "tcp" | "udp", port: number): string | null {
  const inodes = new Set<string>();
  for (const table of [protocol, `${protocol}6`]) {
    for (const line of readOr(`/proc/net/${table}`).split("\n").slice(1)) {
      const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
      const localPort = Number.parseInt(local?.split(":")[1] ?? "", 16);
      if (localPort === port && inode !== undefined && (protocol === "udp" || state === listening)) inodes.add(inode);
    }
  }
  return inodes.size === 0 ? null : processWith(inodes);
}

function processWith(inodes: ReadonlySet<string>): string | null {
  for (const pid of listOr("/proc").filter((name) => /^\d+$/.test(name))) {
    for (const fd of listOr(`/proc/${pid}/fd`)) {
      const inode = /^socket:\[(\d+)\]$/.exec(linkOr(`/proc/${pid}/fd/${fd}`))?.[1];
      if (inode === undefined || !inodes.has(inode)) continue;
      if (Number(pid) === process.pid) return "this einhorn itself";
      return `${readOr(`/proc/${pid}/comm`).trim()} (pid ${pid})`;
    }
  }
  return null;
}

const readOr = (file: string): string => attempt(() => readFileSync(file, "utf8"), "");
const listOr = (folder: string): string[] => attempt(() => readdirSync(folder), []);
const linkOr = (file: string): string => attempt(() => readlinkSync(file), "");

function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
