/**
 * Opens what `-b` says. A listener is opened once in a master's life and goes through every re-exec: its description is
 * plain data.
 */
import { closeSync } from "node:fs";
import type { Bind } from "../options.ts";
import { type Address, type Family, families, ipAddress, readAddress } from "./addresses.ts";
import { bindError, bindProblem } from "./bind-errors.ts";
import { native } from "./native.ts";
import { openUnix, removeUnix, type UnixFile } from "./unix-listeners.ts";

export interface Listener {
  /** `Bind.text`: which bind this is, across reloads. */
  text: string;
  /** One descriptor per queue; a bind without queues has one. Inheritable. */
  fds: readonly number[];
  family: Family;
  /** What was really bound: "127.0.0.1:41234" for port 0, "udp:0.0.0.0:53", "unix:/run/app.sock". */
  address: string;
  /** Null for AF_UNIX. */
  port: number | null;
  /** The file that closing removes. */
  file: UnixFile | null;
}

const sockStream = 1;
const sockDatagram = 2;
const solSocket = 1;
const soReuseAddr = 2;
const soType = 3;
const soReusePort = 15;
const soAcceptConn = 30;
const ipprotoIp = 0;
const ipFreebind = 15;
const ipprotoTcp = 6;
const tcpNodelay = 1;
const tcpDeferAccept = 9;
const tcpFastopen = 23;
const ipprotoIpv6 = 41;
const ipv6V6only = 26;
const ipv6Freebind = 78;

/**
 * Opens all, or none: the first that fails closes the others and throws a UserError that names it.
 * `backlog` is for binds that name none of their own.
 */
export async function openListeners(binds: readonly Bind[], backlog: number): Promise<Listener[]> {
  const opened: Listener[] = [];
  try {
    for (const bind of binds) opened.push(await openListener(bind, backlog));
    return opened;
  } catch (error) {
    closeListeners(opened);
    throw error;
  }
}

export async function openListener(bind: Bind, backlog: number): Promise<Listener> {
  const { target } = bind;
  try {
    switch (target.kind) {
      case "tcp":
      case "udp":
        return openIp(bind, target.kind, await resolve(bind, target.host, target.port), backlog);
      case "unix": {
        const { fd, file } = await openUnix(bind, target.path, bind.backlog ?? backlog);
        return describe(bind, fd, file);
      }
      case "fd":
        return adopt(bind, target.fd);
      case "fd-name":
        return adopt(bind, activatedFd(bind, target.name));
    }
  } catch (error) {
    throw bindError(bind, error);
  }
}

/** Closes them, and removes the files of UNIX sockets that are still ours. */
export function closeListeners(listeners: readonly Listener[]): void {
  for (const { fds, file } of listeners) {
    if (file) removeUnix(file);
    for (const fd of fds) closeSync(fd);
  }
}

interface Resolved {
  family: Family;
  bytes: Uint8Array;
}

async function resolve(bind: Bind, host: string, port: number): Promise<Resolved> {
  const literal = ipAddress(host === "" || host === "*" ? "0.0.0.0" : host, port);
  if (literal) return literal;
  const { lookup } = await import("node:dns/promises");
  try {
    const { address } = await lookup(host);
    return ipAddress(address, port) as Resolved;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw bindProblem(
      bind,
      `the name ${host} has no address (${code}). Write an IP address, or check /etc/hosts and DNS.`,
    );
  }
}

