import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { UserError } from "../../src/errors.ts";
import { parseEnvFile, readEnvFile } from "../../src/system/env-file.ts";

test("lines become variables", () => {
  const cases: [string, Record<string, string>][] = [
    ["", {}],
    ["# comment\n\n   # another\n", {}],
    ["A=1\nB=two words  \nC=\n", { A: "1", B: "two words", C: "" }],
    ["A=1", { A: "1" }],
    ["A=1\r\nB=2\r\n", { A: "1", B: "2" }],
    ["\uFEFFA=1", { A: "1" }],
    ["export A=1\n  export\tB = 2", { A: "1", B: "2" }],
    ["export=1", { export: "1" }],
    ["A=x#y # note\nB=# note", { A: "x#y", B: "" }],
    ["A=b=c", { A: "b=c" }],
    [`A='x # $y \\n' # note`, { A: "x # $y \\n" }],
    [`A="x\\ty\\"z\\" \\$HOME \\q # no note"`, { A: 'x\ty"z" $HOME \\q # no note' }],
    [`A="one\ntwo"\nB='three\nfour'\n`, { A: "one\ntwo", B: "three\nfour" }],
    ["A=1\nA=2", { A: "2" }],
    ["A=$B `id`", { A: "$B `id`" }],
    ["a.b-c=1", { "a.b-c": "1" }],
    ["A=it's", { A: "it's" }],
    ["PATH = /a:/b", { PATH: "/a:/b" }],
  ];
  for (const [text, expected] of cases) assert.deepEqual(parseEnvFile(text, "f"), expected, JSON.stringify(text));
  assert.deepEqual(Object.entries(parseEnvFile("__proto__=1", "f")), [["__proto__", "1"]]);
});

test("a mistake is named with its line", () => {
  const cases: [string, string][] = [
    ["A=1\nnonsense\n", "f:2: not a line of the form NAME=VALUE"],
    ["1A=2", "f:1: not a line of the form NAME=VALUE"],
    ["=2", "f:1: not a line of the form NAME=VALUE"],
    ["A='x\n\ny'\nB='z", "f:4: a ' is never closed"],
    ['A=1\n\nB="x', 'f:3: a " is never closed'],
    ['A="x" y', 'f:1: text after the closing "'],
    ["A=x\0y", "f:1: the value of A holds a NUL byte"],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseEnvFile(text, "f"), new UserError("EINHORN_BAD_ENV_FILE", message), JSON.stringify(text));
  }
});

test("a file is read, a missing one is named", () => {
  const directory = mkdtempSync(join(tmpdir(), "einhorn-env-"));
  try {
    writeFileSync(join(directory, "env"), "A=1\n");
    assert.deepEqual(readEnvFile(join(directory, "env")), { A: "1" });
    const path = join(directory, "none");
    const expected = new UserError("EINHORN_BAD_ENV_FILE", `--env-file: cannot read ${path}: ENOENT`);
    assert.throws(() => readEnvFile(path), expected);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
