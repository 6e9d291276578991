#!/usr/bin/env node
/**
 * `npm run fuzz -- [SECONDS [TARGET...]]`: coverage-guided fuzzing (Jazzer.js, libFuzzer) of test/fuzz/targets.ts, from and into the kept
 * corpus. Jazzer.js comes as a binary for glibc 2.38 and later (Debian 13, Ubuntu 24.04). What breaks a target is left in test/fuzz/crashes/ and fails the corpus test once it is moved into the corpus.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";

const here = import.meta.dirname;
const root = join(here, "../..");
const work = join(root, ".cache/fuzz");
const [seconds = "60", ...chosen] = process.argv.slice(2);
const names = chosen.length > 0 ? chosen : readdirSync(join(here, "corpus"));
// EINHORN_JAZZER: the folder of another installation.
const jazzer = createRequire(process.env.EINHORN_JAZZER ?? import.meta.url).resolve("@jazzer.js/core");

for (const name of names) {
  mkdirSync(join(here, "crashes"), { recursive: true });
  const outfile = join(work, `${name}.cjs`);
  await build({
    stdin: {
      contents: `import { targets } from "./targets.ts"; export const fuzz = targets[${JSON.stringify(name)}];`,
      resolveDir: here,
    },
    outfile,
    bundle: true,
    format: "cjs",
    platform: "node",
    target: "node20",
    // Only our own code is instrumented; the libraries are taken as they are.
    external: ["yaml", "commander"],
    define: { "import.meta.dirname": "__dirname" },
    logLevel: "error",
  });
  const fuzzer = [`-max_total_time=${seconds}`, "-max_len=4096", `-artifact_prefix=${join(here, "crashes")}/${name}-`];
  const options = ["--includes", ".cache/fuzz", "--excludes", "node_modules", "--disable_bug_detectors", ".*"];
  const args = [join(jazzer, "../cli.js"), outfile, join(here, "corpus", name), ...options, "--", ...fuzzer];
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: "inherit" });
  if (status !== 0) process.exitCode = 1;
}
