import assert from "node:assert/strict";
import { test } from "node:test";
import { LastWords } from "../../src/system/last-words.ts";

function after(...chunks: (string | Buffer)[]): string | null {
  const words = new LastWords();
  for (const chunk of chunks) words.add(Buffer.from(chunk));
  return words.text();
}

test("nothing, or nothing but empty lines, is no words", () => {
  assert.equal(after(), null);
  assert.equal(after("\n", "  \n\n"), null);
});

test("lines that came in pieces are whole; one without an end counts", () => {
  assert.equal(after("cannot con", "nect\nto ", "db"), "cannot connect\nto db");
});

test("the last ten lines stay", () => {
  const lines = Array.from({ length: 25 }, (_, n) => `line ${n}`);
  assert.equal(after(`${lines.join("\n")}\n`), lines.slice(-10).join("\n"));
});

test("of long lines as much as fits stays, and no beginning that is none", () => {
  const text = after(...Array.from({ length: 50 }, (_, n) => `${n} ${"x".repeat(490)}\n`)) ?? "";
  assert.deepEqual(
    text.split("\n").map((line) => line.slice(0, 3)),
    ["46 ", "47 ", "48 ", "49 "],
  );
  const one = after("y".repeat(1_000_000)) ?? "";
  assert.match(one, /^y{2048}$/);
});

test("colours go, and so does what could command a terminal", () => {
  assert.equal(
    after("\u001b[1;31mred\u001b[0m\ttab\u0007\u001b]0;title\u0007\r\nnext\u009b2J"),
    "red\ttab]0;title\nnext2J",
  );
});

test("bytes that are no text do no harm", () => {
  assert.match(after(Buffer.from([0xff, 0xfe, 0x41, 0x0a])) ?? "", /A$/);
});

test("what an image had goes on in the next", () => {
  const before = new LastWords();
  before.add(Buffer.from("half a "));
  const next = new LastWords(before.bytes());
  next.add(Buffer.from("line\n"));
  assert.equal(next.text(), "half a line");
});
