/** What `npm pack` makes is what users install: no compiler, no network, no install script. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout;
}

/** All that the user's machine has. */
const tools = ["node", "npm", "sh", "env", "sleep"];

test("the packed package, installed where there is neither network nor compiler, runs, upgrades and stops", () => {
  const folder = mkdtempSync(join(tmpdir(), "einhorn-pack-"));
  const bin = join(folder, "bin");
  // As root in a network namespace of its own, where there is nothing but an unused loopback.
  const alone = process.getuid?.() === 0 ? ["unshare", "--net"] : ["env"];
  const there = (...words: string[]): string =>
    run(alone[0] as string, [...alone.slice(1), "env", `PATH=${bin}`, ...words], folder);
  try {
    run("npm", ["pack", "--pack-destination", folder], root);
    const [archive] = readdirSync(folder);
    mkdirSync(bin);
    for (const tool of tools) symlinkSync(realpathSync(run("which", [tool], folder).trim()), join(bin, tool));
    there("npm", "init", "-y");
    there("npm", "install", "--offline", `./${archive}`);
    const installed = join(folder, "node_modules/einhorn");
    const manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
    assert.equal(manifest.dependencies, undefined);
    for (const script of ["preinstall", "install", "postinstall", "prepare"])
      assert.equal(manifest.scripts[script], undefined);
    // npm would compile it.
    assert.equal(readdirSync(installed).includes("binding.gyp"), false);

    assert.equal(there("node_modules/.bin/einhorn", "--version"), "1.0.0\n");
    const session = `
      node_modules/.bin/einhorn -n 1 -m 0 -d s.sock -- sleep 1000 &
      until node_modules/.bin/einhornsh -d s.sock ready; do sleep 0.1; done
      node_modules/.bin/einhornsh -d s.sock upgrade && kill -TERM $! && wait $!`;
    there("sh", "-c", session);
    const script = "import('einhorn/worker').then((w) => process.stdout.write(String(w.isWorker())))";
    assert.equal(there("node", "-e", script), "false");
    assert.equal(there("node", "-p", "require('einhorn/worker').isWorker()"), "false\n");
    assert.deepEqual(
      readdirSync(join(installed, "dist")).filter((name) => /^linux-/.test(name)),
      ["linux-arm64", "linux-x64"],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
