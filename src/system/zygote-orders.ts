/** What goes between the master and one zygote once it lives: orders to fork, births, failures. */
import { closeSync, readFileSync } from "node:fs";
import type { Event, Generation, Launch, Level, Millis, Pid } from "../core/model.ts";
import { parseStat } from "./processes.ts";
import type { Outfit } from "./spawner.ts";
import type { Order, Place, Zygote } from "./zygote-place.ts";
import { orderFork, type Word } from "./zygote-process.ts";

/** Forks under way in one zygote: each carries descriptors, of which the kernel allows so many in flight (unix(7), ETOOMANYREFS). */
const forksAtOnceMax = 16;

export interface ZygoteOrder {
  id: number;
  slot: number;
  generation: Generation;
  launch: Launch;
}

/** A worker that the core has not heard of yet. */
export interface Newborn {
  pid: Pid;
  slot: number;
  generation: Generation;
}

export interface ZygoteHost {
  now(): Millis;
  /** What identifies the code and its surroundings: a zygote with another key is not used. */
  key(launch: Launch): string;
  /** Sockets that a worker gets. */
  socketCount(): number;
  /** Throws a sentence, or {code, syscall}. */
  start(launch: Launch): Zygote;
  outfit(order: Order): Outfit;
  /** Starts the worker by exec and reports how that went. */
  execute(order: ZygoteOrder): void;
  launchOf(generation: Generation): Launch | undefined;
  /** The worker's own connection (`-g`) can be listened to. */
  adopt(connection: number, pid: Pid): void;
  /** Whose stderr this pipe is (`--capture-stderr`). */
  captured(pipe: number, pid: Pid): void;
  deliver(event: Event): void;
  /** Something may be otherwise than it was. */
  changed(): void;
  /** A worker is born; whatever `record` leads to, an image after a crash knows of it. */
  surely(born: Newborn, record: () => void): void;
  kill(pid: Pid): void;
  log(level: Level, message: string): void;
}

/** Asks for the forks that nobody has asked for yet, as many as may be under way. */
export function sendOrders(place: Place, host: ZygoteHost): void {
  const { zygote } = place;
  if (zygote === null || !zygote.loaded || zygote.lingerUntil !== null) return;
  if (place.retired || place.verdict !== null) return;
  let open = forksAtOnceMax - place.orders.filter(({ sentAt }) => sentAt !== null).length;
  for (const order of place.orders) {
    if (order.sentAt !== null) continue;
    if (open-- <= 0 || !sendOne(place, zygote, order, host)) return;
  }
}

/** The kernel's lack of memory passes: as where the connection is full, the order is sent again. */
const passing: ReadonlySet<string | undefined> = new Set(["ENOMEM", "ENOBUFS"]);

/** False when nothing more can be sent now. */
function sendOne(place: Place, zygote: Zygote, order: Order, host: ZygoteHost): boolean {
  let outfit: Outfit;
  try {
    outfit = host.outfit(order);
  } catch (error) {
    // As after a failed clone(2): the worker is ordered again in its time.
    const { code = "EUNKNOWN", syscall = "fork" } = error as NodeJS.ErrnoException;
    place.orders = place.orders.filter((other) => other !== order);
    host.deliver({ kind: "unspawned", id: order.id, errno: code, syscall });
    return false;
  }
  let sent = false;
  try {
    sent = orderFork(zygote.fd, { id: order.id, ...outfit });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    // Its end is on its way; anything else (EMSGSIZE, ETOOMANYREFS) would come again.
    if (code !== "EPIPE" && code !== "ECONNRESET" && !passing.has(code))
      condemn(place, `the zygote cannot be asked to fork: ${code}`, host);
  }
  for (const fd of outfit.close) closeSync(fd);
  if (sent) {
    order.sentAt = host.now();
    order.connection = outfit.connection;
    order.captured = outfit.captured;
  } else if (outfit.connection !== null) closeSync(outfit.connection);
  return sent;
}

/** Does what one message from the zygote, or from a worker that it forked, is for. */
export function obey(place: Place, zygote: Zygote, word: Exclude<Word, { kind: "end" }>, host: ZygoteHost): void {
  switch (word.kind) {
    case "loaded":
      zygote.loaded = true;
      if (word.warning !== null) host.log("error", `While preloading: ${word.warning}`);
      return;
    case "failed":
      return condemn(place, word.reason, host);
    case "born":
      return welcome(place, zygote, word, host);
    case "unborn":
      return lament(place, word, host);
    case "unknown":
      return condemn(place, `the zygote said "${word.text}", which is no word of the protocol`, host);
  }
}

function welcome(place: Place, zygote: Zygote, { id, pid }: { id: number; pid: Pid }, host: ZygoteHost): void {
  if (pid === zygote.pid || !isOwnChild(pid)) {
    if (pid > 1) host.kill(pid);
    return condemn(place, `"born" came from process ${pid}, which is no worker and child of the master`, host);
  }
  const order = take(place, id);
  // Ordered in a turn that ended in a crash: its slot has been ordered again.
  if (order === null) return host.kill(pid);
  const { connection, captured, slot, generation } = order;
  if (captured !== null) host.captured(captured, pid);
  host.surely({ pid, slot, generation }, () => host.deliver({ kind: "spawned", id, pid }));
  if (connection !== null) host.adopt(connection, pid);
}

function lament(place: Place, { id, errno }: { id: number; errno: string }, host: ZygoteHost): void {
  const order = take(place, id);
  if (order === null) return;
  if (order.connection !== null) closeSync(order.connection);
  host.deliver({ kind: "unspawned", id, errno, syscall: "fork" });
}

/** Null for an order that nobody knows. */
function take(place: Place, id: number): Order | null {
  const order = place.orders.find((other) => other.id === id && other.sentAt !== null) ?? null;
  place.orders = place.orders.filter((other) => other !== order);
  return order;
}

/** It ends, and the generation goes on without one. */
export function condemn(place: Place, verdict: string, host: ZygoteHost): void {
  place.verdict ??= verdict;
  if (place.zygote?.end === null) host.kill(place.zygote.pid);
}

/** False only where the kernel says so: one that has been reaped already was ours. Pid 0 is of another namespace (pid_namespaces(7)). */
function isOwnChild(pid: Pid): boolean {
  if (pid <= 0) return false;
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, "latin1"))?.parent === process.pid;
  } catch {
    return true;
  }
}
