/** What every row needs: the C programs, a master under test with its stamps, figures of a process, statistics. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export { sleep };
export const root = join(import.meta.dirname, "..");
export const cache = join(root, ".cache", "bench");
/** The environment for what goes to the network. */
export const networkEnv = { ...process.env };
/** A corporate bundle of certificates costs every start of Node 30 ms and more: it would hide what is measured. */
delete process.env.NODE_EXTRA_CA_CERTS;

const sources = ["worker", "load", "tool"];
export const programs = Object.fromEntries(sources.map((name) => [name, join(cache, name)]));
export const einhorn = join(root, "dist", "einhorn.cjs");
/** The Node that runs einhorn and is its measure: BENCH_NODE, else the one that runs this. */
export const node = process.env.BENCH_NODE ?? process.execPath;
// einhorn's first line asks the PATH for node.
process.env.PATH = `${dirname(node)}:${process.env.PATH}`;

export function compile() {
  mkdirSync(cache, { recursive: true });
  for (const name of sources) {
    const source = join(root, "bench", "native", `${name}.c`);
    if (existsSync(programs[name]) && statSync(programs[name]).mtimeMs > statSync(source).mtimeMs) continue;
    execFileSync("gcc", ["-O2", "-Wall", "-Wextra", "-o", programs[name], source], { stdio: "inherit" });
  }
}

/** What a start on this Node loads instead of compiling it, as in an image that was made for it. */
export function compileCache(program) {
  execFileSync(program, [join(root, "dist", "compile-cache.cjs")], { stdio: ["ignore", "ignore", "inherit"] });
}

/** A directory of one run, removed by the master's stop(). */
export function scratch() {
  mkdirSync(join(cache, "runs"), { recursive: true });
  return mkdtempSync(join(cache, "runs", "r"));
}

export function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

export const nowNs = () => Number(process.hrtime.bigint());

/** Waits for a fact. Throws with `what` when it does not come. */
export async function until(what, fact, { withinMs = 30_000, everyMs = 2 } = {}) {
  for (const end = Date.now() + withinMs; ; await sleep(everyMs)) {
    const value = await fact();
    if (value) return value;
    if (Date.now() > end) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
  }
}

/** A supervisor under test, running `n` workers. */
export class Master {
  static async start(peer, o = {}) {
    const dir = scratch();
    const options = { n: 1, port: await freePort(), dir, args: [], ...o };
    const master = new Master();
    master.peer = peer;
    master.dir = dir;
    master.port = options.port;
    master.n = options.n;
    master.stampFile = join(dir, "stamps");
    const { command, env = {} } = await peer.start({
      ...options,
      worker: programs.worker,
      stampFile: master.stampFile,
    });
    const log = openSync(join(dir, "log"), "a");
    master.process = spawn(programs.tool, ["launch", ...command], {
      cwd: dir,
      env: { ...process.env, BENCH_STAMP: master.stampFile, ...env, ...o.env },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    master.ended = new Promise((resolve) => master.process.on("exit", (code, signal) => resolve({ code, signal })));
    master.pid = master.process.pid;
    if (o.wait !== false) await master.untilStamps(2, options.n);
    return master;
  }

  /** {at, pid, kind} oldest first; kind 0 is the launch, 1 a worker's beginning, 2 its being ready. */
  stamps(kind) {
    if (!existsSync(this.stampFile)) return [];
    const bytes = readFileSync(this.stampFile);
    const all = [];
    for (let i = 0; i + 16 <= bytes.length; i += 16) {
      all.push({
        at: Number(bytes.readBigUInt64LE(i)),
        pid: bytes.readUInt32LE(i + 8),
        kind: bytes.readUInt32LE(i + 12),
      });
    }
    return kind === undefined ? all : all.filter((stamp) => stamp.kind === kind);
  }

  async untilStamps(kind, count, o) {
    const size = () => (existsSync(this.stampFile) ? statSync(this.stampFile).size / 16 : 0);
    const facts = () => size() >= count && this.stamps(kind).length >= count;
    try {
      await until(`${count} stamps of kind ${kind} from ${this.peer.name}`, facts, o);
    } catch (error) {
      throw new Error(`${error.message} (there are ${this.stamps(kind).length})\n${this.log().slice(-600)}`);
    }
    return this.stamps(kind);
  }

  log() {
    return readFileSync(join(this.dir, "log"), "utf8");
  }

  get socket() {
    return join(this.dir, "einhorn.sock");
  }

  /** Ends what was started, by its ids: the master, and workers that it left. */
  async stop() {
    const pids = new Set(this.stamps().map(({ pid }) => pid));
    signal(this.pid, this.peer.stopSignal ?? "SIGTERM");
    const inTime = await Promise.race([this.ended, sleep(10_000, null)]);
    if (inTime === null) signal(this.pid, "SIGKILL");
    await this.ended;
    for (const pid of pids) if (isOurs(pid, this.stampFile)) signal(pid, "SIGKILL");
    rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** A pid may belong to somebody else by now: only a process with our stamp file in its environment is ours. */
function isOurs(pid, stampFile) {
  return readOr(`/proc/${pid}/environ`, "").includes(stampFile);
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch {
    // Gone already.
  }
}

export function readOr(file, otherwise) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return otherwise;
  }
}

/** MB of 10^6 bytes, threads, voluntary context switches of all threads, CPU ms. */
export function figuresOf(pid) {
  const status = readOr(`/proc/${pid}/status`, "");
  const field = (name) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN);
  let wakeups = 0;
  let cpuNs = 0;
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const own = readOr(`/proc/${pid}/task/${task}/status`, "");
    wakeups += Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(own)?.[1] ?? 0);
    cpuNs += Number(readOr(`/proc/${pid}/task/${task}/schedstat`, "0").split(" ")[0]);
  }
  const megabytes = (name) => (field(name) * 1024) / 1e6;
  return {
    rss: megabytes("VmRSS"),
    anonymous: megabytes("RssAnon"),
    threads: field("Threads"),
    wakeups,
    cpuMs: cpuNs / 1e6,
  };
}

