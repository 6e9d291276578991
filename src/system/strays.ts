/** Descriptors that came through an execve and that no document names. */
import { closeSync, readdirSync } from "node:fs";
import { native } from "./native.ts";

/**
 * Closes every inherited descriptor but `known`, which stay inheritable, and 0 to 2. `keepOf`: connections accepted from this command socket are
 * returned instead; a crash may have come between their accept and the document.
 */
export function closeStrays(known: ReadonlySet<number | null | undefined>, keepOf: string | null): number[] {
  const kept: number[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    // Node sets close-on-exec on inherited descriptors below 16: an adopted one would be lost with the next re-exec.
    if (known.has(fd)) native.setInheritable({ fd, inheritable: true });
    // What Node itself opened is close-on-exec; only what came through execve is not.
    if (fd <= 2 || known.has(fd) || !isInheritable(fd)) continue;
    if (keepOf !== null && isConnectionOf(fd, keepOf)) kept.push(fd);
    else closeSync(fd);
  }
  return kept;
}

/** Accepted from the command socket: it has the listener's name. */
function isConnectionOf(fd: number, socketPath: string): boolean {
  try {
    const name = Buffer.from(native.getSocketName({ fd }));
    const path = socketPath.startsWith("@") ? `\0${socketPath.slice(1)}` : `${socketPath}\0`;
    return name.readUInt16LE(0) === 1 && name.subarray(2).toString().startsWith(path);
  } catch {
    return false;
  }
}

function isInheritable(fd: number): boolean {
  try {
    return native.isInheritable({ fd });
  } catch {
    return false;
  }
}
