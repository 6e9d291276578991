/**
 * The built product, run as its users run it: `node dist/einhorn.cjs OPTIONS -- PROGRAM`, each with a directory, a command socket and
 * ports of its own.
 *
 * Tests wait for facts here: a line in the log, a state of the pool, an exit. When the test ends, everything that the master started is
 * killed, found by a mark in the environment (orphans have other parents); when it failed, the log is printed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { killMarked, MARK } from "./processes.ts";
import { ask, type Reply } from "./wire.ts";

export const root = path.resolve(import.meta.dirname, "../..");
const dist = path.join(root, "dist");
/** Longer than anything here takes on a busy machine; only a failing test waits this long. */
const PATIENCE_MS = 60_000;

export interface StartOptions {
  /** Einhorn's options; `-d` is added. */
  readonly args?: readonly string[];
  readonly program: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** The Node that runs the master. Default: `node` of the PATH, the one a user has. */
  readonly node?: string;
  readonly cwd?: string;
  /** The program. Default: the one in dist/. */
  readonly einhorn?: string;
  /** A command that the master is started through, such as `["setpriv", "--reuid", "1000"]`. */
  readonly through?: readonly string[];
  /** What starting waits for: all workers ready (default), the command socket answering, or nothing. */
  readonly until?: "ready" | "running" | "nothing";
}

export interface Finished {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The parts of `status --json` that tests look at. */
export interface Status {
  readonly pid: number;
  readonly mode: string;
  readonly generation: number;
  readonly ready: number;
  readonly number: number;
  readonly reexecs: number;
  readonly crashes: number;
  readonly orphansReaped: number;
  readonly lastUpgrade: { generation: number; result: "done" | "failed"; reason: string | null } | null;
  readonly sockets: readonly { address: string; port: number | null; workerFd: number }[];
  readonly workers: readonly WorkerStatus[];
  readonly recentDeaths: readonly {
    slot: number;
    generation: number;
    wasReady: boolean;
    expected: boolean;
    text: string;
  }[];
}

export interface WorkerStatus {
  readonly pid: number | null;
  readonly slot: number;
  readonly generation: number;
  readonly phase: "spawning" | "starting" | "ready" | "told" | "killed";
  readonly signals: readonly string[];
}

/** Another build of the addon under the same tests; it needs the `node` that test/setup/sanitize.sh puts first in the PATH. */
const testAddon = process.env.EINHORN_TEST_ADDON;
const nodeOf = (options: { node?: string }) => (testAddon === undefined && options.node) || "node";

/** Runs a program of dist/ to its end. */
export async function run(
  program: "einhorn" | "einhornsh",
  args: readonly string[],
  options: {
    env?: Readonly<Record<string, string>>;
    cwd?: string;
    node?: string;
    input?: string;
    through?: readonly string[];
  } = {},
): Promise<Finished> {
  const command = [...(options.through ?? []), nodeOf(options), path.join(dist, `${program}.cjs`), ...args];
  const child = spawn(command[0] as string, command.slice(1), {
    env: environment(options.env),
    ...(options.cwd ? { cwd: options.cwd } : {}),
  });
  const output = collect(child);
  // EPIPE: it ended without reading.
  child.stdin?.on("error", () => {}).end(options.input ?? "");
  const deadline = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
  const [code, signal] = await exitOf(child);
  clearTimeout(deadline);
  return { code, signal, ...output.text() };
}

export class Master {
  readonly pid: number;
  readonly directory: string;
  readonly sockPath: string;
  readonly exited: Promise<Finished>;
  readonly #output: Output;
  #ended = false;

