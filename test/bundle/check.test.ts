/** The check of compiled objects fails where it should: each fault is made with a real compiler. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { check } from "../../bundle/check.mjs";

const folder = mkdtempSync(join(tmpdir(), "einhorn-check-"));
after(() => rmSync(folder, { recursive: true }));

function compile(name: string, source: string, ...flags: string[]): string {
  writeFileSync(join(folder, `${name}.c`), source);
  const object = join(folder, `${name}.so`);
  execFileSync("gcc", ["-shared", "-fPIC", "-w", ...flags, join(folder, `${name}.c`), "-o", object]);
  return object;
}
const bare = ["-nostdlib", "-nostartfiles", "-fno-stack-protector"];

test("what we ship passes", () => {
  for (const file of ["einhorn.node", "hold-signals.so"]) {
    assert.deepEqual(check(join(import.meta.dirname, "../../dist", file)), []);
  }
});

test("a library, symbol versions and a strange symbol are named", () => {
  const linked = check(compile("linked", "int getpid(void); int f(void) { return getpid(); }"));
  assert.ok(linked.includes("it needs the library libc.so.6"));
  assert.ok(linked.includes("it asks for symbol versions"));
  const strange = compile(
    "strange",
    "int gnu_get_libc_version(void); int f(void) { return gnu_get_libc_version(); }",
    ...bare,
  );
  assert.deepEqual(check(strange), ["it needs the symbol gnu_get_libc_version"]);
  const protectedStack = compile(
    "stack",
    "void g(char*); void f(void) { char a[99]; g(a); }",
    "-nostdlib",
    "-fstack-protector-all",
  );
  assert.ok(check(protectedStack).includes("it needs the symbol __stack_chk_fail"));
});

test("what is no object is a fault too", () => {
  assert.match(check("/etc/passwd")[0] ?? "", /^readelf failed/);
  assert.match(check("/no/such/file")[0] ?? "", /^readelf failed/);
});
