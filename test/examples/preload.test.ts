/** The preloaded examples, under load through upgrades and a stop. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { start, upgradesUnderLoad } from "./example.ts";

for (const [name, file, command] of [
  ["preload-python", "app.py", "python3"],
  ["preload-ruby", "app.rb", "ruby"],
] as const) {
  const options = ["-m", "notify", "-p", file, "--gc-before-fork"];

  test(`${name}: no request fails`, (t) => upgradesUnderLoad(t, name, { options, program: [command, file] }));

  test(`${name}: preloading is in use`, async (t) => {
    const master = await start(t, name, { options, program: [command, file] });
    assert.match((await master.sh("status")).stdout, new RegExp(`preload: ${file} active`));
  });
}
