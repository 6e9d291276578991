/** Every sentence that an operator can see in the log or as an answer. What happened, what follows, what to do. */
import type { Cause, Death, Millis, Strategy, Upgrade, Worker } from "./model.ts";

/** "300ms", "1.5s", "2m": as short as it can be read. */
export function duration(ms: Millis): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  if (ms < 120_000) return `${Math.round(ms / 100) / 10}s`;
  return `${Math.round(ms / 60_000)}m`;
}

/** The subject of a log line about a worker. */
export function worker(it: Pick<Worker, "slot" | "generation" | "pid">): string {
  return `worker slot=${it.slot} gen=${it.generation}${it.pid === null ? "" : ` pid=${it.pid}`}`;
}

export function cause(it: Cause): string {
  switch (it.kind) {
    case "code":
      return `exited with code ${it.code}`;
    case "signal":
      return it.oom ? `was killed by ${it.signal}: out of memory` : `was killed by ${it.signal}`;
    case "unspawned":
      return `could not be started: ${it.syscall} failed with ${it.errno}${hintFor(it.errno)}`;
    case "lost":
      return "ended while the master was restarting after a crash";
    case "unacked":
      return `did not ACK within ${duration(it.afterMs)}`;
  }
}

function hintFor(errno: string): string {
  switch (errno) {
    case "ENOENT":
      return " (no such program, or its interpreter is missing)";
    case "EACCES":
      return " (not executable, or a directory on the way is closed)";
    case "ENOEXEC":
      return " (not a program for this machine)";
    case "EAGAIN":
      return " (the limit on processes is reached)";
    case "ENOMEM":
      return " (out of memory)";
    default:
      return "";
  }
}

export function death(it: Death): string {
  return `${worker(it)} ${cause(it.cause)} after ${duration(it.upMs)}, ${it.wasReady ? "after" : "before"} its ACK`;
}

/** What may follow a sentence about a death; empty where nothing is known. */
export function lastWords(it: Death | null): string {
  return it?.lastWords ? `\nIts last words on stderr:\n${it.lastWords}` : "";
}

export function nextSpawn(inMs: Millis): string {
  return inMs <= 0 ? "next start at once" : `next start in ${duration(inMs)}`;
}

export const upgradeStarted = (strategy: Strategy, from: number, to: number) =>
  `Starting ${strategy} upgrade from generation ${from} to ${to}`;
export const upgradeProgress = (ready: number, number: number, stale: number) =>
  `Upgrade: ${ready} of ${number} new workers ready, ${stale} old ones still serving`;
export const upgradeDone = "Upgrade done";
export const upgradeFailed = (reason: string) => `Upgrade failed: ${reason}. The old workers go on serving.`;
export const upgradeDied = (upgrade: Upgrade) =>
  `${upgrade.deaths} new workers failed${upgrade.lastDeath ? `; the last: ${death(upgrade.lastDeath)}` : ""}`;
export const upgradeTimedOut = (upgrade: Upgrade, ms: Millis, ready: number, number: number) =>
  `only ${ready} of ${number} new workers were ready after ${duration(ms)}${upgrade.lastDeath ? `; the last death: ${death(upgrade.lastDeath)}` : ""}`;
export const aborted = "aborted by command";
export const stoppingNow = "einhorn is stopping";
export const checkFailed = (reason: string) => `the new einhorn cannot start, so nothing was changed: ${reason}`;
export const checkHung = (ms: Millis) => `it did not finish its check within ${duration(ms)}`;
export const execFailed = (reason: string) =>
  `could not replace the master's image: ${reason}. Everything goes on as before`;
export const canarySoaking = (count: number, ms: Millis) =>
  `Canary: ${count} new ${count === 1 ? "worker is" : "workers are"} ready; watching for ${duration(ms)}`;
export const canaryPassed = "Canary passed; replacing the rest";

export function preload(path: string, progress: "loading" | "active" | "off", reason: string | null): string {
  switch (progress) {
    case "loading":
      return `Preloading ${path}`;
    case "active":
      return `Preloaded ${path}: workers are forked from it`;
    case "off":
      return `${path} is not preloaded: ${reason ?? "unknown"}. Workers are started by exec`;
  }
}
