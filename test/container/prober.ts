/**
 * The kubelet's rules for probes and termination, replayed against one container.
 *
 * Rules, from the Kubernetes documentation ("Configure Liveness, Readiness and Startup Probes", "Pod Lifecycle: Termination of Pods"):
 * - Until the startup probe has succeeded, the other two do not run. A container is not ready before its readiness probe succeeds.
 * - A probe's outcome changes after `failureThreshold` failures or `successThreshold` successes in a row.
 * - HTTP: 200 to 399 within `timeoutSeconds` succeeds; anything else fails.
 * - Failed startup or liveness: the container is terminated as a deleted one is, and started again with all probes anew.
 * - Termination: SIGTERM, at the end of the grace period SIGKILL. Liveness and startup probes are not asked any more.
 */
import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import type { Ended } from "./running.ts";

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string | number };
  readonly initialDelaySeconds?: number;
  readonly periodSeconds?: number;
  readonly timeoutSeconds?: number;
  readonly successThreshold?: number;
  readonly failureThreshold?: number;
}

export interface PodContainer {
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
}

/** What the kubelet asks of the container runtime. */
export interface Runtime {
  /** The pod's IP address. */
  address(): Promise<string>;
  signal(name: string): Promise<unknown>;
  start(): Promise<unknown>;
  /** Resolves when the container has ended. */
  ended(): Promise<Ended>;
}

export type Kubelet = ReturnType<typeof startKubelet>;

export function startKubelet(runtime: Runtime, container: PodContainer, terminationGracePeriodSeconds: number) {
  const events: string[] = [];
  let running: Life | null = null;
  let ready = false;
  let restarts = 0;
  let deleted = false;

  const setReady = (value: boolean): void => {
    if (value === ready) return;
    ready = value;
    events.push(value ? "ready" : "unready");
  };

  const terminate = async (): Promise<Ended> => {
    if (running) running.terminating = true;
    const gone = runtime.ended();
    await runtime.signal("SIGTERM");
    const overdue = new AbortController();
    const killed = sleep(terminationGracePeriodSeconds * 1000, "overdue", { signal: overdue.signal }).then(
      () => {
        events.push("killed at the end of the grace period");
        return runtime.signal("SIGKILL");
      },
      () => undefined,
    );
    const ended = await gone;
    overdue.abort();
    await killed;
    if (running) running.over = true;
    return ended;
  };

  const restart = async (why: string): Promise<void> => {
    events.push(`${why} failed`);
    setReady(false);
    await terminate();
    if (deleted) return;
    restarts += 1;
    await runtime.start();
    await begin();
  };

  const begin = async (): Promise<void> => {
    const life: Life = { address: await runtime.address(), over: false, terminating: false };
    running = life;
    const fatal = (why: string) => (healthy: boolean) => {
      if (!healthy && !life.terminating) void restart(why);
    };
    const others = (): void => {
      if (container.readinessProbe) void watch(life, container, container.readinessProbe, setReady);
      else setReady(true);
      if (container.livenessProbe) void watch(life, container, container.livenessProbe, fatal("liveness"), true);
    };
    const { startupProbe } = container;
    if (!startupProbe) return others();
    void watch(
      life,
      container,
      startupProbe,
      (started) => (started ? others() : fatal("startup")(false)),
      false,
      "until it succeeds",
    );
  };

  return {
    begin,
    events: () => [...events],
    restarts: () => restarts,
    isReady: () => ready,
    /** As deleting the pod does. */
    delete: (): Promise<Ended> => {
      deleted = true;
      return terminate();
    },
  };
}

/** One life of the container, from a start to the next. */
interface Life {
  readonly address: string;
  over: boolean;
  terminating: boolean;
}

/** Asks until this life is over and tells each change of the outcome. Only readiness is still asked of one that is terminating. */
async function watch(
  life: Life,
  container: PodContainer,
  probe: Probe,
  tell: (success: boolean) => void,
  initially = false,
  mode: "for ever" | "until it succeeds" = "for ever",
): Promise<void> {
  const isReadiness = probe === container.readinessProbe;
  let outcome = initially;
  let inARow = 0;
  let last: boolean | null = null;
  await sleep((probe.initialDelaySeconds ?? 0) * 1000);
  while (!life.over && (isReadiness || !life.terminating)) {
    const success = await ask(life.address, portOf(container, probe), probe);
    inARow = success === last ? inARow + 1 : 1;
    last = success;
    const threshold = success ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    // A startup probe that fails for good is told although the outcome was failure from the beginning.
    const fatal = !success && mode === "until it succeeds";
    if (inARow >= threshold && (success !== outcome || fatal)) {
      outcome = success;
      tell(success);
      if (mode === "until it succeeds") return;
    }
    await sleep((probe.periodSeconds ?? 10) * 1000);
  }
}

function portOf(container: PodContainer, probe: Probe): number {
  const { port } = probe.httpGet;
  if (typeof port === "number") return port;
  const named = container.ports?.find(({ name }) => name === port);
  if (!named) throw new Error(`the container has no port called ${port}`);
  return named.containerPort;
}

function ask(host: string, port: number, probe: Probe): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ host, port, path: probe.httpGet.path, agent: false }, (response) => {
      response.resume();
      response.on("close", () => {
        clearTimeout(deadline);
        const status = response.statusCode ?? 0;
        resolve(response.complete && status >= 200 && status < 400);
      });
    });
    const deadline = setTimeout(() => request.destroy(new Error("timeout")), (probe.timeoutSeconds ?? 1) * 1000);
    request.on("error", () => {
      clearTimeout(deadline);
      resolve(false);
    });
  });
}
