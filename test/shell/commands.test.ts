import assert from "node:assert/strict";
import { test } from "node:test";
import { commandHelp } from "../../src/core/commands.ts";
import { commandNames, splitCommands } from "../../src/shell/commands.ts";

test("words are split as a shell splits them", () => {
  const cases: [string, string[][]][] = [
    ["", []],
    ["status", [["status"]]],
    ["  set_workers   5 ;; status; ", [["set_workers", "5"], ["status"]]],
    ["inc\ndec\n", [["inc"], ["dec"]]],
    ["config 'a: 1; b' \"c d\"", [["config", "a: 1; b", "c d"]]],
    ['a "b\\"c\\\\d\\e" \'f\\g\'', [["a", 'b"c\\d\\e', "f\\g"]]],
    ["a\\ b\\;c d''e\"\"", [["a b;c", "de"]]],
    ["a ''", [["a", ""]]],
    ["# only a comment\nstatus # and another; die\nx#y", [["status"], ["x#y"]]],
  ];
  for (const [text, commands] of cases) assert.deepEqual(splitCommands(text), { commands }, JSON.stringify(text));
});

test("an unfinished quote is an error, not a guess", () => {
  for (const text of ["die 'TERM", 'config "a', "signal \\"]) assert.ok("error" in splitCommands(text), text);
});

test("einhornsh knows every command of the master", () => {
  const helped = commandHelp.map((line) => /^\s*(\w+)/.exec(line)?.[1]).filter((name) => name !== undefined);
  for (const name of helped) assert.ok(commandNames.includes(name), `einhornsh does not know ${name}`);
  assert.ok(helped.length > 10);
});
