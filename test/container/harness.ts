/**
 * Containers of the built product, started by testcontainers from base images made on this machine (test/setup/images.sh).
 *
 * `startEinhorn` runs `einhorn ARGS` as PID 1 with the worker of test/container/app, whose code is whatever the release says.
 * Every container carries the run's label, so that test/run.sh can remove what a crashed test left.
 */
import { execFileSync } from "node:child_process";
import path from "node:path";
import {
  GenericContainer,
  getContainerRuntimeClient,
  StartupCheckStrategy,
  type StartupStatus,
  Wait,
} from "testcontainers";
import { Einhorn, HTTP_PORT, type Inspection, Release } from "./running.ts";

export { Einhorn, HTTP_PORT } from "./running.ts";

export type HostConfig = Inspection["HostConfig"];

// The library's own clean-up container would be pulled from a registry; the label below does its work.
process.env.TESTCONTAINERS_RYUK_DISABLED = "true";

const root = path.resolve(import.meta.dirname, "../..");
const application = { source: path.join(root, "test/container/app"), target: "/app" };
const WORKER = ["node", "/app/server.mjs"];
const RUN_LABEL = { "einhorn.test": process.env.EINHORN_TEST_RUN ?? "by-hand" };

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
  /** In place of `OPTIONS -- PROGRAM`. */
  readonly command?: readonly string[];
  readonly environment?: Record<string, string>;
  /** In place of the application and its release; read-only unless `writable`. */
  readonly mounts?: readonly { readonly source: string; readonly target: string; readonly writable?: boolean }[];
  /** A name of test/setup/images.sh. */
  readonly image?: string;
  readonly user?: string;
  /** In place of the image's own, `einhorn`. */
  readonly entrypoint?: readonly string[];
  readonly host?: Partial<HostConfig>;
  /** What starting waits for: "ready" (all workers, asked with einhornsh), "running" (nothing more), or a log message. */
  readonly until?: "ready" | "running" | RegExp;
  readonly terminal?: boolean;
  /** The release that the first workers run. Default v1. */
  readonly version?: string;
  readonly health?: Parameters<GenericContainer["withHealthCheck"]>[0];
  /** Publish no port: for programs that end at once, before a port could be seen published. */
  readonly unpublished?: boolean;
}

export const PLAIN = ["-n", "2", "-m", "manual", "-b", `0.0.0.0:${HTTP_PORT}`];

export async function startEinhorn(start: StartOptions = {}): Promise<Einhorn> {
  const release = new Release(start.version ?? "v1");
  const container = new LimitedContainer(image(start.image ?? "product:24"))
    .withLabels(RUN_LABEL)
    .withCommand([...(start.command ?? [...(start.options ?? PLAIN), "--", ...(start.program ?? WORKER)])])
    .withEnvironment(start.environment ?? {})
    .withBindMounts(
      (start.mounts ?? [application, { source: release.directory, target: "/release" }]).map((mount) => ({
        source: mount.source,
        target: mount.target,
        mode: "writable" in mount && mount.writable ? "rw" : "ro",
      })),
    )
    .withWaitStrategy(
      start.until instanceof RegExp ? Wait.forLogMessage(start.until).withStartupTimeout(180_000) : new Immediately(),
    );
  if (!start.unpublished) container.withExposedPorts(HTTP_PORT, PROBE_PORT);
  if (start.user !== undefined) container.withUser(start.user);
  if (start.entrypoint) container.withEntrypoint([...start.entrypoint]);
  if (start.host) container.withHostConfig(start.host);
  if (start.health) container.withHealthCheck(start.health);
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
