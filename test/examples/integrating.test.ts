/** The workers printed in docs/integrating.md, taken from the page and run: they ACK, answer, are replaced, and finish. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { type TestContext, test } from "node:test";
import { get, type Master, root, startMaster } from "../support/master.ts";
import { underLoad } from "../support/under-load.ts";
import { temporary } from "./example.ts";

const page = fs.readFileSync(path.join(root, "docs/integrating.md"), "utf8");

/** The program under this heading, in a file of this name. */
function printed(t: TestContext, heading: string, name: string): string {
  const section = page.split(/^### /m).find((part) => part.startsWith(`${heading}\n`));
  const code = /^```\w+\n([\s\S]*?)^```$/m.exec(section ?? "")?.[1];
  assert.ok(code, `docs/integrating.md has no program under ${heading}`);
  const file = path.join(temporary(t), name);
  fs.writeFileSync(file, code);
  return file;
}

async function upgradesWith(t: TestContext, program: readonly string[], body: string): Promise<void> {
  const master: Master = await startMaster(t, { args: ["-m", "manual", "-n", "2", "-b", "127.0.0.1:0"], program });
  const port = await master.port();
  assert.ok((await get(port)).startsWith(body));
  const load = underLoad(t, { port });
  for (let upgrade = 0; upgrade < 3; upgrade += 1) {
    assert.equal((await master.ask("upgrade")).error ?? false, false);
    await load.served(10);
  }
  assert.deepEqual((await load.stop()).errors, []);
  assert.equal((await master.stop()).code, 0);
}

const interpreted: readonly (readonly [string, string, string, string])[] = [
  ["Python", "worker.py", "/usr/bin/python3", "python"],
  ["Ruby", "worker.rb", "/usr/bin/ruby", "ruby"],
  ["Perl", "worker.pl", "/usr/bin/perl", "perl"],
  ["PHP", "worker.php", "/usr/bin/php", "php"],
];
for (const [heading, file, interpreter, body] of interpreted) {
  test(`${heading}'s`, (t) => upgradesWith(t, [interpreter, printed(t, heading, file)], body));
}

test("Node's", async (t) => {
  const file = printed(t, "Node", "worker.mjs");
  const modules = path.join(path.dirname(file), "node_modules");
  fs.mkdirSync(modules);
  fs.symlinkSync(root, path.join(modules, "einhorn"));
  await upgradesWith(t, ["node", file], "node");
});

for (const [heading, file, compiler, body] of [
  ["Go", "main.go", ["/usr/bin/go", "build", "-o"], "go"],
  ["C", "worker.c", ["/usr/bin/gcc", "-Wall", "-Werror", "-O2", "-o"], "c"],
] as const) {
  test(`${heading}'s`, async (t) => {
    const source = printed(t, heading, file);
    const program = path.join(path.dirname(source), "worker");
    execFileSync(compiler[0], [...compiler.slice(1), program, source]);
    await upgradesWith(t, [program], body);
  });
}

test("the shell's", async (t) => {
  const script = printed(t, "Shell", "worker.sh");
  const out = path.join(path.dirname(script), "out");
  const master = await startMaster(t, { args: ["-m", "0.1"], program: ["sh", script], env: { OUT: out } });
  assert.equal((await master.ask("upgrade")).error ?? false, false);
  await master.until(() => fs.existsSync(out) && /generation 1/.test(fs.readFileSync(out, "utf8")));
  const ended = await master.stop();
  assert.equal(ended.code, 0);
  assert.match(ended.stderr, /exited with code 0/);
});
