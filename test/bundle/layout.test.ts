/** A bundle finds its addon in both layouts that are shipped: beside it, and in its architecture's folder. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { build } from "esbuild";

const root = join(import.meta.dirname, "../..");
const folder = mkdtempSync(join(tmpdir(), "einhorn-layout-"));
after(() => rmSync(folder, { recursive: true }));

async function bundleIn(name: string, addonFolder: string): Promise<{ status: number | null; output: string }> {
  const place = join(folder, name);
  mkdirSync(join(place, addonFolder), { recursive: true });
  for (const file of ["einhorn.node", "hold-signals.so"])
    copyFileSync(join(root, "dist", file), join(place, addonFolder, file));
  const source = join(place, "use.ts");
  writeFileSync(
    source,
    `import { holdSignalsPath, native } from ${JSON.stringify(join(root, "src/system/native.ts"))};
     console.log(native.isTerminal({ fd: 99 }), holdSignalsPath);`,
  );
  const define = { "import.meta.dirname": "__dirname" };
  await build({
    entryPoints: [source],
    outfile: join(place, "use.cjs"),
    bundle: true,
    platform: "node",
    format: "cjs",
    define,
  });
  const { status, stdout, stderr } = spawnSync("node", [join(place, "use.cjs")], { encoding: "utf8", cwd: "/" });
  return { status, output: stdout + stderr };
}

test("beside the bundle", async () => {
  assert.deepEqual(await bundleIn("image", "."), {
    status: 0,
    output: `false ${join(folder, "image", "hold-signals.so")}\n`,
  });
});

test("in the folder of the architecture", async () => {
  const target = `linux-${process.arch}`;
  assert.deepEqual(await bundleIn("package", target), {
    status: 0,
    output: `false ${join(folder, "package", target, "hold-signals.so")}\n`,
  });
});

test("beside a pair for another architecture: both are taken from the own one's folder", async () => {
  const target = `linux-${process.arch}`;
  mkdirSync(join(folder, "both"));
  for (const file of ["einhorn.node", "hold-signals.so"])
    writeFileSync(join(folder, "both", file), "for another machine");
  assert.deepEqual(await bundleIn("both", target), {
    status: 0,
    output: `false ${join(folder, "both", target, "hold-signals.so")}\n`,
  });
});

test("nowhere: the error says where it was looked for", async () => {
  const { status, output } = await bundleIn("lost", "elsewhere");
  assert.equal(status, 1);
  for (const place of ["einhorn.node", `linux-${process.arch}/einhorn.node`]) {
    assert.ok(output.includes(`${join(folder, "lost", place)}: no such file`), output);
  }
  assert.match(output, /Copy the whole dist\/ folder/);
});
