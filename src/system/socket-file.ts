/** Tries to listen on a UNIX socket that may be there already. Says what is in the way; who calls decides what follows. */
import { closeSync, constants, lstatSync, unlinkSync } from "node:fs";
import { unixAddress, unixPathBytesMax } from "./addresses.ts";
import { native } from "./native.ts";

const afUnix = 1;
const sockStream = 1;
const sockNonblock = constants.O_NONBLOCK;

export type Obstacle =
  /** Somebody is listening there. */
  | { kind: "live" }
  /** There is a file that is no socket, or a socket of another kind. */
  | { kind: "foreign" }
  /** The place cannot be used at all: an errno's name. */
  | { kind: "unusable"; code: string };

/**
 * Listens at `place`, a path or `@name`, in place of a socket that nobody listens on any more. The descriptor is
 * non-blocking and the file has mode 0600 from its first moment. Call it under a lock: between the look at a stale socket
 * and its removal another process could have taken the place.
 */
export function listenAt(place: string, backlog: number): { fd: number } | Obstacle {
  const abstract = place.startsWith("@");
  if (!abstract && Buffer.byteLength(place) > unixPathBytesMax) return { kind: "unusable", code: "ENAMETOOLONG" };
  const address = unixAddress(place);
  const fd = native.socket({ family: afUnix, type: sockStream | sockNonblock });
  try {
    const obstacle = abstract ? null : removeStale(place, address);
    if (obstacle !== null) {
      closeSync(fd);
      return obstacle;
    }
    bindPrivately(fd, address);
    native.listen({ fd, backlog });
    return { fd };
  } catch (error) {
    closeSync(fd);
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return code === "EADDRINUSE" ? { kind: "live" } : { kind: "unusable", code };
  }
}

/** chmod(2) after bind(2) would leave a moment in which others could connect. */
function bindPrivately(fd: number, address: Uint8Array): void {
  const umask = process.umask(0o177);
  try {
    native.bind({ fd, address });
  } finally {
    process.umask(umask);
  }
}

function removeStale(path: string, address: Uint8Array): Obstacle | null {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return null;
  if (!found.isSocket()) return { kind: "foreign" };
  const answer = probe(address);
  // EAGAIN is a full backlog: whoever it is, is busy, not gone. EPROTOTYPE is a datagram socket.
  if (answer === null || answer === "EAGAIN") return { kind: "live" };
  if (answer === "EPROTOTYPE") return { kind: "foreign" };
  if (answer !== "ECONNREFUSED" && answer !== "ENOENT") return { kind: "unusable", code: answer };
  unlinkSync(path);
  return null;
}

/** Connects and hangs up. Null: somebody listens; ECONNREFUSED: the file is all that is left (unix(7)). */
function probe(address: Uint8Array): string | null {
  const fd = native.socket({ family: afUnix, type: sockStream | sockNonblock, private: true });
  try {
    native.connect({ fd, address });
    return null;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return code;
  } finally {
    closeSync(fd);
  }
}
