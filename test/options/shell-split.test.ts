import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { Refusal } from "../../src/options/refusal.ts";
import { shellSplit } from "../../src/options/shell-split.ts";

test("words come out as sh makes them", () => {
  for (const text of [
    "a b  c",
    "  lead and trail  ",
    `'single "quoted" \\n' x`,
    `"double 'quoted' \\" \\\\ \\n" x`,
    `a"b"'c'd`,
    "a\\ b \\'c \\\\",
    `"" '' x`,
    "a\tb\nc",
    "-b 127.0.0.1:80,n --reexec-as='x y'",
    "ünï 'cödé'",
  ]) {
    const viaShell = execFileSync("/bin/sh", [
      "-c",
      `for w in ${text.replaceAll("\n", " ")}; do printf '%s\\0' "$w"; done`,
    ]);
    assert.deepEqual(shellSplit(text), viaShell.toString().split("\0").slice(0, -1), text);
  }
  assert.deepEqual(shellSplit(""), []);
});

test("nothing is expanded", () => {
  assert.deepEqual(shellSplit("$HOME `id` *"), ["$HOME", "`id`", "*"]);
});

test("an unfinished quote is refused", () => {
  assert.throws(() => shellSplit("a 'b"), new Refusal("has a ' that is never closed"));
  assert.throws(() => shellSplit('a "b\\"'), new Refusal('has a " that is never closed'));
});
