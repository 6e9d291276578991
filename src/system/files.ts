/**
 * The command socket's place, its lockfile and the pidfile. Where the operator named none, the first place of
 * core/places.ts that can be used is taken, so that a container without any writable path starts as well. Only what -d
 * names has to succeed: nothing depends on pidfile and lockfile.
 */

import {
  closeSync,
  constants,
  lchownSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join, resolve } from "node:path";
import * as places from "../core/places.ts";
import { UserError } from "../errors.ts";
import { now as monotonicMs } from "./clock.ts";
import { native } from "./native.ts";
import { listenAt, type Obstacle } from "./socket-file.ts";

export interface FileOptions {
  /** `-c`; becomes part of the default names. */
  commandName: string | null;
  /** `-d`, `-e`, `-f`; null: choose. */
  socketPath: string | null;
  pidfile: string | null;
  lockfile: string | null;
  /** Whose the socket is where workers run as another user: with mode 0600 they could not reach it to ACK. */
  owner: { uid: number; gid: number } | null;
  /** The value of $TMPDIR. */
  tmpdir: string | undefined;
}

/** What was made. Plain data, which the next image needs to clean up. */
export interface Files {
  /** Listening and non-blocking. */
  listener: number;
  /** As in EINHORN_SOCK_PATH: absolute, or `@name` in full for an abstract socket. */
  socketPath: string;
  /** Which file that is: another einhorn may have put its own there. Null for an abstract socket. */
  identity: { dev: number; ino: number } | null;
  pidfile: string | null;
}

/** Upstream's is 5; goji exits when it cannot connect, and a thousand workers may ACK at once. */
const backlog = 1024;
const lockPatienceMs = 2_000;

/** Makes them. `notes` are for the log, at most one a file. Throws UserError when there must be no command socket. */
export async function takeOver(o: FileOptions): Promise<{ files: Files; notes: string[] }> {
  const fault = o.commandName === null ? null : places.commandNameFault(o.commandName);
  if (fault !== null) throw new UserError("EINHORN_COMMAND_NAME", `Option --command-name cannot be used: ${fault}.`, 2);
  const notes: string[] = [];
  const { fd, place } = o.socketPath === null ? await choose(o, notes) : await named(o, o.socketPath, notes);
  const abstract = places.isAbstract(place);
  if (!abstract && o.owner !== null) lchownSync(place, o.owner.uid, o.owner.gid);
  const pidfile = writePidfile(o, abstract || o.socketPath !== null ? null : dirname(place), notes);
  const socketPath = abstract ? places.fullAbstractName(place) : place;
  return { files: { listener: fd, socketPath, identity: abstract ? null : identityOf(place), pidfile }, notes };
}

/** Removes what is still ours, at a clean exit. Never fails. */
export function removeFiles(files: Files): void {
  try {
    const { identity, socketPath } = files;
    if (identity !== null) {
      const now = identityOf(socketPath);
      if (now.dev === identity.dev && now.ino === identity.ino) unlinkSync(socketPath);
    }
  } catch {
    // It is gone, or it is on a file system that has become read-only: the next einhorn finds it stale.
  }
  try {
    if (files.pidfile !== null && readFileSync(files.pidfile, "utf8").trim() === String(process.pid))
      unlinkSync(files.pidfile);
  } catch {
    // As above; a pidfile is a hint.
  }
}

function identityOf(path: string): { dev: number; ino: number } {
  const { dev, ino } = lstatSync(path);
  return { dev, ino };
}

interface Place {
  fd: number;
  place: string;
}

async function named(o: FileOptions, given: string, notes: string[]): Promise<Place> {
  const place = places.isAbstract(given) ? places.fullAbstractName(given) : resolve(given);
  const lock = places.isAbstract(given) ? null : (o.lockfile ?? `${place.replace(/\.sock$/, "")}.lock`);
  const result = await underLock(lock, o.lockfile !== null, notes, () => listenAt(place, backlog));
  if ("fd" in result) return { ...result, place };
  throw new UserError("EINHORN_SOCKET", `Cannot put the command socket at ${given}: ${explain(result)}`);
}

