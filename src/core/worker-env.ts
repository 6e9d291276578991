/**
 * The environment of a worker: the one einhorn was started with, less what belongs to somebody else's supervisor, plus
 * three ways to say the same, so that programs made for einhorn, systemd or Server::Starter run unmodified.
 */

/** A socket as the worker sees it. */
export interface WorkerSocket {
  /** Its number in the worker: 3, 4, ... in `-b` order (systemd's convention). */
  fd: number;
  /** "AF_INET", "AF_INET6", "AF_UNIX". */
  family: string;
  /** Name for LISTEN_FDNAMES. */
  name: string;
  /** Where it is bound, the real port in place of 0. */
  address: { host: string; port: number } | { path: string };
}

export interface WorkerEnvironment {
  /** What this image was started with (less --drop-env-var since the first re-exec), and --env-file. */
  launchEnv: Readonly<Record<string, string>>;
  sockets: readonly WorkerSocket[];
  /** getppid(2) of every worker: clients check it before they believe the rest. */
  masterPid: number;
  /** The command socket; "@name" is an abstract one. */
  sockPath: string;
  /** With `-g`: the worker's own connection to the command socket, its number in the worker. */
  sockFd: number | null;
  slot: number;
  generation: number;
  /** With `-m notify`. */
  notifySocket: string | null;
  /** With `--watchdog`: how often the worker must say WATCHDOG=1 (sd_watchdog_enabled(3)). */
  watchdogMs: number | null;
}

/** As many digits as a pid can have: the spawn writes the child's own pid over them. */
const pidPlaceholder = "0000000000";

/** Inherited, these speak of another supervisor's worker: us. Clients would ACK to the wrong master. */
const foreign = /^(EINHORN_|LISTEN_(FDS|PID|FDNAMES)$|NOTIFY_SOCKET$|WATCHDOG_|SERVER_STARTER_)/;

/** "K=V" strings, as execve(2) takes them. */
export function workerEnvironment(order: WorkerEnvironment): string[] {
  return [...inheritedVariables(order.launchEnv), ...workerVariables(order)];
}

/** What is said to this worker alone. */
export function workerVariables(order: Omit<WorkerEnvironment, "launchEnv">): string[] {
  const { masterPid, sockPath, sockFd, slot, generation, notifySocket, watchdogMs } = order;
  const variables = [
    `EINHORN_MASTER_PID=${masterPid}`,
    `EINHORN_SOCK_PATH=${sockPath}`,
    `EINHORN_CHILD_INDEX=${slot}`,
    `EINHORN_GENERATION=${generation}`,
    ...forEinhorn(order.sockets),
    ...(order.sockets.length > 0 ? [...forSystemd(order.sockets), ...forServerStarter(order.sockets, generation)] : []),
  ];
  if (sockFd !== null) variables.push(`EINHORN_SOCK_FD=${sockFd}`);
  if (notifySocket !== null) variables.push(`NOTIFY_SOCKET=${notifySocket}`);
  if (watchdogMs !== null) variables.push(`WATCHDOG_USEC=${Math.round(watchdogMs * 1000)}`);
  return variables;
}

/** What einhorn was started with, less what speaks of another master. */
export function inheritedVariables(env: Readonly<Record<string, string>>): string[] {
  const kept: string[] = [];
  for (const [name, value] of Object.entries(env)) {
    if (foreign.test(name)) continue;
    const own = name === "LD_PRELOAD" ? withoutHold(value) : value;
    if (own !== null) kept.push(`${name}=${own}`);
  }
  return kept;
}

/** The master's own preload, which holds signals over a re-exec, is nothing to its workers. null: nothing else was there. */
function withoutHold(preload: string): string | null {
  // Spaces and colons separate (ld.so(8)).
  const others = preload.split(/[\s:]+/).filter((file) => file !== "" && !/(^|\/)hold-signals\.so$/.test(file));
  return others.length > 0 ? others.join(":") : null;
}

/** EINHORN_FD_n counts from 0; EINHORN_FDS is what clients of before 2013 read, and PHP's still. */
function forEinhorn(sockets: readonly WorkerSocket[]): string[] {
  return [
    `EINHORN_FD_COUNT=${sockets.length}`,
    `EINHORN_FDS=${sockets.map(({ fd }) => fd).join(" ")}`,
    ...sockets.flatMap(({ fd, family }, index) => [
      `EINHORN_FD_${index}=${fd}`,
      `EINHORN_FD_FAMILY_${index}=${family}`,
    ]),
  ];
}

/** sd_listen_fds(3). */
function forSystemd(sockets: readonly WorkerSocket[]): string[] {
  return [
    `LISTEN_FDS=${sockets.length}`,
    `LISTEN_PID=${pidPlaceholder}`,
    `LISTEN_FDNAMES=${sockets.map(({ name }) => fdName(name)).join(":")}`,
  ];
}

/**
 * The colon separates names, and not every reader knows systemd's backslash before it: so a name has none, nor control
 * characters, and 255 characters at most (systemd.socket(5), FileDescriptorName=). "127.0.0.1:80" becomes "127.0.0.1_80".
 */
function fdName(name: string): string {
  return name.replace(/[^ -9;-[\]-~]/g, "_").slice(0, 255) || "unknown";
}

/** `HOST:PORT=FD;PATH=FD`; an IPv6 address in brackets (Server::Starter 0.35, start_server). */
function forServerStarter(sockets: readonly WorkerSocket[], generation: number): string[] {
  const ports = sockets.map(({ fd, address }) => {
    if ("path" in address) return `${address.path}=${fd}`;
    const host = address.host.includes(":") ? `[${address.host}]` : address.host;
    return `${host}:${address.port}=${fd}`;
  });
  return [`SERVER_STARTER_PORT=${ports.join(";")}`, `SERVER_STARTER_GENERATION=${generation}`];
}
