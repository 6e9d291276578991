/** Listening UNIX sockets and their files: a stale one is replaced, a live one is left alone. */
import { chmodSync, chownSync, closeSync, constants, lstatSync, openSync, unlinkSync } from "node:fs";
import { dirname } from "node:path";
import type { Bind } from "../options.ts";
import { families, unixAddress, unixPathBytesMax } from "./addresses.ts";
import { bindProblem, isSystemError } from "./bind-errors.ts";
import { native } from "./native.ts";

/** Which file is ours: the path alone may be another's by now. */
export interface UnixFile {
  path: string;
  device: number;
  inode: number;
}

const sockStream = 1;

/**
 * Binds and listens. The file has its mode and owner before anybody can connect.
 *
 * The socket is bound under its own path, not renamed to it: programs compare what getsockname(2) says with the path they
 * were told (Puma does).
 */
export async function openUnix(
  bind: Bind,
  path: string,
  backlog: number,
): Promise<{ fd: number; file: UnixFile | null }> {
  const bytes = Buffer.byteLength(path);
  if (bytes > unixPathBytesMax) {
    throw bindProblem(
      bind,
      `the path has ${bytes} bytes, and a UNIX socket's may have ${unixPathBytesMax} (ENAMETOOLONG). Choose a shorter one.`,
    );
  }
  const fd = native.socket({ family: families.AF_UNIX, type: sockStream });
  try {
    const address = unixAddress(path);
    if (bind.nonBlocking) native.setNonBlocking({ fd, nonBlocking: true });
    const listen = () => native.listen({ fd, backlog });
    if (path.startsWith("@")) {
      native.bind({ fd, address });
      listen();
    } else {
      // One step under the lock: a socket that is bound and does not listen yet looks like a stale one.
      await underLock(dirname(path), () => {
        bindFile(bind, path, fd, address);
        listen();
      });
    }
    return { fd, file: path.startsWith("@") ? null : fileAt(path) };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Removes the file, unless somebody has put another in its place. */
export function removeUnix({ path, device, inode }: UnixFile): void {
  try {
    const now = lstatSync(path);
    if (now.dev === device && now.ino === inode) unlinkSync(path);
  } catch {
    // Gone, or no longer ours to remove: either way there is nothing more to do.
  }
}

function fileAt(path: string): UnixFile {
  const { dev, ino } = lstatSync(path);
  return { path, device: dev, inode: ino };
}

function bindFile(bind: Bind, path: string, fd: number, address: Uint8Array): void {
  removeStale(bind, path, address);
  const umask = process.umask(0o777);
  try {
    native.bind({ fd, address });
  } finally {
    process.umask(umask);
  }
  if (bind.owner) chownSync(path, bind.owner.uid, bind.owner.gid ?? -1);
  chmodSync(path, bind.mode ?? 0o777 & ~umask);
}

function removeStale(bind: Bind, path: string, address: Uint8Array): void {
  const now = lstatSync(path, { throwIfNoEntry: false });
  if (now === undefined) return;
  if (!now.isSocket())
    throw bindProblem(
      bind,
      "there is a file that is no socket. It is left alone: move it away, or choose another path.",
    );
  const answer = probe(address);
  if (answer !== "ECONNREFUSED" && answer !== "ENOENT") {
    const reason =
      answer === null || answer === "EAGAIN"
        ? "another process is listening there"
        : `a connection to it fails with ${answer}`;
    throw bindProblem(bind, `${reason} (EADDRINUSE). Stop that process (ss -xlp shows it), or choose another path.`);
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** Connects and hangs up. Null: somebody accepts; ECONNREFUSED: nobody has the socket any more. */
function probe(address: Uint8Array): string | null {
  const sockNonblock = constants.O_NONBLOCK;
  const fd = native.socket({ family: families.AF_UNIX, type: sockStream | sockNonblock, private: true });
  try {
    native.connect({ fd, address });
    return null;
  } catch (error) {
    if (isSystemError(error)) return error.code;
    throw error;
  } finally {
    closeSync(fd);
  }
}

/** Two masters that start at once must not each take the other's new socket for a stale one: one at a time in this folder. */
async function underLock(folder: string, action: () => void): Promise<void> {
  let fd: number;
  try {
    fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch {
    // A folder that may be written but not read cannot be locked.
    return action();
  }
  try {
    for (let attempt = 0; attempt < 100 && !native.lock({ fd }); attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    action();
  } finally {
    closeSync(fd);
  }
}