/** The first place that can be used. Somebody else's there counts in the first place alone: that is where two einhorns meet. */
async function choose(o: FileOptions, notes: string[]): Promise<Place> {
  const base = places.baseName(o.commandName);
  const skipped: string[] = [];
  for (const directory of places.directories(o.tmpdir)) {
    const place = join(directory, `${base}.sock`);
    const lock = o.lockfile ?? join(directory, `${base}.lock`);
    const result = await underLock(lock, o.lockfile !== null, notes, () => listenAt(place, backlog));
    if (!("fd" in result) && result.kind !== "unusable" && skipped.length === 0) throw inUse(place, result);
    if ("fd" in result) {
      if (skipped.length > 0)
        notes.push(`Command socket at ${place}, since others cannot be used: ${skipped.join(", ")}`);
      return { ...result, place };
    }
    skipped.push(`${directory} (${result.kind === "unusable" ? result.code : "in use"})`);
  }
  const place = places.abstractPlace(o.commandName, mountNamespace());
  const result = listenAt(places.fullAbstractName(place), backlog);
  if (!("fd" in result)) throw inUse(place, result);
  notes.push(`Command socket at ${place}, an abstract one, since no directory can be used: ${skipped.join(", ")}`);
  return { ...result, place };
}

function inUse(place: string, obstacle: Obstacle): UserError {
  const fix = "Give this one a name of its own (-c NAME) or another path (-d PATH).";
  if (obstacle.kind === "live") {
    return new UserError("EINHORN_SOCKET_IN_USE", `Another einhorn is already answering on ${place}. ${fix}`);
  }
  return new UserError("EINHORN_SOCKET", `Cannot put the command socket at ${place}: ${explain(obstacle)}`);
}

function explain(obstacle: Obstacle): string {
  if (obstacle.kind === "live") return "another process is answering there. Name another path with -d.";
  if (obstacle.kind === "foreign") {
    return "what is there is no UNIX stream socket, and is left alone. Move it away, or name another path with -d.";
  }
  return `${reasons[obstacle.code] ?? "it cannot be used"} (${obstacle.code}). Name another path with -d.`;
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: "permission denied",
  EPERM: "not permitted",
  EROFS: "the file system is read-only",
  ENOENT: "there is no such directory",
  ENOTDIR: "a part of it is not a directory",
  ENAMETOOLONG: "a UNIX socket's path has at most 107 bytes",
  ENOSPC: "no space is left",
};

function mountNamespace(): number {
  try {
    return places.namespaceNumber(readlinkSync("/proc/self/ns/mnt"));
  } catch {
    return 0;
  }
}

/** Runs `action` with the lockfile locked; without the lock where the file cannot be had. It is held no longer than that. */
async function underLock<T>(path: string | null, chosen: boolean, notes: string[], action: () => T): Promise<T> {
  const fd = path === null ? null : openLock(path, chosen, notes);
  if (fd === null) return action();
  try {
    const until = monotonicMs() + lockPatienceMs;
    while (!lock(fd, path as string, notes)) {
      if (monotonicMs() > until) {
        const message = `Another process has held the lock on ${path} for ${lockPatienceMs / 1000} s. Name another with -f.`;
        throw new UserError("EINHORN_LOCKED", message);
      }
      await new Promise((wake) => setTimeout(wake, 20));
    }
    return action();
  } finally {
    closeSync(fd);
  }
}

/** Also true where the file system has no locks (ENOLCK): nothing depends on them. */
function lock(fd: number, path: string, notes: string[]): boolean {
  try {
    return native.lock({ fd });
  } catch (error) {
    notes.push(`Starting without the lock on ${path}: ${(error as NodeJS.ErrnoException).code}`);
    return true;
  }
}

function openLock(path: string, chosen: boolean, notes: string[]): number | null {
  try {
    // O_NOFOLLOW: in a directory that all may write, somebody could have put a link to a file of ours there.
    return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (chosen) notes.push(`Starting without the lockfile ${path}: ${(error as NodeJS.ErrnoException).code}`);
    return null;
  }
}

/** Returns the path, or null where there is none: then only one that -e named is worth a note. */
function writePidfile(o: FileOptions, beside: string | null, notes: string[]): string | null {
  const directories = beside === null ? places.directories(o.tmpdir) : [beside];
  const defaults = directories.map((directory) => join(directory, `${places.baseName(o.commandName)}.pid`));
  for (const path of o.pidfile === null ? defaults : [resolve(o.pidfile)]) {
    const temporary = `${path}.${process.pid}`;
    // Left by a crash of a process with this pid: in a container that is always the same.
    tryToUnlink(temporary);
    try {
      writeFileSync(temporary, `${process.pid}\n`, { flag: "wx", mode: 0o644 });
      renameSync(temporary, path);
      return path;
    } catch (error) {
      if (o.pidfile !== null)
        notes.push(`Starting without the pidfile ${path}: ${(error as NodeJS.ErrnoException).code}`);
      tryToUnlink(temporary);
    }
  }
  return null;
}

function tryToUnlink(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It was never there.
  }
}
