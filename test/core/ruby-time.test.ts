/** Times of day as Ruby's YAML writes a Time. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { rubyTime } from "../../src/core/ruby-time.ts";

test("the day and the time are right in any year from 1970 on", () => {
  for (let wallMs = Date.UTC(1970, 0, 1); wallMs < Date.UTC(2101, 2, 3); wallMs += 79_321_123) {
    const [day, time] = new Date(wallMs).toISOString().slice(0, -1).split("T");
    assert.equal(rubyTime(wallMs), `${day} ${time}000000 Z`);
  }
});

test("fractions of a millisecond are kept down to a microsecond", () => {
  assert.equal(rubyTime(Date.UTC(2026, 0, 2, 3, 4, 5) + 123.456), "2026-01-02 03:04:05.123456000 Z");
});
