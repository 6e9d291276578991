/** V8 knows what it is told, and does it. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";

const source = (path: string) => JSON.stringify(join(import.meta.dirname, "../..", path));

/** A burst of work, 5,000 calls of one function (a loop in it would count as more): V8 says on stdout what it optimizes. */
function burst(prepare: string) {
  const script = `${prepare}
    function hot(n) { return (n % 7) + (n % 5) * (n % 3) - (n % 11) * (n % 13); }
    for (let i = 0; i < 5000; i++) hot(i);`;
  const flags = ["--trace-opt", "--input-type=module", "-e"];
  const { stdout, stderr, status } = spawnSync(process.execPath, [...flags, script], { encoding: "utf8" });
  assert.deepEqual([status, stderr], [0, ""]);
  return stdout.includes("<JSFunction hot");
}

test("a burst is over before anything of it is optimized", () => {
  assert.equal(burst(""), true);
  assert.equal(burst(`(await import(${source("src/system/engine.ts")})).tuneEngine();`), false);
});

test("this V8 says so when it does not know a flag, and that is all", () => {
  const script = `(await import(${source("src/system/native.ts")})).native.setEngineFlag({ flag: "--no-such-flag" }); console.log("goes on")`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  assert.equal(stdout, "goes on\n");
  assert.match(stderr, /unrecognized flag --no-such-flag/);
});
