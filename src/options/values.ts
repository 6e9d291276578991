/** One reader per kind of value. Each returns the value, or refuses the text saying what is allowed. */
import { constants } from "node:os";
import type { AckMode, Millis, Quorum, Signal } from "../core/model.ts";
import { refuse } from "./refusal.ts";

/** "no limit" for setrlimit(2), as the addon wants it. */
export const unlimited = -1;

/** Upstream allowed 1,000 workers; a slot costs us little more than its process. */
const maxWorkers = 10_000;
/** No duration needs more than three years, and none may come near what a double can count in milliseconds. */
const maxSeconds = 100_000_000;

/** A whole number in decimal digits from `min` to `max`. */
export function wholeNumber(text: string, min: number, max: number, more = ""): number {
  const value = /^-?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  const range = max >= 2 ** 31 - 1 ? `a whole number, ${min} or more` : `a whole number from ${min} to ${max}`;
  return refuse(text, range + more);
}

export function count(text: string): number {
  return wholeNumber(text, 1, 2 ** 31 - 1);
}

export function workerNumber(text: string, cpus: () => number): number {
  if (text === "auto") return Math.min(cpus(), maxWorkers);
  return wholeNumber(text, 1, maxWorkers, ' or "auto"');
}

/** Seconds, fractions too, above 0. Returns ms. */
export function secondsAboveZero(text: string): Millis {
  return readSeconds(text) || refuse(text, "a number of seconds above 0, such as 2 or 0.5");
}

/** Seconds, fractions too, 0 included. Returns ms. */
export function secondsFromZero(text: string): Millis {
  return readSeconds(text) ?? refuse(text, "a number of seconds, 0 or more, such as 2 or 0.5");
}

function readSeconds(text: string): Millis | null {
  if (!/^(\d+\.?\d*|\.\d+)$/.test(text) || Number(text) > maxSeconds) return null;
  return Number(text) * 1000;
}

export function ackMode(text: string): AckMode {
  if (text === "manual" || text === "notify") return { kind: text };
  const ms = readSeconds(text);
  if (ms === null) refuse(text, 'a number of seconds (0 or more), "manual" or "notify"');
  return { kind: "timer", ms };
}

export function quorum(text: string): Quorum {
  const [, digits, percent] = /^(\d{1,5})(%?)$/.exec(text) ?? [];
  const value = Number(digits);
  const max = percent ? 100 : maxWorkers;
  if (digits === undefined || value < 1 || value > max) {
    refuse(text, `a number of workers from 1 to ${maxWorkers}, or a share from 1% to 100%`);
  }
  return percent ? { kind: "percent", percent: value } : { kind: "count", count: value };
}

const byteUnits: Readonly<Record<string, number>> = { "": 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30, t: 2 ** 40 };

/** Bytes with an optional K, M, G or T (powers of 1024; "Ki", "KB" and "KiB" mean the same); null: not such a size. */
export function bytes(text: string): number | null {
  const [, digits, unit] = /^(\d{1,15}(?:\.\d{1,6})?)([kmgt]?)(?:i?b?)$/i.exec(text) ?? [];
  if (digits === undefined || unit === undefined || (unit === "" && digits.includes("."))) return null;
  const value = Math.round(Number(digits) * (byteUnits[unit.toLowerCase()] ?? 1));
  return Number.isSafeInteger(value) ? value : null;
}

export function size(text: string): number {
  return bytes(text) || refuse(text, "a size above 0 in bytes, such as 300000000, 512M or 1.5G");
}

/** A mode or mask in octal digits. */
export function octal(text: string): number {
  if (!/^(0o?)?[0-7]{1,4}$/.test(text) || Number.parseInt(text.replace("o", ""), 8) > 0o777) {
    refuse(text, "an octal number from 0 to 777, such as 022");
  }
  return Number.parseInt(text.replace("o", ""), 8);
}

/** "auto", or a signal by name, with or without SIG, in any case, or by number. */
export function gracefulSignal(text: string): Signal | "auto" {
  if (text === "auto") return "auto";
  const name = signalName(text);
  if (name === null || name === "SIGKILL" || name === "SIGSTOP") {
    refuse(text, '"auto" or a signal that a worker can catch, such as USR2, TERM, QUIT or RTMIN+3');
  }
  return name;
}

/** The full name of a signal that signal(7) knows; null: no such signal. */
function signalName(text: string): Signal | null {
  const upper = text.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  if (Object.hasOwn(constants.signals, name)) return name;
  const realTime = /^SIGRTMIN\+(\d{1,2})$/.exec(name)?.[1];
  if (realTime !== undefined && Number(realTime) <= 30) return `SIGRTMIN+${Number(realTime)}`;
  if (name === "SIGRTMIN") return "SIGRTMIN+0";
  const byNumber = Object.entries(constants.signals).find(([, number]) => String(number) === text);
  return byNumber?.[0] ?? null;
}

/** `--nice MASTER[:WORKER[:CMD]]`. CMD, upstream's renice(1), is accepted and not run: setpriority(2) does it. */
export function niceLevels(text: string): { master: number | null; worker: number | null } {
  const [master = "", worker = ""] = text.split(":");
  const level = (part: string) => (part === "" ? null : wholeNumber(part, -20, 19));
  return { master: level(master), worker: level(worker) };
}

export function oneOf<T extends string>(text: string, allowed: readonly T[]): T {
  return allowed.find((word) => word === text) ?? refuse(text, allowed.map((word) => `"${word}"`).join(" or "));
}

/** A path, name or command: anything but nothing. NUL cannot be in any of them. */
export function nonEmpty(text: string): string {
  return text !== "" && !text.includes("\0") ? text : refuse(text, "a text of at least one character, without NUL");
}

export function variableName(text: string): string {
  return /^[^=\0]+$/.test(text) ? text : refuse(text, "the name of an environment variable");
}
