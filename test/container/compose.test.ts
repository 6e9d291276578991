/** Goal: the compose file and the swarm stack of examples/docker-compose do what their comments say. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import net, { type AddressInfo } from "node:net";
import path from "node:path";
import { test } from "node:test";
import { startLoad } from "../support/load.ts";
import { until } from "../support/until.ts";
import { image } from "./harness.ts";

const directory = path.resolve(import.meta.dirname, "../../examples/docker-compose");
const support = path.resolve(import.meta.dirname, "../support");

/** Compose is a plugin of the docker client or, as in Debian 12, a program of its own. */
const compose = spawnSync("docker", ["compose", "version"]).status === 0 ? ["docker", "compose"] : ["docker-compose"];

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const docker = (...args: string[]): string => execFileSync("docker", args, { encoding: "utf8" }).trim();

test("compose: healthy, upgraded under load by exec, stopped with exit 0", async () => {
  const port = await freePort();
  const environment = {
    ...process.env,
    EINHORN_IMAGE: image("product:24"),
    APP_PORT: String(port),
    PROBE_PORT: String(await freePort()),
    COMPOSE_PROJECT_NAME: `einhorn-test-${process.pid}`,
  };
  const run = (...args: string[]): string =>
    execFileSync(compose[0] as string, [...compose.slice(1), ...args], {
      cwd: directory,
      env: environment,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
    }).trim();
  try {
    run("up", "--detach");
    const id = run("ps", "-q", "app");
    await until(
      "the service to be healthy",
      () => docker("inspect", "-f", "{{.State.Health.Status}}", id) === "healthy",
      () => docker("logs", id),
    );
    const load = startLoad({ port });
    await load.served(50);
    run("exec", "-T", "app", "einhornsh", "upgrade");
    await load.served(50);
    const report = await load.stop();
    assert.deepEqual(report.errors, []);
    assert.equal(docker("inspect", "-f", "{{.State.Health.Status}}", id), "healthy");
    run("stop");
    assert.equal(docker("inspect", "-f", "{{.State.ExitCode}}", id), "0");
  } finally {
    run("down", "--timeout", "1");
  }
});

/** In the stack's network: asks the tasks that DNS names, one after another, and prints a report as JSON after each round. */
const CLIENT = `
import dns from "node:dns/promises";
import { startLoad } from "/support/load.ts";
const totals = { ok: 0, errors: [] };
let stopping = false;
process.on("SIGTERM", () => { stopping = true; });
while (!stopping) {
  const hosts = await dns.resolve4("tasks.app").catch(() => []);
  for (const host of hosts) {
    const load = startLoad({ host, port: 8080, concurrency: 1 });
    await load.served(3).catch(() => {});
    const report = await load.stop();
    totals.ok += report.ok;
    totals.errors.push(...report.errors);
  }
  if (hosts.length > 0) console.log(JSON.stringify(totals));
}
`;

test("swarm: a rolling update of the stack loses no request", async () => {
  const joined = docker("info", "-f", "{{.Swarm.LocalNodeState}}") === "active";
  const stack = `einhorn-test-${process.pid}`;
  const client = `${stack}-client`;
  const deploy = (release: string): void => {
    execFileSync(
      "docker",
      ["stack", "deploy", "--resolve-image", "never", "--compose-file", path.join(directory, "stack.yaml"), stack],
      {
        env: {
          ...process.env,
          EINHORN_IMAGE: image("product:24"),
          APP_DIR: path.resolve(directory, "../node-http"),
          RELEASE: release,
        },
        stdio: "pipe",
      },
    );
  };
  const replicas = (): string => docker("service", "ls", "--filter", `name=${stack}_app`, "--format", "{{.Replicas}}");
  if (!joined) docker("swarm", "init", "--advertise-addr", "127.0.0.1");
  try {
    deploy("1");
    await until(
      "two tasks",
      () => replicas().startsWith("2/2"),
      () => docker("service", "ps", "--no-trunc", `${stack}_app`),
      { limitMs: 120_000 },
    );
    docker(
      ...["run", "--detach", "--name", client, "--network", `${stack}_service`, "--volume", `${support}:/support:ro`],
      ...[image("node:24"), "node", "--input-type=module", "--eval", CLIENT],
    );
    const rounds = (): string[] => docker("logs", client).split("\n").filter(Boolean);
    const asked = (more: number): Promise<void> => {
      const enough = rounds().length + more;
      return until("the client to ask on", () => rounds().length >= enough);
    };
    await asked(5);
    deploy("2");
    const state = (): string =>
      docker("service", "inspect", "-f", "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}", `${stack}_app`);
    await until(
      "the update to be complete",
      () => {
        assert.doesNotMatch(state(), /rollback|paused/);
        return state() === "completed";
      },
      () => docker("service", "ps", "--no-trunc", `${stack}_app`),
      { limitMs: 120_000 },
    );
    await asked(5);
    docker("stop", "-t", "20", client);
    const report = JSON.parse(rounds().at(-1) ?? "") as { ok: number; errors: string[] };
    assert.deepEqual(report.errors, []);
    assert.ok(report.ok > 50, `only ${report.ok} requests`);
  } finally {
    spawnSync("docker", ["rm", "-f", client]);
    docker("stack", "rm", stack);
    await until(
      "the stack to be gone",
      () => docker("ps", "-q", "--filter", `label=com.docker.stack.namespace=${stack}`) === "",
    );
    if (!joined) docker("swarm", "leave", "--force");
  }
});
