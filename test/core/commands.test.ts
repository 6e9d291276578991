import assert from "node:assert/strict";
import { test } from "node:test";
import { commandHelp, readCommand } from "../../src/core/commands.ts";

const read = (command: unknown, args?: unknown) => readCommand({ command, args });

test("upstream's commands are read", () => {
  assert.deepEqual(read("upgrade"), { command: { name: "upgrade", strategy: "smooth", canary: null } });
  assert.deepEqual(read("upgrade_fleet", []), { command: { name: "upgrade", strategy: "fleet", canary: null } });
  assert.deepEqual(read("inc"), { command: { name: "add-number", by: 1 } });
  assert.deepEqual(read("dec", ["2"]), { command: { name: "add-number", by: -2 } });
  assert.deepEqual(read("set_workers", ["12"]), { command: { name: "set-number", number: 12 } });
  assert.deepEqual(read("signal", ["usr1", "SIGHUP"]), { command: { name: "signal", signals: ["SIGUSR1", "SIGHUP"] } });
  assert.deepEqual(read("die"), { command: { name: "die", signal: "graceful" } });
  assert.deepEqual(read("die", ["TERM"]), { command: { name: "die", signal: "SIGTERM" } });
});

test("an upgrade takes canaries in both spellings", () => {
  const expected = { command: { name: "upgrade", strategy: "smooth", canary: { count: 2, soakMs: 30_000 } } };
  assert.deepEqual(read("upgrade", ["--canary", "2", "--soak", "30"]), expected);
  assert.deepEqual(read("upgrade", ["--canary=2", "--soak=30"]), expected);
});

test("config takes upstream's quoting, a plain mapping and words, and only what it knows", () => {
  const expected = { command: { name: "config", changes: { number: 4, respawnMs: 2000 } } };
  assert.deepEqual(read("config", ["{number: 4, seconds: 2}"]), expected);
  assert.deepEqual(read("config", ["{number:", "4,", "seconds:", "2}"]), expected);
  assert.deepEqual(read("config", [{ number: 4, seconds: 2 }]), expected);
  assert.deepEqual(read("config", ['{"number": 4, "seconds": 2}']), expected);
});

const refusals: [unknown, unknown, RegExp][] = [
  [undefined, undefined, /has no "command"/],
  ["nonsense", undefined, /Unrecognized command: "nonsense"[\s\S]*upgrade:/],
  ["constructor", undefined, /Unrecognized command/],
  ["__proto__", undefined, /Unrecognized command/],
  [{ a: 1 }, undefined, /Unrecognized command/],
  ["signal", [], /at least one signal/],
  ["signal", ["NOPE"], /Invalid signal: "NOPE"/],
  ["signal", [null], /list of words/],
  ["signal", "USR1", /must be a list/],
  ["set_workers", [], /whole number from 1 to 10000, not ""/],
  ["set_workers", ["0"], /whole number from 1 to 10000, not "0"/],
  ["set_workers", ["1e3"], /not "1e3"/],
  ["set_workers", ["10001"], /not "10001"/],
  ["upgrade", ["--canry", "1"], /does not know "--canry"/],
  ["upgrade", ["--soak", "3"], /--soak needs --canary/],
  ["upgrade", ["--canary", "1", "--soak", "x"], /number of seconds, not "x"/],
  ["config", ["{nonsense: 1}"], /does not know "nonsense". It knows: number/],
  ["config", ["{__proto__: 1}"], /Cannot read/],
  ["config", ["[1]"], /Cannot read/],
  ["config", [], /Pass settings/],
  ["config", ["{seconds: 0}"], /seconds must be a number of seconds above 0, not "0"/],
  ["config", ["{number: -1}"], /number must be/],
];

for (const [command, args, message] of refusals) {
  test(`refuses ${JSON.stringify(command)} ${JSON.stringify(args)}`, () => {
    const result = read(command, args);
    assert.ok("error" in result);
    assert.match(result.error, message);
  });
}

test("help names every command once", () => {
  const names = commandHelp.map((line) => line.split(":")[0]);
  assert.equal(new Set(names).size, names.length);
  for (const name of ["upgrade", "state", "status", "ready", "wait", "events", "abort", "config", "louder"]) {
    assert.ok(names.includes(name), name);
  }
});
