/**
 * The command socket's language: one line is one request or one reply. Input is treated as hostile: what comes out is a
 * request or a sentence, never an exception, and the work is bounded by the line's length.
 *
 * Clients that exist (README, "Clients") send YAML with line breaks as %0A (Ruby, Go), all of it percent-encoded (Node),
 * or JSON (goji, Python, PHP), and read replies with a YAML reader, after Go's url.QueryUnescape, or with a JSON reader.
 */
import { faultOf } from "./plain-data.ts";
import { readYaml } from "./yaml-line.ts";

export interface WireRequest {
  command: unknown;
  args?: unknown;
  user?: unknown;
  /** `id`, or `request_id` where go-einhorn and worker:ping have it; null when there is none, or none that can be echoed. */
  requestId: string | number | null;
}

export type Decoded = { request: WireRequest } | { error: string };

export interface Reply {
  message: string;
  requestId: string | number | null;
  /** More replies to the same request follow. */
  wait: boolean;
  error: boolean;
  data?: unknown;
}

const notMapping = 'A request is a mapping on one line, such as {"command": "status"}';
const openBrace = 0x7b;
const percent = 0x25;

/** Reads one line without its line break. Null for a blank one, which is no request. */
export function decodeRequest(line: Buffer): Decoded | null {
  let start = 0;
  while (isSpace(line[start])) start++;
  let end = line.length;
  while (end > start && isSpace(line[end - 1])) end--;
  if (start === end) return null;
  const trimmed = start === 0 && end === line.length ? line : line.subarray(start, end);
  return trimmed[0] === openBrace ? decodeJson(trimmed.toString()) : decodeYaml(percentDecode(trimmed).toString());
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}

function decodeJson(text: string): Decoded {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return decodeYaml(text);
  }
  return check(value);
}

function decodeYaml(text: string): Decoded {
  const result = readYaml(text);
  return "error" in result ? { error: `${result.error}. ${notMapping}` } : check(result.value);
}

function check(value: unknown): Decoded {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { error: notMapping };
  const error = faultOf(value);
  return error === null ? { request: request(value as Record<string, unknown>) } : { error };
}

function request(value: Record<string, unknown>): WireRequest {
  const { command, args, user, id, request_id } = value;
  const result: WireRequest = { command, requestId: echoable(id) ?? echoable(request_id) };
  if (args !== undefined) result.args = args;
  if (user !== undefined) result.user = user;
  return result;
}

/** Numbers from 1e21 up are written with a plus sign, which a reply must not contain. */
function echoable(id: unknown): string | number | null {
  if (typeof id === "number") return Math.abs(id) < 1e21 ? id : null;
  return typeof id === "string" ? id : null;
}

/** Replaces every valid %XX by its byte, once; any other percent sign stays what it is. */
function percentDecode(line: Buffer): Buffer {
  let from = line.indexOf(percent);
  if (from < 0) return line;
  const decoded = Buffer.allocUnsafe(line.length);
  let length = line.copy(decoded, 0, 0, from);
  while (from < line.length) {
    const byte = line[from] ?? 0;
    const high = byte === percent ? hexDigit(line[from + 1]) : -1;
    const low = high < 0 ? -1 : hexDigit(line[from + 2]);
    decoded[length++] = low < 0 ? byte : high * 16 + low;
    from += low < 0 ? 1 : 3;
  }
  return decoded.subarray(0, length);
}

function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : -1;
}

// "%" and "+" mean something to Go's QueryUnescape; libyaml takes no control characters. JSON and YAML read \uXXXX alike.
const unreadable = /[%+\u007f-\u009f\ufeff\ufffe\uffff]/g;

/** One reply as a line, line break included. */
export function encodeReply(reply: Reply): string {
  const line = JSON.stringify({
    message: reply.message,
    request_id: reply.requestId ?? undefined,
    wait: reply.wait || undefined,
    error: reply.error || undefined,
    data: reply.data,
  });
  return `${line.replace(unreadable, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)}\n`;
}
