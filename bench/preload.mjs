#!/usr/bin/env node
/**
 * What preloading saves: memory of eight workers, and the time from a worker's death until its successor has answered.
 * `node bench/preload.mjs [RUNS]` prints the table of docs/preloading.md. Needs `npm run build`, python3 and ruby.
 */
import { spawn } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const root = join(import.meta.dirname, "..");
const runs = Number(process.argv[2] ?? 15);
delete process.env.NODE_EXTRA_CA_CERTS;

const languages = [
  { name: "Python", file: "app.py", command: ["python3", "app.py"] },
  { name: "Ruby", file: "app.rb", command: ["ruby", "app.rb"] },
];

/** The report of whoever accepts next; asked again when that one was killed over it. */
async function ask(port) {
  for (;;) {
    const text = await answer(port);
    if (text !== "") return JSON.parse(text);
  }
}

function answer(port) {
  return new Promise((resolve, reject) => {
    let text = "";
    const socket = connect(port, "127.0.0.1");
    socket.on("data", (more) => {
      text += more;
    });
    socket.on("error", (error) => (error.code === "ECONNRESET" ? resolve("") : reject(error)));
    socket.on("close", () => resolve(text));
  });
}

async function withMaster({ file, command, count, ballastMiB, preload }, use) {
  const directory = mkdtempSync(join(tmpdir(), "einhorn-bench-"));
  cpSync(join(root, "test/fixtures/preload", file), join(directory, file));
  const options = ["-d", "s.sock", "-m", "0.05", "-s", "0.001", "-n", String(count), "-b", "127.0.0.1:0"];
  if (preload) options.push("-p", file, "--gc-before-fork");
  const master = spawn(process.execPath, [join(root, "dist/einhorn.cjs"), ...options, "--", ...command], {
    cwd: directory,
    env: { ...process.env, BALLAST_MIB: String(ballastMiB) },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  master.stderr.setEncoding("utf8").on("data", (text) => {
    log += text;
  });
  try {
    while (!/All \d+ workers are ready/.test(log)) await sleep(20);
    return await use(Number(/Listening on 127\.0\.0\.1:(\d+)/.exec(log)[1]));
  } finally {
    master.kill("SIGTERM");
    await new Promise((resolve) => master.on("exit", resolve));
    rmSync(directory, { recursive: true });
  }
}

const pssMiB = (pid) => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))[1]) / 1024;

async function memoryMiB(settings) {
  return withMaster(settings, async (port) => {
    const pids = new Set();
    while (pids.size < settings.count) {
      const { pid, loader } = await ask(port);
      pids.add(pid).add(loader);
      if (settings.preload) settings.count = 9;
    }
    return [...pids].map(pssMiB).reduce((sum, each) => sum + each, 0);
  });
}

async function startMs(settings) {
  return withMaster({ ...settings, count: 1 }, async (port) => {
    const times = [];
    for (let { pid } = await ask(port); times.length < runs; ) {
      await sleep(50);
      process.kill(pid, "SIGKILL");
      const killedAt = performance.now();
      ({ pid } = await ask(port));
      times.push(performance.now() - killedAt);
    }
    return times.sort((a, b) => a - b)[runs >> 1];
  });
}

console.log("| | executed | preloaded | |\n| --- | --- | --- | --- |");
for (const language of languages) {
  for (const ballastMiB of [0, 200]) {
    const [executed, forked] = [
      await startMs({ ...language, ballastMiB, preload: false }),
      await startMs({ ...language, ballastMiB, preload: true }),
    ];
    const what = ballastMiB === 0 ? "nothing but two or three modules" : `${ballastMiB} MiB of data`;
    const ratio = (executed / forked).toFixed(1);
    console.log(
      `| ${language.name}, start of a worker that loads ${what} | ${executed.toFixed(1)} ms | ${forked.toFixed(1)} ms | ${ratio} times faster |`,
    );
  }
  const one = await memoryMiB({ ...language, ballastMiB: 200, count: 1, preload: false });
  const executed = await memoryMiB({ ...language, ballastMiB: 200, count: 8, preload: false });
  const forked = await memoryMiB({ ...language, ballastMiB: 200, count: 8, preload: true });
  const times = (all) => `${all.toFixed(0)} MiB (${(all / one).toFixed(2)} times one)`;
  console.log(
    `| ${language.name}, memory of 8 workers with 200 MiB, zygote included | ${times(executed)} | ${times(forked)} | |`,
  );
}
