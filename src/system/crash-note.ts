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
const noteBytes = 32 + 24 * 8;

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
  const maps = storage.read(960 * 1024, mapsAt).toString("latin1");
  const stack: string[] = [];
  for (let at = 32; at < noteBytes && note.readBigUInt64LE(at) !== 0n; at += 8) {
    stack.push(locate(note.readBigUInt64LE(at), maps));
  }
  return `${name} ${cause}${stack.length > 0 ? ` | at ${stack.join(" | at ")}` : ""}`;
}

/** "node+0x1234" as addr2line(1) takes it, by the image's /proc/self/maps (proc(5)). */
function locate(address: bigint, maps: string): string {
  for (const [, from, to, offset, path] of maps.matchAll(/^([0-9a-f]+)-([0-9a-f]+) \S+ ([0-9a-f]+) \S+ \d+ *(.*)$/gm)) {
    const start = BigInt(`0x${from}`);
    if (address < start || address >= BigInt(`0x${to}`)) continue;
    if (!path) break;
    return `${path.slice(path.lastIndexOf("/") + 1)}+0x${(address - start + BigInt(`0x${offset}`)).toString(16)}`;
  }
  return `0x${address.toString(16)}`;
}
