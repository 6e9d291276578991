#!/usr/bin/env node
/**
 * Proves the binaries of the npm package: each is loaded and used under every Node that targets.json names for its targets. What was proved
 * is kept in .cache/proved.json, by content, and not proved again. `node bundle/prove.mjs`; `build.mjs --all` calls it.
 */
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { needs, nodeFor, run } from "./nodes.mjs";

const root = join(import.meta.dirname, "..");
const record = join(root, ".cache/proved.json");
const smoke = join(import.meta.dirname, "smoke.mjs");
const host = join(import.meta.dirname, "musl-host.c");
const objects = ["einhorn.node", "hold-signals.so"];
const list = JSON.parse(readFileSync(join(root, "bundle/targets.json"), "utf8"));

/** Throws in words when the binary in `folder` does not work there, or what is needed to see it is missing. */
function proveUnderNode(target, major, folder) {
  const { command, env } = nodeFor(target, major);
  const { NODE_EXTRA_CA_CERTS, NODE_OPTIONS, LD_PRELOAD, ...ours } = process.env;
  run(command[0], [...command.slice(1), smoke, folder], {
    env: { ...ours, ...env, SMOKE_COMMAND: JSON.stringify(command) },
    timeout: 180_000,
  });
}

function proveUnderLoader(target, folder) {
  if (target !== "linux-arm64-musl") throw new Error(`there is no stand-in for a Node on ${target}`);
  const qemu = "/usr/bin/qemu-aarch64-static";
  needs({ [qemu]: "qemu-user-static", "/usr/bin/aarch64-linux-gnu-gcc": "g++-aarch64-linux-gnu" });
  const place = mkdtempSync(join(tmpdir(), "einhorn-musl-"));
  try {
    const musl = join(place, "root");
    run("bash", [join(root, "test/setup/foreign.sh"), "arm64", musl, "musl", "musl-dev"]);
    const lib = join(musl, "usr/lib/aarch64-linux-musl");
    const symbols = run("readelf", ["--wide", "--dyn-syms", join(folder, objects[0])]);
    const ofNode = new Set([...symbols.matchAll(/ UND ((?:napi|uv)_\w+)/g)].map(([, name]) => name));
    writeFileSync(join(place, "node.c"), [...ofNode].map((name) => `void ${name}(void) {}`).join("\n"));
    const program = join(place, "host");
    run("aarch64-linux-gnu-gcc", [
      ...[
        "-rdynamic",
        "-nostdinc",
        "-isystem",
        join(musl, "usr/include/aarch64-linux-musl"),
        "-nostdlib",
        "-o",
        program,
      ],
      ...[
        join(lib, "crt1.o"),
        join(lib, "crti.o"),
        host,
        join(place, "node.c"),
        join(musl, "lib/aarch64-linux-musl/libc.so"),
        join(lib, "crtn.o"),
      ],
      "-Wl,--dynamic-linker=/lib/ld-musl-aarch64.so.1",
    ]);
    run(qemu, ["-L", musl, program, ...objects.map((name) => join(folder, name))]);
    run(qemu, ["-L", musl, "-E", `LD_PRELOAD=${join(folder, objects[1])}`, program]);
  } finally {
    rmSync(place, { recursive: true });
  }
}

function readRecord() {
  try {
    return JSON.parse(readFileSync(record, "utf8"));
  } catch {
    return {};
  }
}

function keep(proved) {
  mkdirSync(join(root, ".cache"), { recursive: true });
  writeFileSync(`${record}.${process.pid}`, JSON.stringify(proved, null, 2));
  renameSync(`${record}.${process.pid}`, record);
}

/** What is not proved of the binaries in `dist`/<binary>/, one sentence each; empty when all is. The rest is for tests: in place of targets.json. */
export function prove({ dist = join(root, "dist"), targets = list.targets, provedUnder = list.provedUnder } = {}) {
  const proved = readRecord();
  const faults = [];
  for (const [target, binary] of Object.entries(targets)) {
    const folder = join(dist, binary);
    const hash = createHash("sha256");
    try {
      for (const file of [...objects.map((name) => join(folder, name)), smoke, host]) hash.update(readFileSync(file));
    } catch (error) {
      faults.push(`${target}: ${error.message}`);
      continue;
    }
    const content = hash.digest("hex");
    for (const proof of provedUnder[target] ?? []) {
      const name = `${target} under ${proof}`;
      if (proved[name] === content) continue;
      try {
        const [kind, major] = proof.split(" ");
        if (kind === "node") proveUnderNode(target, major, folder);
        else proveUnderLoader(target, folder);
        proved[name] = content;
        keep(proved);
        console.log(`prove: ${name}: works`);
      } catch (error) {
        faults.push(`${name}: ${error.message}`);
      }
    }
    if (!provedUnder[target]?.length)
      faults.push(`${target}: bundle/targets.json names nothing that it is proved under`);
  }
  return faults;
}

if (process.argv[1] === import.meta.filename) {
  const faults = prove();
  for (const fault of faults) console.error(`prove: ${fault}`);
  process.exitCode = faults.length > 0 ? 1 : 0;
}
