/** The file that a crash goes back to: whatever byte the crash cut a write at, what was whole before is there. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Change, isJournal, Journal, readJournal, type Storage } from "../../src/system/journal.ts";

/** Memory that stops taking bytes after `limit` of them, as a master that ends in the middle of a write. */
class Memory implements Storage {
  readonly #pieces = new Map<number, number>();
  limit = Number.POSITIVE_INFINITY;

  read(length: number, at: number): Buffer {
    const bytes: number[] = [];
    for (let n = 0; n < length; n += 1) {
      const byte = this.#pieces.get(at + n);
      if (byte === undefined) break;
      bytes.push(byte);
    }
    return Buffer.from(bytes);
  }

  write(bytes: Buffer, at: number): void {
    for (const [n, byte] of bytes.entries()) {
      if (this.limit <= 0) throw new Error("cut off");
      this.limit -= 1;
      this.#pieces.set(at + n, byte);
    }
  }
}

function fill(storage: Memory, parts: Map<string, unknown>): Journal {
  return new Journal(storage, () => parts as Iterable<Change>);
}

test("what was written is read, in the order in which it first came", () => {
  const storage = new Memory();
  const parts = new Map<string, unknown>([["a", 1]]);
  const journal = fill(storage, parts);
  journal.write([]);
  journal.write([["b", { c: [2] }]]);
  journal.write([["a", 3]]);
  journal.write([["b"], ["d", null]]);
  assert.ok(isJournal(storage));
  assert.deepEqual(
    [...(readJournal(storage) ?? [])],
    [
      ["a", 3],
      ["d", null],
    ],
  );
});

test("a write that is cut off at any byte leaves the one before", () => {
  for (let cut = 0; ; cut += 1) {
    const storage = new Memory();
    const journal = fill(storage, new Map([["state", "first"]]));
    journal.write([]);
    journal.write([["state", "second"]]);
    storage.limit = cut;
    try {
      journal.write([["state", "third, which is longer than the others"]]);
    } catch {
      assert.deepEqual(readJournal(storage)?.get("state"), "second", `cut off after ${cut} bytes`);
      continue;
    }
    assert.equal(readJournal(storage)?.get("state"), "third, which is longer than the others");
    return;
  }
});

test("beginning the other slot is as safe, cut off at any byte", () => {
  const long = "x".repeat(70_000);
  for (const cut of [0, 1, 23, 24, 25, 40]) {
    const storage = new Memory();
    const parts = new Map<string, unknown>([["state", "first"]]);
    const journal = fill(storage, parts);
    journal.write([]);
    journal.write([["filler", long]]);
    parts.set("state", "second");
    storage.limit = cut;
    assert.throws(() => journal.write([["state", "second"]]));
    const before = readJournal(storage);
    assert.equal(before?.get("state"), "first");
    assert.equal(before?.get("filler"), long);
    storage.limit = Number.POSITIVE_INFINITY;
    journal.write([["state", "second"]]);
    assert.deepEqual([...(readJournal(storage) ?? [])], [["state", "second"]]);
  }
});

test("a file with nothing whole in it is no state", () => {
  assert.equal(readJournal(new Memory()), null);
  assert.equal(isJournal(new Memory()), false);
});