/** Wall time of a command from fork to its end, in ms. */
export function timed(...command) {
  const { stdout, status, stderr } = spawnSync(programs.tool, ["timed", ...command], { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command.join(" ")}: exit ${status}\n${stdout}${stderr}`);
  return Number(stdout.trim().split("\n").at(-1)) / 1e6;
}

/** `node -e 0`, the unit of many rows, in ms: taken beside what it is compared with. */
export const nodeStart = () => timed(node, "-e", "0");

/** Runs the load; resolves with its report. stop() ends it early. */
export function load(port, { seconds, concurrency = 8, rate = 0 }) {
  const child = spawn(programs.load, [port, seconds, concurrency, rate].map(String), {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const chunks = [];
  child.stdout.on("data", (chunk) => chunks.push(chunk));
  const report = new Promise((resolve) =>
    child.on("close", () => resolve(JSON.parse(Buffer.concat(chunks).toString()))),
  );
  const stop = () => {
    child.kill("SIGTERM");
    return report;
  };
  return { report, stop };
}

/** The tool's JSON or number. Not synchronous: the masters' ends are to be seen meanwhile. */
export function tool(...args) {
  return new Promise((resolve, reject) => {
    const child = spawn(programs.tool, args.map(String), { stdio: ["ignore", "pipe", "inherit"] });
    const chunks = [];
    child.stdout.on("data", (chunk) => chunks.push(chunk));
    child.on("close", (code) => {
      if (code === 0) resolve(JSON.parse(Buffer.concat(chunks).toString()));
      else reject(new Error(`tool ${args.slice(0, 2).join(" ")}: exit ${code}`));
    });
  });
}

/** Has the machine's host give free memory back that it took, so that nobody pays for that in what is measured next. */
export const claimMemory = () => tool("claim", 96);

/** One command on the command socket; resolves with the last reply. */
export async function command(path, request) {
  const { connect } = await import("node:net");
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = "";
    socket.on("error", reject);
    socket.on("close", () => reject(new Error(`no last reply to ${JSON.stringify(request)}: ${text}`)));
    socket.on("data", (chunk) => {
      text += chunk;
      const last = text
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line))
        .find((reply) => !reply.wait);
      if (last === undefined) return;
      socket.end();
      resolve(last);
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median and the range of what was seen. */
export function summary(values) {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values), runs: values.length };
}
