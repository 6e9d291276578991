import assert from "node:assert/strict";
import { test } from "node:test";
import { UserError } from "../../src/errors.ts";
import { readArguments } from "../../src/shell/arguments.ts";

const nothing = {
  commandName: null,
  nameWasGuessed: false,
  socketPath: null,
  commands: null,
  json: false,
  timeoutMs: null,
};

function read(line: string) {
  return readArguments(line === "" ? [] : line.split(" "));
}

test("options come before the command; what follows it is the master's", () => {
  assert.deepEqual(read(""), nothing);
  assert.deepEqual(read("ready"), { ...nothing, commands: [["ready"]] });
  assert.deepEqual(read("-c web status"), { ...nothing, commandName: "web", commands: [["status"]] });
  assert.deepEqual(read("-cweb"), { ...nothing, commandName: "web" });
  assert.deepEqual(read("--command-name=web -d /s"), { ...nothing, commandName: "web", socketPath: "/s" });
  const upgrade = [["upgrade", "--canary", "1", "--soak", "30", "-e"]];
  assert.deepEqual(read("upgrade --canary 1 --soak 30 -e"), { ...nothing, commands: upgrade });
  assert.deepEqual(read("status --json --timeout 2.5"), {
    ...nothing,
    commands: [["status"]],
    json: true,
    timeoutMs: 2500,
  });
  assert.equal(read("--help"), "help");
});

test("a first word that is no command is a command name", () => {
  const web = { ...nothing, commandName: "web", nameWasGuessed: true };
  assert.deepEqual(read("web"), web);
  assert.deepEqual(read("web set_workers 5"), { ...web, commands: [["set_workers", "5"]] });
});

test("-e takes a list of commands", () => {
  const commands = [["set_workers", "3"], ["status"]];
  assert.deepEqual(readArguments(["-e", "set_workers 3; status"]), { ...nothing, commands });
  assert.deepEqual(readArguments(["--execute=set_workers 3; status"]), { ...nothing, commands });
});

test("mistakes are usage errors that name what was wrong", () => {
  const mistakes: [string[], RegExp][] = [
    [["--frob"], /--frob/],
    [["-c"], /-c needs a value/],
    [["-c", "a/b", "status"], /"a\/b" cannot be a command name/],
    [["-d", "/s", "frobnicate"], /no command "frobnicate"/],
    [["-c", "web", "frobnicate"], /no command "frobnicate"/],
    [["web", "frobnicate"], /no command "frobnicate"/],
    [["-e", "status", "status"], /not both/],
    [["-e", " ; "], /names no command/],
    [["-e", "die 'x"], /not closed/],
    [["--timeout", "soon"], /--timeout/],
    [["--timeout", "0"], /--timeout/],
    [["status", "--timeout"], /needs a value/],
  ];
  for (const [argv, pattern] of mistakes) {
    assert.throws(
      () => readArguments(argv),
      (error) => error instanceof UserError && error.exitCode === 2 && pattern.test(error.message),
      argv.join(" "),
    );
  }
});
