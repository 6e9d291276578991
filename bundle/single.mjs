/**
 * `npm run single`: einhorn and einhornsh as one executable that has Node in it, for images without Node, in build/single/ as it is to lie below
 * /usr/local. The addon, hold-signals.so and the zygotes stay files beside it: nothing that is executable can be written in a container
 * with a read-only root, not even to memory, before the addon is loaded.
 */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./nodes.mjs";

const root = join(import.meta.dirname, "..");
const fuse = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";
const beside = ["einhorn.node", "hold-signals.so", "zygote.py", "zygote.rb"];

/** Called as einhornsh it is einhornsh, whatever it is a link to. Where it is, is where its other files are. */
const entry = `
if (require("node:path").basename(process.argv0) === "einhornsh") require("./src/einhornsh.ts");
else require("./src/main.ts");
`;
const place = "EINHORN_PLACE";

/** `node`: the binary to put it into. `dist`: where the build left the addon. `settings`: esbuild's, as for the bundles. */
export async function single({ node, dist, settings }) {
  const { build } = await import("esbuild");
  const work = mkdtempSync(join(tmpdir(), "einhorn-single-"));
  try {
    const main = join(work, "main.cjs");
    await build({
      ...settings,
      stdin: { contents: entry, resolveDir: root, sourcefile: "single.cjs" },
      outfile: main,
      format: "cjs",
      supported: { "dynamic-import": false },
      banner: { js: `const ${place} = require("node:path").dirname(process.execPath);` },
      define: {
        "import.meta.dirname": place,
        "import.meta.filename": "process.execPath",
        "globalThis.EINHORN_IS_SINGLE": "true",
      },
    });
    const blob = join(work, "einhorn.blob");
    const config = { main, output: blob, disableExperimentalSEAWarning: true, useCodeCache: true };
    writeFileSync(join(work, "sea.json"), JSON.stringify(config));
    run(node, ["--experimental-sea-config", join(work, "sea.json")]);
    const program = join(work, "einhorn");
    run("strip", ["-s", "-o", program, node]);
    const postject = join(root, "node_modules/postject/dist/cli.js");
    run(node, [postject, program, "NODE_SEA_BLOB", blob, "--sentinel-fuse", fuse]);
    chmodSync(program, 0o755);

    const out = join(root, "build/single");
    rmSync(out, { recursive: true, force: true });
    mkdirSync(join(out, "bin"), { recursive: true });
    mkdirSync(join(out, "lib/einhorn"), { recursive: true });
    cpSync(program, join(out, "lib/einhorn/einhorn"));
    for (const file of beside) cpSync(join(dist, file), join(out, "lib/einhorn", file));
    for (const name of ["einhorn", "einhornsh"]) symlinkSync("../lib/einhorn/einhorn", join(out, "bin", name));
    console.log(`build: build/single/lib/einhorn/einhorn ${statSync(program).size} bytes`);
  } finally {
    rmSync(work, { recursive: true });
  }
}
