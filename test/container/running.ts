/** A running container of the product, as the tests see it: its ports, its commands, its log, its end. */
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { ExecResult, getContainerRuntimeClient, StartedTestContainer } from "testcontainers";
import type { Status } from "../support/master.ts";
import { until } from "../support/until.ts";

type Runtime = Awaited<ReturnType<typeof getContainerRuntimeClient>>;
type Dockerode = Runtime["container"]["dockerode"];
export type DockerContainer = ReturnType<Dockerode["getContainer"]>;
export type Inspection = Awaited<ReturnType<DockerContainer["inspect"]>>;

export const HTTP_PORT = 8080;

/** The code that workers run: a directory mounted at /release, whose file `version` the worker reads at its start. */
export class Release {
  readonly directory: string;

  constructor(version: string) {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-release-"));
    fs.chmodSync(this.directory, 0o755);
    this.set(version);
  }

  set(version: string): void {
    fs.writeFileSync(path.join(this.directory, "version"), version, { mode: 0o644 });
  }
}

export class Einhorn implements AsyncDisposable {
  readonly id: string;
  readonly release: Release;
  readonly #started: StartedTestContainer;
  readonly docker: DockerContainer;

  constructor(started: StartedTestContainer, docker: DockerContainer, release: Release) {
    this.#started = started;
    this.docker = docker;
    this.release = release;
    this.id = started.getId();
  }

  get host(): string {
    return this.#started.getHost();
  }

  /** The port on this machine behind which the container's `port` is. */
  port(port = HTTP_PORT): number {
    return this.#started.getMappedPort(port);
  }

  /** The reply to one request on a connection of its own; rejects when it does not come whole. */
  get(path: string, port = HTTP_PORT): Promise<Reply> {
    return this.ask(path, port).reply;
  }

