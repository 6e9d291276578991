/** Goal: the pod of examples/kubernetes behaves under the kubelet's rules as its comments promise. Method: its own manifest, replayed. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startLoad } from "../support/load.ts";
import { until } from "../support/until.ts";
import { type Einhorn, startEinhorn } from "./harness.ts";
import { type Container, configFiles, find, pod, Volumes } from "./pod.ts";
import { type Kubelet, type PodContainer, type Probe, startKubelet } from "./prober.ts";

/** A container of the pod, confined as the manifest says. */
function startInPod(container: Container, volumes: Volumes): Promise<Einhorn> {
  return startEinhorn({
    image: "kubernetes",
    command: container.args ?? container.command.slice(1),
    ...(container.command && { entrypoint: container.command.slice(0, 1) }),
    mounts: [
      { source: volumes.config, target: "/config" },
      { source: volumes.run, target: "/run/einhorn", writable: true },
    ],
    user: "1000:1000",
    host: {
      ReadonlyRootfs: true,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges"],
      NanoCpus: 2e9,
      Memory: 512 << 20,
    },
    until: "running",
  });
}

const kubeletFor = (app: Einhorn, container: PodContainer, graceSeconds: number) =>
  startKubelet(
    {
      address: () => app.address(),
      signal: (name) => app.kill(name),
      start: () => app.docker.start(),
      ended: () => app.ended(),
    },
    container,
    graceSeconds,
  );

const untilReady = (kubelet: Kubelet, app: Einhorn): Promise<void> =>
  until(
    "the pod to be ready",
    () => kubelet.isReady(),
    () => app.logs(),
  );

test("a changed ConfigMap upgrades in place, and deleting the pod loses nothing either", async () => {
  using volumes = new Volumes();
  await using app = await startInPod(find("app"), volumes);
  const kubelet = kubeletFor(app, find("app"), pod.terminationGracePeriodSeconds);
  await kubelet.begin();
  await untilReady(kubelet, app);
  await using sidecar = await startInPod(find("upgrade-on-change"), volumes);
  const before = await app.identity();
  const load = startLoad({ host: app.host, port: app.port(), pauseMs: 2 });
  await load.served(50);

  volumes.write({ ...configFiles, "settings.json": '{ "greeting": "good day" }' });
  await until(
    "the new greeting",
    () => load.soFar().bodies.has("good day"),
    async () => `${await sidecar.logs()}\n${await app.logs()}`,
  );
  await sidecar.untilLogged(/changed/);
  assert.equal(await app.identity(), before);
  assert.deepEqual(kubelet.events(), ["ready"]);

  const deleted = kubelet.delete();
  // Endpoints and proxies go on sending for some time after the pod has been told: seconds, in which nothing may fail.
  await sleep(3000);
  const report = await load.stop();
  const ended = await deleted;
  assert.deepEqual(report.errors, []);
  assert.equal(ended.exitCode, 0, await app.logs());
  assert.deepEqual(kubelet.events(), ["ready", "unready"]);
});

/** The same probe in a tenth of the time. */
const faster = (probe: Probe): Probe => ({
  ...probe,
  periodSeconds: (probe.periodSeconds ?? 10) / 10,
  timeoutSeconds: (probe.timeoutSeconds ?? 1) / 10,
});

test("a master that answers nothing is restarted by its liveness probe", async () => {
  using volumes = new Volumes();
  const { startupProbe, readinessProbe, livenessProbe, ports, args } = find("app");
  assert.ok(startupProbe && readinessProbe && livenessProbe && ports);
  await using app = await startInPod(find("app"), volumes);
  const quick = { ports, args, startupProbe, readinessProbe, livenessProbe: faster(livenessProbe) };
  const kubelet = kubeletFor(app, quick, 1);
  await kubelet.begin();
  await untilReady(kubelet, app);
  process.kill((await app.inspect()).State.Pid, "SIGSTOP");
  await until("a restart", () => kubelet.restarts() > 0);
  await untilReady(kubelet, app);
  assert.ok(kubelet.events().includes("liveness failed"));
  assert.ok(kubelet.events().includes("killed at the end of the grace period"));
  await kubelet.delete();
});