  constructor(child: ChildProcess, directory: string, sockPath: string) {
    this.pid = child.pid ?? Number.NaN;
    this.directory = directory;
    this.sockPath = sockPath;
    this.#output = collect(child);
    this.exited = exitOf(child).then(([code, signal]) => {
      this.#ended = true;
      this.#output.wake();
      return { code, signal, ...this.#output.text() };
    });
  }

  /** Everything written to stderr so far: the master's log, and what workers say. */
  log(): string {
    return this.#output.text().stderr;
  }

  stdout(): string {
    return this.#output.text().stdout;
  }

  /** Waits until stderr has a match at or after `from` (an earlier log's length); returns it. */
  async waitForLog(pattern: RegExp, from = 0): Promise<RegExpExecArray> {
    const giveUpAt = Date.now() + PATIENCE_MS;
    for (;;) {
      const match = pattern.exec(this.log().slice(from));
      if (match) return match;
      if (this.#ended) throw new Error(`the master ended, and nothing in its log matches ${pattern}`);
      await this.#output.more(giveUpAt, () => `nothing in the log matches ${pattern}`);
    }
  }

  /** Runs einhornsh against this master. */
  sh(...words: string[]): Promise<Finished> {
    return run("einhornsh", ["-d", this.sockPath, ...words]);
  }

  /** One command on the command socket without a process in between: the last reply. */
  ask(command: string, ...args: (string | number)[]): Promise<Reply> {
    return ask(this.sockPath, { command, args });
  }

  async status(): Promise<Status> {
    return (await this.ask("status")).data as Status;
  }

  /** The answer to `state`, YAML text in the Ruby program's form. */
  async state(): Promise<string> {
    return (await this.ask("state")).message;
  }

  /** Waits until the status is as asked; returns that status. */
  async until(wanted: (status: Status) => boolean, what = String(wanted)): Promise<Status> {
    const giveUpAt = Date.now() + PATIENCE_MS;
    for (;;) {
      const status = await this.status();
      if (wanted(status)) return status;
      if (Date.now() > giveUpAt)
        throw new Error(`still not so: ${what}; the status is ${JSON.stringify(status, null, 1)}`);
      await sleep(20);
    }
  }

  /** Waits until nobody older is left: an upgrade answers while the last old workers finish, and they may still take requests. */
  onlyGeneration(generation: number): Promise<Status> {
    return this.until(({ workers }) => workers.every((worker) => worker.generation === generation));
  }

  async workers(): Promise<readonly WorkerStatus[]> {
    return (await this.status()).workers;
  }

  /** The port of the nth bind. */
  async port(number = 0): Promise<number> {
    const port = (await this.status()).sockets[number]?.port;
    if (typeof port !== "number") throw new Error(`bind ${number} has no port`);
    return port;
  }

  kill(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** SIGTERM, and the master's end. */
  stop(): Promise<Finished> {
    this.kill("SIGTERM");
    return this.ended();
  }

  /** The master's end; fails if it does not come. */
  async ended(): Promise<Finished> {
    const late = new AbortController();
    const outcome = await Promise.race([this.exited, sleep(PATIENCE_MS, null, { signal: late.signal, ref: false })]);
    late.abort();
    if (outcome === null) throw new Error("the master does not end");
    return outcome;
  }

  get hasEnded(): boolean {
    return this.#ended;
  }
}

export async function startMaster(t: TestContext, options: StartOptions): Promise<Master> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-e2e-"));
  fs.chmodSync(directory, 0o755);
  const sockPath = path.join(directory, "s.sock");
  const mark = randomUUID();
  const command = [
    ...(options.through ?? []),
    nodeOf(options),
    options.einhorn ?? path.join(dist, "einhorn.cjs"),
    ...["-d", sockPath, ...(options.args ?? []), "--", ...options.program],
  ];
  const child = spawn(command[0] as string, command.slice(1), {
    stdio: ["ignore", "pipe", "pipe"],
    // A session of its own, by which its processes are found at the end.
    detached: true,
    cwd: options.cwd ?? directory,
    env: { ...environment(options.env), TMPDIR: directory, [MARK]: mark },
  });
  const master = new Master(child, directory, sockPath);
  t.after(async () => {
    killMarked(mark, master.pid);
    await master.exited;
    if (!(t as TestContext & { passed: boolean }).passed) {
      process.stderr.write(`--- log of the master of "${t.name}":\n${master.log().slice(-20_000)}\n---\n`);
    }
    fs.rmSync(directory, { recursive: true, force: true });
  });
  const until = options.until ?? "ready";
  if (until !== "nothing") await answering(master);
  if (until === "ready") {
    const late = new AbortController();
    const giveUp = sleep(PATIENCE_MS, null, { signal: late.signal, ref: false });
    giveUp.catch(() => {});
    const reply = await Promise.race([master.ask("wait"), giveUp]);
    late.abort();
    if (reply === null || reply.error)
      throw new Error(`the workers did not become ready: ${reply?.message ?? "no answer"}`);
  }
  return master;
}

async function answering(master: Master): Promise<void> {
  while (!master.hasEnded) {
    const reply = await master.ask("ehlo").catch(() => null);
    if (reply) return;
    await sleep(10);
  }
  throw new Error("the master ended at its start");
}

/** Ours, without what changes a Node's start or would pass for a master of our own. */
function environment(extra: Readonly<Record<string, string>> = {}): Record<string, string> {
  const env: Record<string, string> = {};
  for (const [name, value] of Object.entries(process.env)) {
    const foreign = /^(NODE_|EINHORN_|LISTEN_|NOTIFY_|SERVER_STARTER_)/.test(name);
    if (!foreign && value !== undefined) env[name] = value;
  }
  return { ...env, ...(testAddon === undefined ? {} : { EINHORN_ADDON: testAddon }), ...extra };
}

interface Output {
  text(): { stdout: string; stderr: string };
  /** Resolves when more came or the process ended; rejects with `complaint` when it is too late. */
  more(giveUpAt: number, complaint: () => string): Promise<void>;
  wake(): void;
}

function collect(child: ChildProcess): Output {
  const text = { stdout: "", stderr: "" };
  let waiting: (() => void)[] = [];
  const wake = (): void => {
    for (const resolve of waiting.splice(0)) resolve();
  };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (more: string) => {
      text[name] += more;
      wake();
    });
  }
  return {
    text: () => ({ ...text }),
    wake,
    more: (giveUpAt, complaint) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          waiting = waiting.filter((other) => other !== settle);
          reject(new Error(complaint()));
        }, giveUpAt - Date.now());
        const settle = (): void => {
          clearTimeout(timer);
          resolve();
        };
        waiting.push(settle);
      }),
  };
}

