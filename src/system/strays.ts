/** Descriptors that came through an execve and that no document names. */
import { closeSync, readdirSync } from "node:fs";
import { native } from "./native.ts";

/**
 * Closes every inherited descriptor but `known`, which stay inheritable, and 0 to 2. `keepOf`: connections accepted from
 * this command socket are returned instead; a crash may have come between their accept and the document. Never throws:
 * there is no way back for a new image.
 */
export function closeStrays(known: ReadonlySet<number | null | undefined>, keepOf: string | null): number[] {
  const kept: number[] = [];
  for (const name of readdirSync("/proc/self/fd")) {
    const fd = Number(name);
    // Node sets close-on-exec on inherited descriptors below 16: an adopted one would be lost with the next re-exec.
    if (known.has(fd)) makeInheritable(fd);
    // What Node itself opened is close-on-exec; only what came through execve is not.
    if (fd <= 2 || known.has(fd)) continue;
    if (keepOf !== null && isConnectionOf(fd, keepOf)) {
      makeInheritable(fd);
      kept.push(fd);
    } else if (isInheritable(fd)) closeSync(fd);
  }
  return kept;
}

const solSocket = 1;
const soPeercred = 17;

/**
 * Is `fd` still the connection that was written down, after a crash? It may have been closed since, and its number be Node's now
 * or another client's: whose replies must not be theirs. One end of a pair (`-g`) has our own credentials.
 */
export function isStill(
  { fd, pid, uid, adopted }: { fd: number; pid: number; uid: number; adopted: boolean },
  socketPath: string,
): boolean {
  try {
    const bytes = native.getSocketOption({ fd, level: solSocket, name: soPeercred, length: 12 });
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (adopted) return view.getInt32(0, true) === process.pid && !isConnectionOf(fd, socketPath);
    return view.getInt32(0, true) === pid && view.getUint32(4, true) === uid && isConnectionOf(fd, socketPath);
  } catch {
    return false;
  }
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

function makeInheritable(fd: number): void {
  try {
    native.setInheritable({ fd, inheritable: true });
  } catch {
    // It is closed: whoever uses it will say so.
  }
}

function isInheritable(fd: number): boolean {
  try {
    return native.isInheritable({ fd });
  } catch {
    return false;
  }
}
