/** Times of day as Ruby's YAML writes a Time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rubyTime } from "../../src/core/ruby-time.ts";

test("a moment has its day, its time and nine digits of a second", () => {
  assert.equal(rubyTime(Date.UTC(2026, 0, 2, 3, 4, 5) + 123.456), "2026-01-02 03:04:05.123000000 Z");
  assert.equal(rubyTime(0), "1970-01-01 00:00:00.000000000 Z");
});
