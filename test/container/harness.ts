/**
 * Containers of the built product, started by testcontainers from base images made on this machine (test/setup/images.sh).
 *
 * `startEinhorn` runs `einhorn ARGS` as PID 1 with the worker of test/container/app, whose code is whatever the release says.
 * Every container carries the run's label, so that test/run.sh can remove what a crashed test left.
 */
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ExecResult,
  GenericContainer,
  getContainerRuntimeClient,
  type StartedTestContainer,
  StartupCheckStrategy,
  type StartupStatus,
  Wait,
} from "testcontainers";

type Runtime = Awaited<ReturnType<typeof getContainerRuntimeClient>>;
type Dockerode = Runtime["container"]["dockerode"];
type DockerContainer = ReturnType<Dockerode["getContainer"]>;
export type Inspection = Awaited<ReturnType<DockerContainer["inspect"]>>;
export type HostConfig = Inspection["HostConfig"];

// The library's own clean-up container would be pulled from a registry; the label below does its work.
process.env.TESTCONTAINERS_RYUK_DISABLED = "true";

const root = path.resolve(import.meta.dirname, "../..");
const app = path.join(root, "test/container/app");
const RUN_LABEL = { "einhorn.test": process.env.EINHORN_TEST_RUN ?? "by-hand" };

export const HTTP_PORT = 8080;
export const PROBE_PORT = 9090;

/** Base images and products that this process knows to be made. */
const made = new Set<string>();

/** Has test/setup/images.sh make this image (see there for the names) and gives its tag. */
export function image(name: string): string {
  if (!made.has(name)) execFileSync("bash", [path.join(root, "test/setup/images.sh"), name], { stdio: "inherit" });
  made.add(name);
  return `einhorn-test/${name}`;
}

/** A container whose limits and mounts can be set beyond what the library has methods for. */
class LimitedContainer extends GenericContainer {
  withHostConfig(settings: Partial<HostConfig>): this {
    Object.assign(this.hostConfig, settings);
    return this;
  }

  withTerminal(): this {
    Object.assign(this.createOpts, { Tty: true, OpenStdin: true, StdinOnce: true });
    return this;
  }
}

/** In place of the library's default, which waits for every exposed port: not every test listens on all. */
class Immediately extends StartupCheckStrategy {
  override checkStartupState(): Promise<StartupStatus> {
    return Promise.resolve("SUCCESS");
  }
}

export interface StartOptions {
  /** Einhorn's own options. Default: two workers with manual ACK on HTTP_PORT. */
  readonly options?: readonly string[];
  /** The program and its arguments. Default: the worker of test/container/app. */
  readonly program?: readonly string[];
  readonly environment?: Record<string, string>;
  /** A name of test/setup/images.sh. */
  readonly image?: string;
  readonly user?: string;
  readonly host?: Partial<HostConfig>;
  /** What starting waits for: "ready" (all workers, asked with einhornsh), "running" (nothing more), or a log message. */
  readonly until?: "ready" | "running" | RegExp;
  readonly terminal?: boolean;
  /** Publish no port: for programs that end at once, before a port could be seen published. */
  readonly unpublished?: boolean;
}

export const PLAIN = ["-n", "2", "-m", "manual", "-b", `0.0.0.0:${HTTP_PORT}`];

export async function startEinhorn(start: StartOptions = {}): Promise<Einhorn> {
  const release = new Release();
  const container = new LimitedContainer(image(start.image ?? "product:24"))
    .withLabels(RUN_LABEL)
    .withCommand([...(start.options ?? PLAIN), "--", ...(start.program ?? ["node", "/app/server.mjs"])])
    .withEnvironment(start.environment ?? {})
    .withBindMounts([
      { source: app, target: "/app", mode: "ro" },
      { source: release.directory, target: "/release", mode: "ro" },
    ])
    .withWaitStrategy(start.until instanceof RegExp ? Wait.forLogMessage(start.until) : new Immediately());
  if (!start.unpublished) container.withExposedPorts(HTTP_PORT, PROBE_PORT);
  if (start.user !== undefined) container.withUser(start.user);
  if (start.host) container.withHostConfig(start.host);
  if (start.terminal) container.withTerminal();
  const started = await container.start();
  const client = await getContainerRuntimeClient();
  const einhorn = new Einhorn(started, client.container.dockerode.getContainer(started.getId()), release);
  if ((start.until ?? "ready") === "ready") {
    try {
      await einhorn.untilReady();
    } catch (error) {
      await einhorn[Symbol.asyncDispose]();
      throw error;
    }
  }
  return einhorn;
}

/** The code that workers run: a directory mounted at /release, whose file `version` the worker reads at its start. */
export class Release {
  readonly directory: string;

  constructor() {
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-release-"));
    fs.chmodSync(this.directory, 0o755);
    this.set("v1");
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

  exec(command: string[]): Promise<ExecResult> {
    return this.#started.exec(command);
  }

  einhornsh(...words: string[]): Promise<ExecResult> {
    return this.exec(["einhornsh", ...words]);
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
    for (let tries = 0; tries < 300; tries += 1) {
      if (pattern.test(await this.logs())) return;
      await sleep(100);
    }
    throw new Error(`nothing in the log matches ${pattern}:\n${await this.logs()}`);
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
