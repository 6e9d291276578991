import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { UserError } from "../../src/errors.ts";
import { type Options, readInvocation } from "../../src/options.ts";

const directory = mkdtempSync(join(tmpdir(), "einhorn-config-"));
after(() => rmSync(directory, { recursive: true }));

async function read(yaml: string, argv: readonly string[] = [], env: Record<string, string> = {}): Promise<Options> {
  writeFileSync(join(directory, "e.yaml"), yaml);
  const context = { cpus: () => 6 };
  const invocation = await readInvocation({
    argv: [...argv, "--config", "e.yaml", "prog"],
    env,
    cwd: directory,
    context,
  });
  return invocation.kind === "run" ? invocation.options : assert.fail();
}

test("keys are the long names, values as on the command line", async () => {
  const options = await read(`
# a comment
number: 4
bind:
  - 127.0.0.1:8080,n
  - "[::1]:8080"
umask: 022
quiet: true
no-respawn: false
ack-mode: manual
seconds: 0.5
max-rss: 512M
nice: 5:10
oom-score-adj: -10
rlimit: nofile=1024
reexec-as: "/opt/einhorn -v"
`);
  assert.deepEqual(
    options.binds.map(({ text }) => text),
    ["127.0.0.1:8080,n", "[::1]:8080"],
  );
  assert.deepEqual([options.config.number, options.config.verbosity, options.config.respawn], [4, "error", true]);
  assert.deepEqual([options.config.ackMode, options.config.respawnMs], [{ kind: "manual" }, 500]);
  assert.deepEqual([options.worker.umask, options.worker.nice, options.masterNice], [0o022, 10, 5]);
  assert.deepEqual([options.config.maxRssBytes, options.worker.oomScoreAdj], [2 ** 29, -10]);
  assert.deepEqual(options.worker.limits, [{ resource: 7, soft: 1024, hard: 1024 }]);
  assert.deepEqual([options.reexecAs, options.configFile], [["/opt/einhorn", "-v"], "e.yaml"]);
});

test("an empty file says nothing", async () => {
  for (const text of ["", "# only a comment\n", "---\n", "{}\n", "~\n"]) {
    assert.equal((await read(text)).config.number, 1, text);
  }
});

test("command line and EINHORN_OPTS go before the file", async () => {
  const yaml = "number: 2\nbacklog: 3\nseconds: 4\nbind: [127.0.0.1:1]\nverbose: true\n";
  const options = await read(yaml, ["-n", "20"], { EINHORN_OPTS: "-l 30 -b 127.0.0.1:2 -q" });
  assert.deepEqual([options.config.number, options.config.backlog, options.config.respawnMs], [20, 30, 4000]);
  assert.deepEqual(
    options.binds.map(({ text }) => text),
    ["127.0.0.1:2"],
  );
  assert.equal(options.config.verbosity, "error");
});

test("--config may come from EINHORN_OPTS", async () => {
  writeFileSync(join(directory, "e.yaml"), "number: 9");
  const env = { EINHORN_OPTS: `--config ${join(directory, "e.yaml")}` };
  const invocation = await readInvocation({ argv: ["prog"], env, cwd: "/" });
  assert.equal(invocation.kind === "run" && invocation.options.config.number, 9);
});

test("a mistake is named with file, line and column", async () => {
  const cases: [string, string][] = [
    ["number: 0", 'EINHORN_BAD_OPTION e.yaml:1:9: number: "0" is not a whole number from 1 to 10000 or "auto"'],
    ["\nnumber: [3]", "e.yaml:2:9: number: a text or a number, not a list"],
    ["number: {a: 1}", "e.yaml:1:9: number: a text or a number, not a mapping"],
    ["number:", "e.yaml:1:8: number: a text or a number"],
    ["number: true", "e.yaml:1:9: number: a text or a number"],
    ["quiet: 1", "e.yaml:1:8: quiet: true or false"],
    ["quiet: yes", "e.yaml:1:8: quiet: true or false"],
    ["quiet: [true]", "e.yaml:1:8: quiet: true or false, not a list"],
    ["quiet: true\nnubmer: 3", 'e.yaml:2:1: unknown key "nubmer"; did you mean number?'],
    ["max_rss: 3", 'e.yaml:1:1: unknown key "max_rss"; did you mean max-rss?'],
    ["Xylophone: 3", 'e.yaml:1:1: unknown key "Xylophone"; keys are the long names of the options in einhorn --help'],
    ["n: 3", 'e.yaml:1:1: unknown key "n"; keys are the long names of the options in einhorn --help'],
    ["__proto__: 3", 'e.yaml:1:1: unknown key "__proto__"; keys are the long names of the options in einhorn --help'],
    ["with-state-fd: 3", "e.yaml:1:1: with-state-fd can be given on the command line only"],
    ["config: x", "e.yaml:1:1: config can be given on the command line only"],
    ["number: 3\nnumber: 4", "e.yaml:2:1: this key is here for the second time"],
    ["bind:\n  - [::1]:80", "e.yaml:2:10: Unexpected scalar at node end; a value that begins with [ or { needs quotes"],
    ["bind: [127.0.0.1:80, {a: b}]", "e.yaml:1:22: bind: a list of texts; quote those with [ ] or { }"],
    [
      "bind:\n- 127.0.0.1:80\n- 127.0.0.1:x",
      'EINHORN_BAD_OPTION e.yaml:3:3: bind: "x" is not a whole number from 0 to 65535 (the port)',
    ],
    ["- number: 3", "e.yaml:1:1: the file must be a mapping of option names to values"],
    ["just text", "e.yaml:1:1: the file must be a mapping of option names to values"],
    ["number: !!int 3", "e.yaml:1:15: tags (tag:yaml.org,2002:int) are not allowed here"],
    ["number: !ruby/object:X 3", "e.yaml:1:9: tags (!) are not allowed here"],
    ["seconds: &a 3", "e.yaml:1:13: anchors (&) are not allowed here"],
    ["seconds: &a 3\nnumber: *a", "e.yaml:1:13: anchors (&) are not allowed here"],
    ["number: *a", "e.yaml:1:9: aliases (*) are not allowed here"],
    ["number: 3\n---\nnumber: 4", "e.yaml:2:1: there is more than one document in this file"],
    ["number: 'x", "e.yaml:1:11: Missing closing 'quote"],
  ];
  for (const [yaml, expected] of cases) {
    const [, code = "EINHORN_BAD_CONFIG", message = ""] = /^(EINHORN_\w+)? ?(.*)$/.exec(expected) ?? [];
    await assert.rejects(read(yaml), new UserError(code, message, 2), yaml);
  }
});

test("a file that cannot be read is named", async () => {
  const invoke = (file: string) => readInvocation({ argv: ["--config", file, "prog"], env: {}, cwd: directory });
  const bad = (message: string) => new UserError("EINHORN_BAD_CONFIG", message, 2);
  await assert.rejects(invoke("none.yaml"), bad("--config: cannot read none.yaml: ENOENT"));
  await assert.rejects(invoke("."), bad("--config: cannot read .: EISDIR"));
  writeFileSync(join(directory, "big.yaml"), "#".repeat(2 ** 20 + 1));
  await assert.rejects(invoke("big.yaml"), bad("--config: big.yaml is larger than 1048576 bytes"));
});
