/**
 * The yaml package is the oracle: whatever this reader accepts must mean the same there. Documents are the corpus that
 * clients really send, and random ones from a small alphabet of everything that has a meaning in YAML.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseDocument } from "yaml";
import { readYaml } from "../../src/control/small-yaml.ts";

function value(text: string): unknown {
  const result = readYaml(text);
  if ("error" in result) assert.fail(`${JSON.stringify(text)}: ${result.error}`);
  return result.value;
}

function error(text: string): string {
  const result = readYaml(text);
  if ("value" in result) assert.fail(`${JSON.stringify(text)} was accepted`);
  return result.error;
}

/** The oracle's answer; undefined when it complains. */
function oracle(text: string): unknown {
  const document = parseDocument(text, { schema: "core", merge: false, logLevel: "silent", resolveKnownTags: false });
  return document.errors.length + document.warnings.length > 0 ? undefined : document.toJS();
}

const accepted = [
  "command: state",
  "---\ncommand: worker:ack\npid: 5\n",
  "--- \ncommand: signal\nargs:\n- USR1\n- '12'\n",
  "---\nid: 3\ncommand: set_workers\nargs:\n  - '5'\n",
  '{command: state, id: "a, b", args: [x, [y, {z: 1}], ], n: }',
  "a: [1,\n  2]\nb: {c: d,\n e: f}",
  "a: 'it''s'\nb: \"x\\ny\\u00e9\\x41 \\\" \\\\\"",
  "a: long text that\n  goes on\n\n  and on\nb: 1",
  "a: \"folded\n  text\n\n  twice\"\nb: 'also\n  folded'",
  "a: |-\n  one\n   two\n\n  three\nb: |\n  x\nc: |+\n  y\n\n",
  "- |-\n  one\n  two\n- b",
  "- - 1\n  - 2\n- a: 1\n  b: 2\n-\n  - 3\n-",
  "a:\n  b:\n    c: 1\n  d: ~\ne:\n",
  "# comment\na: 1 # one\n# end\n",
  "a: b#c\nd: e:f\nurl: http://x/y?z=1\nsym: :foo\n:key: 1",
  "--- {a: 1}\n...\n",
  "--- text\n",
  "a: -1\nb: 1.5\nc: 1e3\nd: 0x1f\ne: 0o17\nf: true\ng: False\nh: NULL\ni: yes\nj: 1_000\nk: 2020-01-01\nl: .5\nm: 5.\nn: +3",
  "\uFEFFa: 1\r\nb: 2\r\n",
  "\"quoted key\": 1\n'other' : 2",
  '{"a":1,"b":[true,null]}',
  "",
  "# nothing\n",
];

test("what clients send means what the yaml package says it means", () => {
  for (const text of accepted) assert.deepEqual(value(text), oracle(text), JSON.stringify(text));
});

test("random documents that are accepted mean what the yaml package says they mean", () => {
  let seed = 20240607;
  const random = (below: number) => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((seed / 2 ** 32) * below);
  };
  const pieces = [
    "a",
    "b: ",
    "c:\n",
    "\n",
    "\n  ",
    "\n    ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    '"',
    "'",
    " #x",
    "1",
    "~",
    "|\n  ",
    ":",
    "\\n",
    "é",
    " ",
  ];
  let compared = 0;
  for (let i = 0; i < 30_000; i++) {
    const text = Array.from({ length: 1 + random(12) }, () => pieces[random(pieces.length)]).join("");
    const ours = readYaml(text);
    if ("error" in ours) continue;
    const theirs = oracle(text);
    if (theirs === undefined) continue;
    compared++;
    assert.deepEqual(
      JSON.parse(JSON.stringify(ours.value)),
      JSON.parse(JSON.stringify(theirs)),
      `document ${JSON.stringify(text)}`,
    );
  }
  assert.ok(compared > 5_000, `only ${compared} documents were comparable`);
});

test("what a request has no use for is refused with a sentence and a place", () => {
  const refused: [string, RegExp][] = [
    ["a: &x 1", /Anchors.*line 1, column 4/],
    ["a: 1\nb: *x", /Aliases.*line 2, column 4/],
    ["a: !ruby/object:Gem::Installer {}", /Tags/],
    ["!!binary aGk=", /Tags/],
    ["%YAML 1.1\n---\na: 1", /Directives/],
    ["? a\n: b", /Complex keys/],
    ["[a]: b", /A key must be a word/],
    ["a: 1\n---\nb: 2", /One document/],
    ["a: 1\na: 2", /twice/],
    ["a: b: c", /mapping within a mapping/],
    ["a: - b", /A list begins/],
    ["a: [1, 2", /Expected "," or "]"/],
    ["a: {b: 1", /Expected "," or "}"/],
    ["a: 'x", /not closed/],
    ['a: "x', /not closed/],
    ['a: "\\q"', /Unknown escape/],
    ["a: >\n  x", /Folded/],
    ["a: 1\n\tb: 2", /tab cannot indent/],
    ["a: 1\n   b: 2", /mapping within a mapping/],
    ["a:\n    b: 1\n  c: 2", /Wrong indentation|Unexpected/],
    ["__proto__: {x: 1}", /"__proto__" is not accepted/],
    ["a: {constructor: 1}", /"constructor" is not accepted/],
    ["a:\n  prototype: 1", /"prototype" is not accepted/],
    [": x", /A key must be a word/],
  ];
  for (const [text, pattern] of refused) assert.match(error(text), pattern, JSON.stringify(text));
});

test("nesting is limited, whatever it is made of", () => {
  for (const piece of ["[", "- ", "{a: ", "{", "["])
    assert.match(error(piece.repeat(10_000)), /Nested deeper|Expected|word|Unexpected/);
  assert.match(error("[".repeat(17) + "]".repeat(17)), /Nested deeper than 16/);
  assert.match(error(Array.from({ length: 40 }, (_, i) => `${" ".repeat(i)}k:\n`).join("")), /Nested deeper than 16/);
  value("[".repeat(15) + "]".repeat(15));
});

test("64 KiB of anything is read in one pass", () => {
  const hostile = [
    "[",
    "- ",
    "? ",
    ": ",
    "&a ",
    "*a ",
    "!a ",
    "\n",
    ",",
    "]",
    "}",
    "'",
    '"',
    "\\",
    "a: 1\n",
    "- a\n",
    "a ",
    " ",
    "\t",
    "#",
    "# \n",
    "|",
    "1",
    "{a: 1},",
    " \n",
    "''",
    "--- a\n",
    '"\n',
    "x\n\n",
  ];
  for (const piece of hostile) {
    for (const start of ["", "a: ", "[", '"', "'", "a: |\n  ", "- "]) {
      const text = start + piece.repeat(Math.floor(65_000 / piece.length));
      const before = process.cpuUsage();
      readYaml(text);
      const used = process.cpuUsage(before);
      // A quadratic pass over 64 KiB takes seconds; one pass takes a few milliseconds of CPU time, whatever the load.
      assert.ok(used.user + used.system < 400_000, `${JSON.stringify(start + piece)} took ${used.user} µs of CPU time`);
    }
  }
});
