import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "../../src/options/nearest.ts";

test("typing errors find what was meant, other words find nothing", () => {
  const words = ["number", "nice", "max-rss", "max-age", "upgrade-timeout"];
  const cases: [string, string | null][] = [
    ["nubmer", "number"],
    ["numbr", "number"],
    ["max_rss", "max-rss"],
    ["maxage", "max-age"],
    ["upgrade", "upgrade-timeout"],
    ["nise", "nice"],
    ["banana", null],
    ["", null],
  ];
  for (const [word, expected] of cases) assert.equal(nearest(word, words), expected, word);
});
