/**
 * The master's log on stderr: one line per fact, one write(2) per line, and never a wait. A collector that does not read
 * its pipe must not stop PID 1: what does not fit is kept, up to a limit, then dropped and counted.
 */
import type { Level } from "../core/model.ts";
import type { Outlet } from "./outlet.ts";

export type Fields = Readonly<Record<string, string | number | boolean | null>>;

export interface LogSettings {
  format: "text" | "json";
  level: Level;
  outlet: Outlet;
  /** Lines an earlier image could not write: what `pending` gave it. */
  pending?: string;
  /** Default 256 KiB. */
  maxPendingBytes?: number;
}

/** pipe(7): a write of up to PIPE_BUF bytes is not mixed with others', and a pipe that polls writable takes it whole. */
const maxLineBytes = 4096;
const ranks: Readonly<Record<Level, number>> = { debug: 0, info: 1, error: 2 };

export class Log {
  level: Level;
  readonly #format: "text" | "json";
  readonly #outlet: Outlet;
  readonly #maxPendingBytes: number;
  #pending: Buffer[] = [];
  #pendingBytes = 0;
  #dropped = 0;
  #watching = false;

  constructor(settings: LogSettings) {
    this.level = settings.level;
    this.#format = settings.format;
    this.#outlet = settings.outlet;
    this.#maxPendingBytes = settings.maxPendingBytes ?? 256 * 1024;
    for (const line of (settings.pending ?? "").split(/(?<=\n)/)) if (line !== "") this.#enqueue(Buffer.from(line));
    this.#drain();
  }

  /** Writes one line if `level` reaches the threshold. Never throws, never waits. */
  write(level: Level, message: string, fields: Fields = {}): void {
    if (ranks[level] < ranks[this.level]) return;
    this.#drain();
    this.#reportDropped();
    this.#enqueue(formatLine(this.#format, level, message, fields));
    this.#drain();
  }

  debug(message: string, fields?: Fields): void {
    this.write("debug", message, fields);
  }

  info(message: string, fields?: Fields): void {
    this.write("info", message, fields);
  }

  error(message: string, fields?: Fields): void {
    this.write("error", message, fields);
  }

  /** What is not written yet, for the next image; it is taken out of this one. */
  takePending(): string {
    const text = Buffer.concat(this.#pending).toString();
    this.#forget();
    this.#reportDropped();
    const lost = Buffer.concat(this.#pending).toString();
    this.#forget();
    return text + lost;
  }

  #forget(): void {
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#wantWritable(false);
  }

  #enqueue(line: Buffer): void {
    // Once a line was lost, those after it are too, until their number stands where they would.
    if (this.#dropped > 0 || this.#pendingBytes + line.length > this.#maxPendingBytes) {
      this.#dropped += 1;
      return;
    }
    this.#pending.push(line);
    this.#pendingBytes += line.length;
  }

  #drain(): void {
    while (this.#pending[0] !== undefined) {
      const written = this.#outlet.write(this.#pending[0]);
      if (written === 0) break;
      this.#pendingBytes -= written;
      if (written < this.#pending[0].length) this.#pending[0] = this.#pending[0].subarray(written);
      else this.#pending.shift();
    }
    this.#wantWritable(this.#pending.length > 0);
  }

  /** Says how much was lost as soon as there is room for it. */
  #reportDropped(): void {
    if (this.#dropped === 0 || this.#pendingBytes + maxLineBytes > this.#maxPendingBytes) return;
    const lost = this.#dropped;
    this.#dropped = 0;
    this.#enqueue(formatLine(this.#format, "error", "log lines were lost: stderr was not read", { lost }));
  }

  #wantWritable(wanted: boolean): void {
    if (wanted === this.#watching) return;
    this.#watching = wanted;
    if (!wanted) return this.#outlet.forget(this.#continue);
    if (this.#outlet.whenWritable(this.#continue)) return;
    // Closed (EBADF): nothing is ever written there again.
    this.#watching = false;
    this.#forget();
  }

  readonly #continue = (): void => {
    this.#drain();
    this.#reportDropped();
    this.#drain();
  };
}

/** At most maxLineBytes: strings that are too long are cut, then the fields left out. */
function formatLine(format: "text" | "json", level: Level, message: string, fields: Fields): Buffer {
  const time = timestamp(new Date());
  const make = format === "json" ? jsonLine : textLine;
  for (const maxLength of [maxLineBytes, 1000, 250]) {
    const entries = Object.entries(fields).filter(([, value]) => value !== null);
    const cut = entries.map(
      ([key, value]) => [key, typeof value === "string" ? shorten(value, maxLength) : value] as const,
    );
    const line = Buffer.from(`${make(time, level, shorten(message, maxLength), cut)}\n`);
    if (line.length <= maxLineBytes) return line;
  }
  return Buffer.from(`${make(time, level, shorten(message, 250), [])}\n`);
}

/** As toISOString() writes it, whose first use takes 0.4 ms; a new image has clients that wait, and a log line to write. */
function timestamp(date: Date): string {
  const day = [date.getUTCFullYear(), padded(date.getUTCMonth() + 1), padded(date.getUTCDate())];
  const time = [date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()].map((number) => padded(number));
  return `${day.join("-")}T${time.join(":")}.${padded(date.getUTCMilliseconds(), 3)}Z`;
}

const padded = (number: number, digits = 2) => String(number).padStart(digits, "0");

function shorten(text: string, maxLength: number): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}...`;
}

type Entries = readonly (readonly [string, string | number | boolean | null])[];

function textLine(time: string, level: Level, message: string, fields: Entries): string {
  const pairs = fields.map(([key, value]) => ` ${key}=${textValue(String(value))}`);
  return `${time} [${level.toUpperCase()}] ${printable(message)}${pairs.join("")}`;
}

function textValue(value: string): string {
  return /^[^\s"=\\\p{Cc}]+$/u.test(value) ? value : printable(JSON.stringify(value));
}

/** Workers' words may be in a message: they must not forge a line or command the terminal. */
function printable(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: \p{Cc} is the same, and takes V8 0.2 ms at its first use.
  return text.replace(/[\0-\x1f\x7f-\x9f]/g, (char) => {
    const short = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[char];
    return short ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

function jsonLine(time: string, level: Level, message: string, fields: Entries): string {
  // Named twice: the first time for their place, the second against a field of the same name.
  const own = { time, level, message };
  return printable(JSON.stringify({ ...own, ...Object.fromEntries(fields), ...own }));
}
