/** The addon has the whole surface of einhorn-native.d.ts; one that does not load is explained once, without a stack. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { holdSignalsPath, native } from "../../src/system/native.ts";

test("every method that the types promise is there, and no other", () => {
  const types = readFileSync(join(import.meta.dirname, "../../native/einhorn-native.d.ts"), "utf8");
  const surface = types.slice(types.indexOf("interface Native {"), types.indexOf("interface SpawnOptions"));
  const promised = [...surface.matchAll(/^ {2}(\w+)\(/gm)].map(([, name]) => name as string);
  assert.ok(promised.length > 30);
  assert.deepEqual(Object.keys(native).sort(), promised.sort());
});

test("the preload object is found beside it", () => {
  assert.match(holdSignalsPath ?? "", /\/dist\/hold-signals\.so$/);
});

function loadWith(addon: string): string {
  const script = `const { native } = await import(${JSON.stringify(join(import.meta.dirname, "../../src/system/native.ts"))});
    try { native.becomeSubreaper(); } catch (error) { console.log(error.constructor.name, error.code, error.exitCode, error.message); }`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, EINHORN_ADDON: addon },
    encoding: "utf8",
  });
  return stdout + stderr;
}

test("an addon that is missing or none at all is one UserError with what was tried and what to do", () => {
  for (const [addon, reason] of [
    ["/no/such/einhorn.node", /\/no\/such\/einhorn\.node: no such file/],
    ["/etc/passwd", /\/etc\/passwd: .*(invalid ELF header|file too short)/],
  ] as const) {
    const output = loadWith(addon);
    assert.match(
      output,
      /^UserError EINHORN_ADDON_MISSING 1 einhorn's native addon cannot be loaded on linux-\w+ \(Node v\d/,
    );
    assert.match(output, reason);
    assert.match(output, /Possible solutions:\n {2}- EINHORN_ADDON is set/);
  }
});
