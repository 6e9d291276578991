import assert from "node:assert/strict";
import { test } from "node:test";
import { LineBuffer } from "../../src/control/line-buffer.ts";

function take(lines: LineBuffer): string[] {
  const taken: string[] = [];
  for (let line = lines.next(); line !== null; line = lines.next()) taken.push(line.toString());
  return taken;
}

test("lines come out as they went in, however the bytes were cut", () => {
  const text = Array.from({ length: 60 }, (_, i) => `${"é".repeat(i)}${i}`).join("\n");
  const bytes = Buffer.from(`${text}\nunfinished`);
  for (const size of [1, 2, 3, 7, 64, 1000, bytes.length]) {
    const lines = new LineBuffer();
    const shared = Buffer.alloc(size);
    const taken: string[] = [];
    for (let at = 0; at < bytes.length; at += size) {
      const length = bytes.copy(shared, 0, at, at + size);
      lines.push(shared.subarray(0, length));
      if (at % 3 === 0) taken.push(...take(lines));
      lines.settle();
      shared.fill(0x58); // The caller's buffer is used for somebody else.
    }
    taken.push(...take(lines));
    assert.equal(taken.join("\n"), text, `chunks of ${size}`);
    assert.equal(lines.rest().toString(), "unfinished");
    assert.equal(lines.hasLine(), false);
  }
});

test("what was cleared is gone, and the buffer goes on", () => {
  const lines = new LineBuffer();
  lines.push(Buffer.from("a\nb"));
  lines.clear();
  assert.equal(lines.length, 0);
  lines.push(Buffer.from("c\n"));
  assert.deepEqual(take(lines), ["c"]);
});

test("a line that comes byte by byte costs what its bytes cost", () => {
  const lines = new LineBuffer();
  const before = process.cpuUsage();
  for (let i = 0; i < 64 * 1024; i++) {
    lines.push(Buffer.from("x"));
    if (lines.next() !== null) assert.fail("there was no line break");
    lines.settle();
  }
  const used = process.cpuUsage(before);
  assert.ok(used.user + used.system < 1_500_000, `${used.user} µs of CPU time`);
  assert.equal(lines.length, 64 * 1024);
});
