import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, test } from "node:test";
import { zygoteCommand } from "../../src/system/zygote-command.ts";

const folder = mkdtempSync(join(tmpdir(), "einhorn-zygote-"));
after(() => rmSync(folder, { recursive: true }));

/** What is executed, the zygote by its last part alone, and what the program is called with. */
function commandOf(path: string, ...argv: string[]): { run: string; program: string } | null {
  const command = zygoteCommand({ path, argv, cwd: folder, searchPath: `${folder}:/usr/bin` });
  if (command === null) return null;
  const words = command.argv.map((word) => (/zygote\.(rb|py)$/.test(word) ? basename(word) : word));
  return { run: words.join(" "), program: command.program.join(" ") };
}

function script(name: string, firstLine: string): void {
  writeFileSync(join(folder, name), `${firstLine}\nrest\n`);
  chmodSync(join(folder, name), 0o755);
}

for (const [title, words, run, program] of [
  [
    "the interpreter and its options are the command's own",
    "app.rb ruby -W0 --yjit -I lib app.rb -x b",
    "ruby -W0 --yjit -I lib zygote.rb",
    "app.rb -x b",
  ],
  [
    "options that take a word",
    "app.py python3.12 -X dev -W ignore app.py a",
    "python3.12 -X dev -W ignore zygote.py",
    "app.py a",
  ],
  ["-- ends them", "app.rb ruby -- -odd.rb a", "ruby zygote.rb", "-odd.rb a"],
  ["a module instead of a file", "app.py python3 -m app a", "python3 zygote.py", "-m a"],
  ["a path to the interpreter", "app.py /opt/venv/bin/python app.py", "/opt/venv/bin/python zygote.py", "app.py"],
  ["a launcher stays in front", "app.rb bundle exec ruby app.rb a", "bundle exec ruby zygote.rb", "app.rb a"],
  ["a launcher and a program", "config.rb bundle exec puma -t 4", "bundle exec ruby zygote.rb", "puma -t 4"],
  ["an interpreter alone", "app.py python3", "python3 zygote.py", "python3"],
  ["an unknown program with a known extension", "app.py ./no-such a", "python3 zygote.py", "./no-such a"],
  ["a name for require or import", "my_app/boot ruby run.rb", "ruby zygote.rb", "run.rb"],
  ["the extension wins over the interpreter", "app.py ruby run.rb", "python3 zygote.py", "ruby run.rb"],
] as const) {
  test(title, () => {
    const [path = "", ...argv] = words.split(" ");
    assert.deepEqual(commandOf(path, ...argv), { run, program });
  });
}

test("the first line of a script names the interpreter: that of a virtual environment, or by env", () => {
  script("of-venv", "#!/opt/venv/bin/python3 -u");
  script("by-env", "#!/usr/bin/env ruby");
  script("of-another", "#!/bin/sh");
  assert.deepEqual(commandOf("app.py", "of-venv", "a"), {
    run: "/opt/venv/bin/python3 zygote.py",
    program: "of-venv a",
  });
  assert.deepEqual(commandOf("app.rb", "./by-env"), { run: "ruby zygote.rb", program: "./by-env" });
  assert.deepEqual(commandOf("app.rb", "./of-another"), { run: "ruby zygote.rb", program: "./of-another" });
});

test("an executable of no known language is a zygote itself; what is not there is nothing", () => {
  script("own", "#!/bin/sh");
  assert.deepEqual(commandOf("own", "server", "a"), { run: join(folder, "own"), program: "server a" });
  assert.equal(commandOf("missing", "server"), null);
});
