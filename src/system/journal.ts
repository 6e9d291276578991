/**
 * The file in memory that a crash goes back to: parts by name, written as they change, readable after a crash at any byte.
 *
 * Layout, little-endian; what is never written takes no memory (the file is sparse):
 *
 *     0          8 bytes: "einhorn\n"
 *     64         the note of a fault, written by the addon's handler (struct Note of native/crash.cc)
 *     4 KiB      of an exception: length (u32), then UTF-8; of a fault: the top of the stack
 *     64 KiB     /proc/self/maps of the image that crashed
 *     2 MiB      slot 0
 *     258 MiB    slot 1
 *
 * A slot is a list of records; the first one holds every part, each later one what changed. When the list is long, the
 * other slot is begun: until its first record is whole, this one is what counts. A record: magic (u32), bytes of text (u32), checksum (u32),
 * zero (u32), sequence number (f64), then JSON: [name, value] pairs, a part that is gone without value. A list ends at the first
 * record that is not the successor of the one before, or whose checksum is wrong: that is where the crash was.
 */
import { readSync, writeSync } from "node:fs";

/** A part that changed, or that is gone. */
export type Change = readonly [name: string, value: unknown] | readonly [name: string];
export type Parts = ReadonlyMap<string, unknown>;

/** pread(2) and pwrite(2) on the file: a memory file, or in the simulator an array. */
export interface Storage {
  read(length: number, at: number): Buffer;
  write(bytes: Buffer, at: number): void;
}

export const noteAt = 64;
export const textAt = 4096;
export const mapsAt = 64 * 1024;
export const textBytesMax = mapsAt - textAt - 4;
const slotsAt = [2 * 1024 * 1024, 258 * 1024 * 1024] as const;
const slotBytesMax = 256 * 1024 * 1024;
const fileMagic = Buffer.from("einhorn\n");
const recordMagic = 0x52454331;
const headerBytes = 24;
/** Changes are kept until they are this much, and twice what a whole record takes. */
const changesBytesMin = 64 * 1024;

export class Journal {
  readonly #storage: Storage;
  readonly #everything: () => Iterable<Change>;
  #slot: 0 | 1 = 1;
  #end = 0;
  /** Where this slot is long enough; 0 before the first record. */
  #full = 0;
  #sequence = 0;

  /** `everything` gives all parts as they are when it is called. */
  constructor(storage: Storage, everything: () => Iterable<Change>) {
    this.#storage = storage;
    this.#everything = everything;
    storage.write(fileMagic, 0);
  }

  /** Throws what the storage throws (ENOSPC); the next call then writes everything. */
  write(changes: readonly Change[]): void {
    if (this.#end >= this.#full) return this.#begin();
    try {
      this.#append(changes);
    } catch (error) {
      this.#full = 0;
      throw error;
    }
  }

  #begin(): void {
    const slot = this.#slot === 0 ? 1 : 0;
    const start = slotsAt[slot];
    const bytes = encode([...this.#everything()], this.#sequence + 1);
    this.#storage.write(bytes, start);
    this.#sequence += 1;
    this.#slot = slot;
    this.#end = start + bytes.length;
    this.#full = Math.min(this.#end + Math.max(changesBytesMin, 2 * bytes.length), start + slotBytesMax / 2);
  }

  #append(changes: readonly Change[]): void {
    const bytes = encode(changes, this.#sequence + 1);
    this.#storage.write(bytes, this.#end);
    this.#sequence += 1;
    this.#end += bytes.length;
  }
}

export function isJournal(storage: Storage): boolean {
  return storage.read(fileMagic.length, 0).equals(fileMagic);
}

/** The parts as they last were, in the order in which they appeared; null where no whole record is. */
export function readJournal(storage: Storage): Parts | null {
  const [first, second] = slotsAt.map((start) => readSlot(storage, start));
  const last = (first?.sequence ?? 0) > (second?.sequence ?? 0) ? first : second;
  return last?.parts ?? null;
}

function readSlot(storage: Storage, start: number): { parts: Parts; sequence: number } | null {
  const parts = new Map<string, unknown>();
  let sequence = 0;
  for (let at = start; ; ) {
    const header = storage.read(headerBytes, at);
    if (header.length < headerBytes || header.readUInt32LE(0) !== recordMagic) break;
    const next = header.readDoubleLE(16);
    if (sequence !== 0 && next !== sequence + 1) break;
    const text = storage.read(header.readUInt32LE(4), at + headerBytes);
    if (text.length !== header.readUInt32LE(4) || checksum(text, next) !== header.readUInt32LE(8)) break;
    for (const [name, ...values] of JSON.parse(text.toString()) as Change[]) {
      if (values.length === 0) parts.delete(name);
      else parts.set(name, values[0]);
    }
    sequence = next;
    at += headerBytes + text.length;
  }
  return sequence === 0 ? null : { parts, sequence };
}

function encode(changes: readonly Change[], sequence: number): Buffer {
  const json = JSON.stringify(changes);
  const bytes = Buffer.allocUnsafe(headerBytes + Buffer.byteLength(json));
  const length = bytes.write(json, headerBytes);
  bytes.writeUInt32LE(recordMagic, 0);
  bytes.writeUInt32LE(length, 4);
  bytes.writeUInt32LE(checksum(bytes.subarray(headerBytes), sequence), 8);
  bytes.writeUInt32LE(0, 12);
  bytes.writeDoubleLE(sequence, 16);
  return bytes;
}

/** FNV-1a, four bytes at a time. Not zlib's crc32: Node 20.0 has none, and loading zlib costs every start. */
function checksum(bytes: Buffer, sequence: number): number {
  const whole = bytes.length & ~3;
  const { buffer, byteOffset } = bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(bytes);
  const words = new Int32Array(buffer, byteOffset, whole / 4);
  let hash = 0x811c9dc5 ^ sequence;
  for (let i = 0; i < words.length; i++) hash = Math.imul(hash ^ (words[i] as number), 0x01000193);
  for (let i = whole; i < bytes.length; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return hash >>> 0;
}

/** A descriptor as storage. Reads end where the file ends. */
export function fileStorage(fd: number): Storage {
  return {
    read(length, at) {
      const bytes = Buffer.alloc(length);
      let got = 0;
      while (got < length) {
        const more = readSync(fd, bytes, got, length - got, at + got);
        if (more === 0) break;
        got += more;
      }
      return bytes.subarray(0, got);
    },
    write(bytes, at) {
      for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done, bytes.length - done, at + done);
    },
  };
}
