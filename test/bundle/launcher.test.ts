/** einhorn.cjs is one file that needs no other: what compile-cache.cjs leaves beside it makes it faster, or is passed over. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const dist = join(import.meta.dirname, "../../dist");
const folder = mkdtempSync(join(tmpdir(), "einhorn-launcher-"));
after(() => rmSync(folder, { recursive: true }));

for (const file of ["einhorn.cjs", "einhornsh.cjs", "einhorn.node", "hold-signals.so", "compile-cache.cjs"])
  copyFileSync(join(dist, file), join(folder, file));

function node(...args: string[]): string {
  const { status, signal, stdout, stderr } = spawnSync("node", args, { encoding: "utf8", cwd: folder });
  assert.deepEqual({ status, signal, stderr }, { status: 0, signal: null, stderr: "" });
  return stdout.trim();
}

/** What V8 says of the cache: "undefined" when it was not shown to it. */
const rejected = (...flags: string[]) => node(...flags, "-p", "require('./einhorn.cjs').program.cachedDataRejected");

function untouched(): { file: string; bytes: Buffer } {
  const name = readdirSync(folder).find((file) => /^einhorn\.cjs\..*\.cache$/.test(file));
  assert.ok(name, "compile-cache.cjs wrote no cache");
  const file = join(folder, name);
  return { file, bytes: readFileSync(file) };
}

test("the file alone", () => {
  assert.equal(rejected(), "undefined");
  assert.equal(node("einhorn.cjs", "--version"), "1.0.0");
});

test("with the cache, and with one that does not fit", () => {
  node("compile-cache.cjs");
  const { file, bytes } = untouched();
  assert.equal(rejected(), "false");
  const flipped = (at: number) => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  const broken: Record<string, Buffer> = {
    empty: Buffer.alloc(0),
    short: bytes.subarray(0, bytes.length - 4096),
    "of another program": flipped(0),
    "damaged in its first half": flipped(bytes.length >> 2),
    "damaged in its second half": flipped(bytes.length - 1),
  };
  for (const [what, content] of Object.entries(broken)) {
    writeFileSync(file, content);
    assert.equal(rejected(), "undefined", what);
    assert.equal(node("einhorn.cjs", "--version"), "1.0.0", what);
  }
  writeFileSync(file, bytes);
  assert.equal(rejected("--no-opt"), "true");
  assert.equal(node("--no-opt", "einhorn.cjs", "--version"), "1.0.0");
});

test("a place in a stack trace is the file's own", () => {
  const script = `
    const { program, run } = require('./einhorn.cjs');
    process.argv = ['node', 'einhorn.cjs', '--version'];
    process.exit = () => { throw new Error('here') };
    require('node:fs').writeSync = (fd, text) => fd === 2 ? console.log(text) || process.reallyExit(0) : 0;
    run();`;
  const trace = node("-e", script);
  const [, line, column] = /\(?\S*einhorn\.cjs:(\d+):(\d+)/.exec(trace) ?? assert.fail(trace);
  const text = readFileSync(join(folder, "einhorn.cjs"), "utf8").split("\n")[Number(line) - 1] ?? "";
  // Two columns of the line are its comment sign.
  assert.match(text.slice(Number(column) + 1), /^process\.exit\(|^exit\(/);
});