/** `exit`, not `close`: orphans may hold the pipes for ever. What the program itself left in them is waited for. */
async function exitOf(child: ChildProcess): Promise<[number | null, NodeJS.Signals | null]> {
  const closed = once(child, "close");
  closed.catch(() => {});
  const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
  await Promise.race([closed, sleep(500, null, { ref: false })]);
  return [code, signal];
}

/** The path of a worker in test/fixtures. */
export function fixture(name: string): string {
  return path.join(root, "test/fixtures", name);
}

/** Lines of the log with `--log-format json`; what workers wrote between them is left out. */
export function logLines(log: string): Record<string, unknown>[] {
  return log.split("\n").flatMap((line) => (line.startsWith("{") && line.endsWith("}") ? [JSON.parse(line)] : []));
}

/** One request on a connection of its own; the body, or an error when no whole reply comes. */
export async function get(port: number, path = "/", host = "127.0.0.1"): Promise<string> {
  const { default: http } = await import("node:http");
  return new Promise((resolve, reject) => {
    const request = http.get({ host, port, path, agent: false }, (response) => {
      let body = "";
      response.setEncoding("utf8").on("data", (text: string) => {
        body += text;
      });
      response.on("error", reject).on("end", () => resolve(body));
    });
    request.on("error", reject);
  });
}

/** Waits until the file exists and gives its text. */
export async function appears(file: string): Promise<string> {
  const giveUpAt = Date.now() + PATIENCE_MS;
  while (!fs.existsSync(file)) {
    if (Date.now() > giveUpAt) throw new Error(`${file} does not appear`);
    await sleep(10);
  }
  return fs.readFileSync(file, "utf8");
}
