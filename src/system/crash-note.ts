/** Why the master crashed: noted by the addon's handler or by the exception's, read by the next image. */
import type { Millis } from "../core/model.ts";
import { mapsAt, noteAt, type Storage, textAt, textBytesMax } from "./journal.ts";
import { signalName } from "./processes.ts";

export interface Note {
  /** One line, with the stack where it is known. */
  reason: string;
  /** When it was; null when nothing was noted. */
  at: Millis | null;
}

const kindFault = 1;
const kindException = 2;
const noteBytes = 40;
const stackBytes = 8192;
/** The innermost are what matters, and a line has its limits. */
const framesMax = 24;

/** The note of an exception. */
export function writeText(storage: Storage, { text, at }: { text: string; at: Millis }): void {
  const bytes = Buffer.from(text).subarray(0, textBytesMax);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  storage.write(Buffer.concat([length, bytes]), textAt);
  const note = Buffer.alloc(noteBytes);
  note.writeUInt32LE(kindException, 0);
  note.writeDoubleLE(at, 24);
  storage.write(note, noteAt);
}

export function readNote(storage: Storage): Note {
  const note = storage.read(noteBytes, noteAt);
  const kind = note.length < noteBytes ? 0 : note.readUInt32LE(0);
  if (kind === kindException) {
    const length = storage.read(4, textAt).readUInt32LE(0);
    const lines = storage
      .read(length, textAt + 4)
      .toString()
      .split("\n");
    return { reason: lines.map((line) => line.trim()).join(" | "), at: note.readDoubleLE(24) };
  }
  if (kind === kindFault) return { reason: describeFault(note, storage), at: note.readDoubleLE(24) };
  return { reason: "nobody noted why", at: null };
}

/** SI_USER and its like (sigaction(2)) are not above 0: somebody sent it. Above: the kernel says where. */
function describeFault(note: Buffer, storage: Storage): string {
  const name = signalName(note.readUInt32LE(4));
  const code = note.readInt32LE(8);
  const sender = note.readInt32LE(12);
  const from = sender === process.pid ? "raised by itself" : `sent by process ${sender}`;
  const cause = code > 0 ? `at address 0x${note.readBigUInt64LE(16).toString(16)}` : from;
  const mapped = executable(storage.read(960 * 1024, mapsAt).toString("latin1"));
  return [`${name} ${cause}`, ...callers(note.readBigUInt64LE(32), storage.read(stackBytes, textAt), mapped)].join(
    " | at ",
  );
}

interface Mapping {
  from: bigint;
  to: bigint;
  offset: bigint;
  name: string;
}

/** What of the image was code, by its /proc/self/maps (proc(5)). */
function executable(maps: string): Mapping[] {
  return [...maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) \S+ \d+ +(\/.*)$/gm)].map(
    ([, from, to, offset, path = ""]) => ({
      from: BigInt(`0x${from}`),
      to: BigInt(`0x${to}`),
      offset: BigInt(`0x${offset}`),
      name: path.slice(path.lastIndexOf("/") + 1),
    }),
  );
}

/**
 * Where it was, and every word of the stack that points into code: the return addresses, and now and then one that was left
 * by an earlier call. libc keeps no frame pointers to follow. "node+0x1234" is as addr2line(1) takes it.
 */
function callers(counter: bigint, stack: Buffer, code: readonly Mapping[]): string[] {
  const found = [locate(counter, code) ?? `0x${counter.toString(16)}`];
  for (let at = 0; at + 8 <= stack.length && found.length < framesMax; at += 8) {
    const place = locate(stack.readBigUInt64LE(at), code);
    if (place !== null) found.push(place);
  }
  return found;
}

function locate(address: bigint, code: readonly Mapping[]): string | null {
  const mapping = code.find(({ from, to }) => address >= from && address < to);
  return mapping === undefined ? null : `${mapping.name}+0x${(address - mapping.from + mapping.offset).toString(16)}`;
}
