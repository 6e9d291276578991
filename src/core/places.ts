/**
 * Where the command socket may be. The master looks for a place that it can write (system/files.ts) and einhornsh looks
 * for the master in the same places in the same order (shell/find.ts), so both read this one list. Pure.
 */

/** Bytes in sockaddr_un.sun_path, unix(7). A path needs one of them for its terminating zero. */
export const sunPathBytes = 108;

/** `einhorn` or `einhorn-NAME`: what the socket, the lockfile and the pidfile are called, each with its own ending. */
export function baseName(commandName: string | null): string {
  return commandName === null ? "einhorn" : `einhorn-${commandName}`;
}

/** Why this cannot be a command name, or null when it can. */
export function commandNameFault(name: string): string | null {
  if (name === "") return "it is empty";
  if (name.includes("/") || name.includes("\0"))
    return "it becomes part of a file name, so it must not contain a slash";
  if (Buffer.byteLength(name) > 60) return "it is longer than 60 bytes";
  return null;
}

/**
 * Directories for socket, lockfile and pidfile, best first: the temporary directory, then what is often writable in a
 * container whose root file system is not. `tmpdir` is the value of $TMPDIR, if any.
 */
export function directories(tmpdir: string | undefined): string[] {
  const first = tmpdir === undefined || tmpdir === "" ? "/tmp" : tmpdir.replace(/(.)\/+$/, "$1");
  return [...new Set([first, "/run", "/dev/shm"])];
}

/**
 * The abstract socket (unix(7)) for a container with no writable path at all. Containers of one Kubernetes pod share
 * network namespace, host name and often the uid, so only the mount namespace tells whose master it is; `docker exec` and
 * `kubectl exec` enter that same namespace. `mountNamespace` is the number in /proc/self/ns/mnt, 0 where it is unknown.
 */
export function abstractPlace(commandName: string | null, mountNamespace: number): string {
  return `@${baseName(commandName)}-${mountNamespace}`;
}

/** The number in a /proc/PID/ns/mnt link ("mnt:[4026531841]"), or 0. */
export function namespaceNumber(link: string): number {
  return Number(/\[(\d+)\]/.exec(link)?.[1] ?? 0);
}

/**
 * The full form of an abstract socket's name, `@` for the leading zero byte, as EINHORN_SOCK_PATH and Go's net package
 * have it. libuv before 1.49 binds and connects all 108 bytes of sun_path whatever the name's length, later ones only the
 * name [measured with Node 20 and 24]; a name that fills sun_path is the same address for both and for every other client.
 */
export function fullAbstractName(place: string): string {
  return place.padEnd(sunPathBytes, ".");
}

/** True for `@name`, the notation of abstract sockets. */
export function isAbstract(place: string): boolean {
  return place.startsWith("@");
}

/** A place in the form that node:net and struct sockaddr_un take. */
export function socketName(place: string): string {
  return isAbstract(place) ? `\0${fullAbstractName(place).slice(1)}` : place;
}
