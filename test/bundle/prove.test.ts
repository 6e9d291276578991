/** The proof of the package's binaries: it sees what works, and names what does not and what it could not look at. */
import assert from "node:assert/strict";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { prove } from "../../bundle/prove.mjs";

const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "einhorn-prove-"));
after(() => rmSync(folder, { recursive: true }));

/** The faults of this machine's binary under the Node of the tests, after `spoil` had its way with it. */
function proveHere(name: string, spoil: (place: string) => void): string[] {
  const dist = join(folder, name);
  const place = join(dist, "linux-x64");
  mkdirSync(place, { recursive: true });
  for (const file of ["einhorn.node", "hold-signals.so"]) copyFileSync(join(root, "dist", file), join(place, file));
  spoil(place);
  return prove({ dist, targets: { "linux-x64": "linux-x64" }, provedUnder: { "linux-x64": ["node 24"] } });
}

test("what was built works", () => {
  assert.deepEqual(
    proveHere("good", () => {}),
    [],
  );
});

test("an addon that does not load is named with its target and its Node", () => {
  const [fault] = proveHere("unloadable", (place) => writeFileSync(join(place, "einhorn.node"), "nothing"));
  assert.match(fault ?? "", /^linux-x64 under node 24: .*einhorn\.node/s);
});

test("a hold-signals.so that the loader passes over is a fault", () => {
  const [fault] = proveHere("unheld", (place) => writeFileSync(join(place, "hold-signals.so"), "nothing"));
  assert.match(fault ?? "", /^linux-x64 under node 24: .*hold-signals\.so was not preloaded/s);
});

test("a binary, a Node or a proof that is missing is a fault, not a gap", () => {
  const targets = { "linux-x64": "nowhere", "linux-s390x": "linux-x64", "linux-riscv64": "linux-x64" };
  const faults = prove({ dist: join(folder, "good"), targets, provedUnder: { "linux-s390x": ["node 24"] } });
  assert.match(faults[0] ?? "", /^linux-x64: ENOENT/);
  assert.match(faults[1] ?? "", /^linux-s390x under node 24: there is no Node for linux-s390x/);
  assert.match(faults[2] ?? "", /^linux-riscv64: .*nothing that it is proved under/);
});

test("every target is proved under something, glibc on x64 under each Node that is supported", () => {
  const { targets, provedUnder } = JSON.parse(readFileSync(join(root, "bundle/targets.json"), "utf8"));
  assert.deepEqual(Object.keys(provedUnder), Object.keys(targets));
  assert.deepEqual(provedUnder["linux-x64"], ["node 20", "node 22", "node 24", "node 26"]);
});
