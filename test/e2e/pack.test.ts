/** What `npm pack` makes is what users install: no compiler, no network, no install script. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "../..");

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  assert.equal(status, 0, `${command} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  return stdout;
}

test("the packed package, installed offline into an empty folder, runs a program and its library loads", () => {
  const folder = mkdtempSync(join(tmpdir(), "einhorn-pack-"));
  try {
    run("npm", ["pack", "--pack-destination", folder], root);
    const [archive] = readdirSync(folder);
    run("npm", ["init", "-y"], folder);
    run("npm", ["install", "--offline", "--ignore-scripts", `./${archive}`], folder);
    assert.equal(run("node_modules/.bin/einhorn", ["--version"], folder), "1.0.0\n");
    // Started, ACKed by time, ended by itself: every part of the package but the command socket has been used.
    const socket = join(folder, "s.sock");
    run("node_modules/.bin/einhorn", ["--no-respawn", "-d", socket, "--", "sh", "-c", "exit 0"], folder);
    const script = "import('einhorn/worker').then((w) => process.stdout.write(String(w.isWorker())))";
    assert.equal(run("node", ["-e", script], folder), "false");
    assert.equal(run("node", ["-p", "require('einhorn/worker').isWorker()"], folder), "false\n");
    assert.deepEqual(
      readdirSync(join(folder, "node_modules/einhorn/dist")).filter((name) => /^linux-/.test(name)),
      ["linux-arm64", "linux-x64"],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
