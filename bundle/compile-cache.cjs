#!/usr/bin/env node
"use strict";
/**
 * `node compile-cache.cjs`: writes what this Node needs to start einhorn.cjs and einhornsh.cjs beside it without compiling
 * them: einhorn.cjs.<version>.cache and einhornsh.cjs.<version>.cache. Nothing depends on them but the time of a start.
 *
 * V8 keeps what has been compiled, which is what has run: so they are run once, through a start, a worker's end and an upgrade.
 */
const { spawn } = require("node:child_process");
const { mkdtempSync, renameSync, rmSync, writeFileSync } = require("node:fs");
const { tmpdir } = require("node:os");
const { join } = require("node:path");

const image = process.env.EINHORN_COMPILE;

/** What this process is: einhorn or einhornsh, which leaves at its end all that it and those before it have compiled. */
function runImage() {
  const { program, run, cacheFile, heading } = require(join(__dirname, image));
  process.on("exit", () => {
    const data = program.createCachedData();
    // Aside and renamed: others may read it meanwhile.
    writeFileSync(`${cacheFile}.${process.pid}`, Buffer.concat([Buffer.from(heading()), data, data]));
    renameSync(`${cacheFile}.${process.pid}`, cacheFile);
  });
  const { dlopen } = process;
  process.dlopen = (module, ...rest) => {
    dlopen(module, ...rest);
    // V8 takes no cache that was made under other flags than it is loaded under, and these are set after that (src/system/engine.ts).
    module.exports.setEngineFlag = () => {};
  };
  run();
}

/** Runs one of them; resolves at its end, throws unless it ended well. */
async function use(program, ...args) {
  const env = { ...process.env, EINHORN_COMPILE: program };
  const child = spawn(process.execPath, [...process.execArgv, __filename, ...args], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk) => {
    said += chunk;
  });
  const code = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: exit code ${code}\n${said}`);
}

/** Nobody is there at first. */
async function untilItWorks(attempt) {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (tries === 100) throw error;
    }
  }
}

async function main() {
  const folder = mkdtempSync(join(tmpdir(), "einhorn-compile-"));
  try {
    const socket = join(folder, "s");
    const options = ["-d", socket, "-b", "127.0.0.1:0", "-m", "0.01", "-s", "0.01"];
    const shell = (...command) => use("einhornsh.cjs", "-d", socket, "--timeout", "60", ...command);
    await use("einhorn.cjs", "--no-respawn", ...options, "--", process.execPath, "-e", "setTimeout(() => {}, 50)");
    const master = use("einhorn.cjs", ...options, "--", process.execPath, "-e", "setTimeout(() => {}, 60_000)");
    await Promise.race([master, untilItWorks(() => shell("ready"))]);
    await shell("upgrade");
    await shell("die");
    await master;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (image === undefined) {
  main().catch((error) => {
    console.error(`compile-cache: ${error.message}`);
    process.exitCode = 1;
  });
} else runImage();
