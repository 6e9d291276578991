/**
 * Goal: a real kubelet runs the pod of examples/kubernetes as its comments promise. Method: a static pod made of the Deployment's template;
 * the ConfigMap, which needs an API server, is a directory laid out as the kubelet lays one out. Minutes of building come before it:
 * `npm run test:kubelet`.
 */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { image } from "../container/harness.ts";
import { configFiles, pod, Volumes } from "../container/pod.ts";
import { startLoad } from "../support/load.ts";
import { until } from "../support/until.ts";

const setup = path.resolve(import.meta.dirname, "../setup/kubelet.sh");
const pods = fs.mkdtempSync(path.join(os.tmpdir(), "einhorn-static-pods-"));
const volumes = new Volumes();
const CTR = ["-a", "/run/einhorn-kubelet/containerd.sock", "-n", "k8s.io", "tasks", "ls"];

interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly containerID?: string;
}
interface PodStatus {
  readonly podIP?: string;
  readonly conditions?: { type: string; status: string }[];
  readonly containerStatuses?: ContainerStatus[];
}

async function status(): Promise<PodStatus | undefined> {
  const list = (await (await fetch("http://127.0.0.1:10255/pods")).json()) as { items: { status: PodStatus }[] | null };
  return list.items?.[0]?.status;
}

const isReady = (now: PodStatus | undefined): boolean =>
  now?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;

const app = (now: PodStatus | undefined): ContainerStatus | undefined =>
  now?.containerStatuses?.find(({ name }) => name === "app");

before(() => {
  const name = image("kubernetes");
  execFileSync("bash", [setup, "start", pods], { env: { ...process.env, IMAGES: name }, stdio: "inherit" });
});

after(() => {
  execFileSync("bash", [setup, "stop"], { stdio: "inherit" });
  fs.rmSync(pods, { recursive: true, force: true });
  volumes[Symbol.dispose]();
});

/** The Deployment's pod, as one that needs no API server. */
function staticPod(): string {
  const spec = structuredClone(pod) as unknown as Record<string, unknown> & { containers: Record<string, unknown>[] };
  for (const container of spec.containers) {
    container.image = `docker.io/${image("kubernetes")}:latest`;
    container.imagePullPolicy = "Never";
  }
  spec.volumes = [
    { name: "config", hostPath: { path: volumes.config } },
    { name: "run", emptyDir: { medium: "Memory" } },
  ];
  return stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: "app", namespace: "default" }, spec });
}

test("the kubelet's pod turns ready, is upgraded in place by its sidecar, and goes without losing a request", async () => {
  const manifest = path.join(pods, "app.yaml");
  const log = (): string =>
    execFileSync("tail", ["-n", "20", "/run/einhorn-kubelet/kubelet.log"], { encoding: "utf8" });
  fs.writeFileSync(manifest, staticPod());
  const since = performance.now();
  await until("the pod to be ready", async () => isReady(await status()), log, { limitMs: 120_000 });
  console.log(`ready after ${Math.round(performance.now() - since)} ms`);

  const started = await status();
  assert.ok(started?.podIP);
  const id = app(started)?.containerID;
  const load = startLoad({ host: started.podIP, port: 8080, pauseMs: 2 });
  await load.served(50);
  let unready = 0;
  let watching = true;
  const watch = (async () => {
    while (watching) {
      if (!isReady(await status())) unready += 1;
      await sleep(100);
    }
  })();

  const changed = performance.now();
  volumes.write({ ...configFiles, "settings.json": '{ "greeting": "good day" }' });
  await until("the new greeting", () => load.soFar().bodies.has("good day"), log);
  console.log(`upgraded ${Math.round(performance.now() - changed)} ms after the change`);
  // Three readiness periods, in which an upgrade that cost readiness would show.
  await sleep(6000);
  watching = false;
  await watch;
  assert.equal(unready, 0);
  assert.equal(app(await status())?.containerID, id);
  assert.equal(app(await status())?.restartCount, 0);

  fs.rmSync(manifest);
  const removed = performance.now();
  // The kubelet forgets a static pod at once and terminates it after that; what still runs, containerd knows.
  const running = (): number => execFileSync("ctr", CTR, { encoding: "utf8" }).match(/RUNNING/g)?.length ?? 0;
  await until("the kubelet to forget the pod", async () => (await status()) === undefined, log);
  // Clients that have not heard of it yet go on, for less than the drain delay.
  await sleep(3000);
  const report = await load.stop();
  console.log(`${report.ok} requests, the last ${Math.round(performance.now() - removed)} ms after the pod's removal`);
  assert.deepEqual(report.errors, []);
  await until("the pod's processes to end", () => running() === 0, log);
  const goneMs = performance.now() - removed;
  console.log(`gone ${Math.round(goneMs)} ms after its removal`);
  assert.ok(goneMs < pod.terminationGracePeriodSeconds * 1000, "the kubelet had to kill it");
});
