/**
 * `npm run fuzz -- [TARGET|all] [SECONDS]`: looks for bytes that are neither answered nor refused in words, guided by what code they
 * reach (Jazzer.js, libFuzzer). Each session begins with the kept corpus; what it finds interesting is kept in .cache/fuzz/corpus, and
 * so is what makes a target fail. That becomes a file of test/fuzz/corpus and a named test, with its fix.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import path from "node:path";
import { build } from "esbuild";
import { targets } from "./targets.ts";

const root = path.join(import.meta.dirname, "../..");
const cache = path.join(root, ".cache/fuzz");
const [, , wanted = "all", seconds = "60"] = process.argv;
const names = wanted === "all" ? Object.keys(targets) : [wanted];
const unknown = names.find((name) => !(name in targets));
if (unknown !== undefined) {
  console.error(`fuzz: no target ${unknown}; there are: ${Object.keys(targets).join(", ")}`);
  process.exit(2);
}

// One file of CommonJS: what Jazzer.js can put its counters into.
const file = path.join(cache, "targets.cjs");
await build({
  stdin: {
    contents: `import { targets } from "./targets.ts"; export const { ${Object.keys(targets).join()} } = targets;`,
    resolveDir: import.meta.dirname,
  },
  outfile: file,
  bundle: true,
  platform: "node",
  format: "cjs",
  define: { "import.meta.dirname": "__dirname", "import.meta.filename": "__filename" },
  logLevel: "warning",
});

/** Watched by somebody it shows all; else what counts. */
const isWatched = process.stdout.isTTY;

let failed = 0;
for (const name of names) {
  const found = path.join(cache, "corpus", name);
  mkdirSync(found, { recursive: true });
  const { status, signal, stdout, stderr } = spawnSync(
    process.execPath,
    [
      ...["--require", path.join(import.meta.dirname, "older-libc.cjs")],
      path.join(root, "node_modules/@jazzer.js/core/dist/cli.js"),
      // New inputs go into the first folder.
      ...[file, found, path.join(import.meta.dirname, "corpus", name), "-f", name, "--timeout", "60000"],
      ...["-i", `${cache}/`, "-i", "node_modules/yaml/", "-e", "node_modules/@jazzer.js/"],
      // Detectors of dangerous calls: the targets say themselves what is wrong.
      ...["--disableBugDetectors", ".*"],
      ...["--", `-max_total_time=${seconds}`, `-artifact_prefix=${cache}/${name}-`, "-max_len=4096"],
    ],
    { stdio: isWatched ? "inherit" : "pipe", cwd: root, encoding: "utf8", maxBuffer: 2 ** 28 },
  );
  if (status === 0) {
    console.log(`fuzz: ${name}: ${/^Done .*$/m.exec(stderr ?? "")?.[0] ?? "done"}, nothing found`);
    continue;
  }
  failed += 1;
  if (!isWatched) console.error(`${stdout}${stderr}`.slice(-20_000));
  console.error(`fuzz: ${name} ended with ${status ?? signal}; what led to it is .cache/fuzz/${name}-*`);
}
process.exitCode = failed === 0 ? 0 : 1;
