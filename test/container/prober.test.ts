/** The prober itself, against a container that exists only here: an HTTP server that answers as told and "ends" when signalled. */
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../support/until.ts";
import { type Probe, type Runtime, startKubelet } from "./prober.ts";
import type { Ended } from "./running.ts";

const ENDED: Ended = { exitCode: 0, oomKilled: false, seconds: 0 };

/** `statuses` maps a path to what it answers now; 0 answers nothing. Signals in `deadly` end the container. */
async function pretend(statuses: Record<string, number>, deadly: string[]) {
  const signals: string[] = [];
  const asked: string[] = [];
  let end: () => void = () => {};
  const server = http.createServer((request, response) => {
    asked.push(request.url ?? "");
    const status = statuses[request.url ?? ""] ?? 404;
    if (status !== 0) response.writeHead(status).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const runtime: Runtime = {
    address: () => Promise.resolve("127.0.0.1"),
    start: () => Promise.resolve(signals.push("start")),
    signal: (name) => {
      signals.push(name);
      if (deadly.includes(name)) end();
      return Promise.resolve();
    },
    ended: () =>
      new Promise((resolve) => {
        end = () => resolve(ENDED);
      }),
  };
  const probe = (path: string, more: Partial<Probe> = {}): Probe => ({
    httpGet: { path, port: (server.address() as AddressInfo).port },
    periodSeconds: 0.02,
    timeoutSeconds: 0.2,
    ...more,
  });
  return { runtime, probe, signals, asked, server };
}

test("readiness is asked only after the startup probe has succeeded", async (t) => {
  const statuses = { "/startupz": 503, "/readyz": 200 };
  const { runtime, probe, asked, server } = await pretend(statuses, ["SIGTERM"]);
  t.after(() => server.close());
  const container = { startupProbe: probe("/startupz", { failureThreshold: 1000 }), readinessProbe: probe("/readyz") };
  const kubelet = startKubelet(runtime, container, 1);
  await kubelet.begin();
  await sleep(100);
  assert.equal(asked.includes("/readyz"), false);
  statuses["/startupz"] = 200;
  await until("readiness", () => kubelet.isReady());
  await kubelet.delete();
  assert.deepEqual(kubelet.events(), ["ready"]);
});

test("liveness that fails as often as allowed restarts the container, and SIGKILL ends what ignores SIGTERM", async (t) => {
  const statuses = { "/livez": 200 };
  const { runtime, probe, signals, server } = await pretend(statuses, ["SIGKILL"]);
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const kubelet = startKubelet(runtime, { livenessProbe: probe("/livez", { failureThreshold: 2 }) }, 0.1);
  await kubelet.begin();
  await sleep(100);
  assert.deepEqual(signals, []);
  statuses["/livez"] = 0;
  await until("a restart", () => kubelet.restarts() > 0, undefined, { everyMs: 5 });
  statuses["/livez"] = 200;
  assert.deepEqual(signals, ["SIGTERM", "SIGKILL", "start"]);
  await kubelet.delete();
});

test("a startup probe that never succeeds restarts the container", async (t) => {
  const { runtime, probe, server } = await pretend({ "/startupz": 503 }, ["SIGTERM"]);
  t.after(() => server.close());
  const kubelet = startKubelet(runtime, { startupProbe: probe("/startupz", { failureThreshold: 3 }) }, 1);
  await kubelet.begin();
  await until("two restarts", () => kubelet.restarts() >= 2);
  await kubelet.delete();
});