function openIp(bind: Bind, kind: "tcp" | "udp", resolved: Resolved, backlog: number): Listener {
  if (bind.queues !== null) refuseTaken(bind, kind, resolved);
  const fd = openSocket(bind, kind, resolved, backlog);
  try {
    return describe(bind, fd, null);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** SO_REUSEPORT would share a port that another master of our user holds, and half the connections with it. */
function refuseTaken(bind: Bind, kind: "tcp" | "udp", resolved: Resolved): void {
  closeSync(openSocket({ ...bind, queues: null }, kind, resolved, null));
}

/** One more queue on the address of `listener` (queues=): a socket that the kernel adds to the same group. */
export function openQueue(listener: Listener, bind: Bind, backlog: number): void {
  const name = listener.address.replace(/^udp:/, "");
  const host = name.slice(0, name.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  const resolved = ipAddress(host, listener.port as number) as Resolved;
  listener.fds = [...listener.fds, openSocket(bind, bind.target.kind === "udp" ? "udp" : "tcp", resolved, backlog)];
}

/** Bound, and listening unless `backlog` is null. */
function openSocket(bind: Bind, kind: "tcp" | "udp", { family, bytes }: Resolved, backlog: number | null): number {
  const fd = native.socket({ family: families[family], type: kind === "tcp" ? sockStream : sockDatagram });
  try {
    const set = (level: number, name: number, value: number) => native.setSocketOption({ fd, level, name, value });
    // Not for UDP: there it would let a second master share the port unnoticed (socket(7)).
    if (bind.reuseAddress && kind === "tcp") set(solSocket, soReuseAddr, 1);
    if (bind.queues !== null) set(solSocket, soReusePort, 1);
    if (bind.v6Only !== null && family === "AF_INET6") set(ipprotoIpv6, ipv6V6only, bind.v6Only ? 1 : 0);
    if (bind.freeBind) {
      if (family === "AF_INET") set(ipprotoIp, ipFreebind, 1);
      else set(ipprotoIpv6, ipv6Freebind, 1);
    }
    native.bind({ fd, address: bytes });
    setStreamOptions(bind, fd, kind);
    if (kind === "tcp" && backlog !== null) native.listen({ fd, backlog: bind.backlog ?? backlog });
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Options that accepted connections inherit, or that may be set at any time. */
function setStreamOptions(bind: Bind, fd: number, kind: "tcp" | "udp" | "unix"): void {
  if (kind === "tcp") {
    const set = (name: number, value: number) => native.setSocketOption({ fd, level: ipprotoTcp, name, value });
    if (bind.noDelay) set(tcpNodelay, 1);
    if (bind.deferAcceptS !== null) set(tcpDeferAccept, bind.deferAcceptS);
    if (bind.fastOpen !== null) set(tcpFastopen, bind.fastOpen);
  }
  if (bind.nonBlocking) native.setNonBlocking({ fd, nonBlocking: true });
}

/** Takes over a descriptor that we were started with; it must be one that a worker can accept or receive from. */
function adopt(bind: Bind, fd: number): Listener {
  let type: number;
  try {
    type = intOption(fd, soType);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "EBADF" && code !== "ENOTSOCK") throw error;
    const what = code === "EBADF" ? "is not open" : "is no socket";
    throw bindProblem(
      bind,
      `descriptor ${fd} ${what} (${code}). Whoever starts einhorn must pass a listening socket there.`,
    );
  }
  if (type !== sockDatagram && intOption(fd, soAcceptConn) !== 1) {
    throw bindProblem(
      bind,
      `descriptor ${fd} is a socket that does not listen. Call listen(2) on it before starting einhorn.`,
    );
  }
  const address = readAddress(native.getSocketName({ fd }));
  const kind = type === sockDatagram ? "udp" : address?.family === "AF_UNIX" ? "unix" : "tcp";
  setStreamOptions(bind, fd, kind);
  if (bind.backlog !== null && type !== sockDatagram) native.listen({ fd, backlog: bind.backlog });
  // Node has set close-on-exec on what it was started with (uv_disable_stdio_inheritance).
  native.setInheritable({ fd, inheritable: true });
  return describe(bind, fd, null);
}

/** sd_listen_fds_with_names(3): descriptors from 3 on are ours if LISTEN_PID is us. */
function activatedFd(bind: Bind, name: string): number {
  const { LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID } = process.env;
  if (LISTEN_FDS === undefined) {
    throw bindProblem(bind, "no socket was passed to us (LISTEN_FDS is not set). Start einhorn by socket activation.");
  }
  if (LISTEN_PID !== String(process.pid)) {
    throw bindProblem(
      bind,
      `the passed sockets are for process ${LISTEN_PID}, and we are ${process.pid}. Start einhorn with exec.`,
    );
  }
  const names = LISTEN_FDNAMES?.split(":") ?? [];
  const index = names.slice(0, Number(LISTEN_FDS)).indexOf(name);
  if (index < 0) {
    throw bindProblem(
      bind,
      `no passed socket is named "${name}". There are: ${names.join(", ") || "none with a name"}.`,
    );
  }
  return 3 + index;
}

function intOption(fd: number, name: number): number {
  const bytes = native.getSocketOption({ fd, level: solSocket, name, length: 4 });
  return new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
}

function describe(bind: Bind, fd: number, file: UnixFile | null): Listener {
  const bound: Address | null = readAddress(native.getSocketName({ fd }));
  if (bound === null)
    throw bindProblem(bind, `descriptor ${fd} is a socket of a family that workers are not told about.`);
  const isUdp = intOption(fd, soType) === sockDatagram && bound.family !== "AF_UNIX";
  return {
    text: bind.text,
    fds: [fd],
    family: bound.family,
    address: isUdp ? `udp:${bound.text}` : bound.text,
    port: bound.port,
    file,
  };
}