  /** The same in two steps: `begun` resolves when a worker has sent the head of its reply, so has the request. Both reject alike. */
  ask(path: string, port = HTTP_PORT): { begun: Promise<void>; reply: Promise<Reply> } {
    let begin: () => void = () => {};
    let fail: (error: Error) => void = () => {};
    const begun = new Promise<void>((resolve, reject) => {
      begin = resolve;
      fail = reject;
    });
    // Not everybody waits for it.
    begun.catch(() => {});
    const reply = new Promise<Reply>((resolve, reject) => {
      const broken = (error: Error): void => {
        fail(error);
        reject(error);
      };
      const request = http.get({ host: this.host, port: this.port(port), path, agent: false }, (response) => {
        let body = "";
        begin();
        response.on("data", (text) => {
          body += text;
        });
        response.on("error", broken);
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body }));
      });
      request.on("error", broken);
    });
    return { begun, reply };
  }

  exec(command: string[]): Promise<ExecResult> {
    return this.#started.exec(command);
  }

  einhornsh(...words: string[]): Promise<ExecResult> {
    return this.exec(["einhornsh", ...words]);
  }

  async status(): Promise<Status> {
    const { exitCode, stdout, output } = await this.einhornsh("--json", "status");
    if (exitCode !== 0) throw new Error(`einhornsh status exited with ${exitCode}: ${output}`);
    return JSON.parse(stdout) as Status;
  }

  /** Waits until nobody older is left: an upgrade answers while the last old workers finish, and they may still take requests. */
  async untilOnlyGeneration(generation: number): Promise<void> {
    await until(
      `only workers of generation ${generation}`,
      async () => (await this.status()).workers.every((worker) => worker.generation === generation),
      () => this.logs(),
    );
  }

  /** Waits until `einhornsh ready` says so; fails with the container's log when it has ended or a minute is over. */
  async untilReady(): Promise<void> {
    for (let tries = 0; tries < 600; tries += 1) {
      const running = (await this.inspect()).State.Running;
      // exec is refused in a container that ended just now.
      const answer = running ? await this.einhornsh("ready").catch(() => undefined) : undefined;
      if (answer?.exitCode === 0) return;
      if (!running) break;
      await sleep(100);
    }
    throw new Error(`einhorn did not become ready. Its log:\n${await this.logs()}`);
  }

  inspect(): Promise<Inspection> {
    return this.docker.inspect();
  }

  /** Everything written to stdout and stderr so far. */
  async logs(): Promise<string> {
    const { Config } = await this.inspect();
    const raw = (await this.docker.logs({ stdout: true, stderr: true, follow: false })) as Buffer;
    return Config.Tty ? raw.toString() : withoutFrames(raw);
  }

  /** Waits until the log has a match. */
  async untilLogged(pattern: RegExp): Promise<void> {
    await until(
      `${pattern} in the log`,
      async () => pattern.test(await this.logs()),
      () => this.logs(),
    );
  }

  kill(signal: string): Promise<unknown> {
    return this.docker.kill({ signal });
  }

  /** As `docker stop -t`: SIGTERM, after `timeoutS` SIGKILL. Resolves when the container has ended. */
  async stop(timeoutS = 30): Promise<Ended> {
    const since = performance.now();
    await this.docker.stop({ t: timeoutS });
    return { ...(await this.ended()), seconds: (performance.now() - since) / 1000 };
  }

  /** Resolves when the container has ended by itself. */
  async ended(): Promise<Ended> {
    const since = performance.now();
    await this.docker.wait();
    const { State } = await this.inspect();
    return { exitCode: State.ExitCode, oomKilled: State.OOMKilled, seconds: (performance.now() - since) / 1000 };
  }

  /** Waits until the engine's health check says so. */
  async untilHealth(wanted: "healthy" | "unhealthy"): Promise<void> {
    await until(
      `health to be ${wanted}`,
      async () => (await this.inspect()).State.Health?.Status === wanted,
      () => this.logs(),
    );
  }

  /** Waits until a process with this command line runs, not stopped, in the container. */
  async untilRunning(commandLine: string): Promise<void> {
    const find = `for p in /proc/[0-9]*; do
      [ "$(tr '\\0' ' ' < $p/cmdline 2>/dev/null)" = '${commandLine} ' ] && grep -q '^State:.[SR]' $p/status && exit 0; done; exit 1`;
    await until(
      `${commandLine} to run`,
      async () => (await this.exec(["sh", "-c", find])).exitCode === 0,
      () => this.logs(),
    );
  }

  /** The keyboard and screen of a container started with `terminal`. */
  async terminal(): Promise<Terminal> {
    const stream = await this.docker.attach({ stream: true, stdin: true, stdout: true, logs: true, hijack: true });
    // As the docker client does; a terminal without a size keeps line editors from drawing.
    await this.docker.resize({ h: 24, w: 80 });
    return new Terminal(stream);
  }

  /** Processes that have ended and that nobody has waited for. */
  async zombies(): Promise<number> {
    const count = "cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z'";
    return Number((await this.exec(["sh", "-c", count])).stdout);
  }

  /** Its own IP address; it may change when the container is started again. */
  async address(): Promise<string> {
    return (await this.inspect()).NetworkSettings.Networks.bridge?.IPAddress ?? "";
  }

  /** What identifies PID 1: kept by a re-exec, changed by anything else. Field 22 of stat is its start time (proc_pid_stat(5)). */
  async identity(): Promise<string> {
    const stat = (await this.exec(["cat", "/proc/1/stat"])).stdout;
    const { State } = await this.inspect();
    return `${stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]} ${State.Pid} ${State.StartedAt}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.docker.remove({ force: true, v: true });
    fs.rmSync(this.release.directory, { recursive: true, force: true });
  }
}

export class Terminal {
  readonly #stream: NodeJS.ReadWriteStream;
  #output = "";

  constructor(stream: NodeJS.ReadWriteStream) {
    this.#stream = stream;
    stream.on("data", (bytes: Buffer) => {
      this.#output += bytes.toString();
    });
  }

  type(keys: string): void {
    this.#stream.write(keys);
  }

  output(): string {
    return this.#output;
  }

  /** Waits until the screen has shown this. */
  async until(pattern: RegExp): Promise<void> {
    await until(
      `${pattern} on the terminal`,
      () => pattern.test(this.#output),
      () => this.#output,
      { limitMs: 60_000, everyMs: 20 },
    );
  }
}

export interface Reply {
  readonly status: number;
  readonly body: string;
}

export interface Ended {
  readonly exitCode: number;
  readonly oomKilled: boolean;
  readonly seconds: number;
}

/** Without a terminal the engine multiplexes both streams in frames of an 8-byte header and a payload (Docker API, attach). */
function withoutFrames(raw: Buffer): string {
  const parts: Buffer[] = [];
  for (let at = 0; at + 8 <= raw.length; ) {
    const size = raw.readUInt32BE(at + 4);
    parts.push(raw.subarray(at + 8, at + 8 + size));
    at += 8 + size;
  }
  return Buffer.concat(parts).toString();
}
