/** sd_notify(3) to einhorn's own service manager: systemd, podman, or an outer einhorn. */
import { closeSync } from "node:fs";

/** What is used of the addon. */
export interface NotifySockets {
  socket(o: { family: number; type: number; private?: boolean }): number;
  setNonBlocking(o: { fd: number; nonBlocking: boolean }): void;
  connect(o: { fd: number; address: Uint8Array }): void;
  write(o: { fd: number; buffer: Uint8Array }): number;
}

export type Announcement = "READY=1" | "RELOADING=1" | "STOPPING=1";

const afUnix = 1;
const sockDgram = 2;

/**
 * Sends one state to `notifySocket` (a path, or "@name" for an abstract one). Never waits; what goes wrong is told to
 * `debug` and is nobody's trouble. RELOADING=1 carries MONOTONIC_USEC, without which systemd ignores it.
 */
export function notifyParent(
  sockets: NotifySockets,
  notifySocket: string,
  state: Announcement,
  nowMs: number,
  debug: (message: string) => void,
): void {
  let fd = -1;
  try {
    fd = sockets.socket({ family: afUnix, type: sockDgram, private: true });
    sockets.setNonBlocking({ fd, nonBlocking: true });
    sockets.connect({ fd, address: unixAddress(notifySocket) });
    const text = state === "RELOADING=1" ? `${state}\nMONOTONIC_USEC=${Math.round(nowMs * 1000)}` : state;
    if (sockets.write({ fd, buffer: Buffer.from(text) }) < 0)
      debug(`NOTIFY_SOCKET ${notifySocket} is full; ${state} is lost`);
  } catch (error) {
    debug(`NOTIFY_SOCKET ${notifySocket} cannot be told ${state}: ${(error as Error).message}`);
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

/** struct sockaddr_un (unix(7)): family in the machine's order, then the path; abstract names begin with NUL. */
function unixAddress(path: string): Uint8Array {
  const name = path.startsWith("@") ? Buffer.from(`\0${path.slice(1)}`) : Buffer.from(`${path}\0`);
  const family = new Uint8Array(new Uint16Array([afUnix]).buffer);
  return Buffer.concat([family, name]);
}
