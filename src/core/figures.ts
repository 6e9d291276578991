/** The state in figures, for Prometheus: totals since the master first started, so that they go on over a re-exec. */
import type { State } from "./model.ts";
import { isStopping, quorum, readyCount } from "./pool.ts";

export interface Sample {
  name: string;
  help: string;
  type: "counter" | "gauge";
  values: readonly { labels?: Readonly<Record<string, string>>; value: number }[];
}

/** A bound socket and how many connections wait in it. */
export interface QueueDepth {
  /** As typed after -b. */
  text: string;
  address: string;
  depth: number;
  limit: number;
}

export const gauge = (name: string, help: string, value: number): Sample => ({
  name,
  help,
  type: "gauge",
  values: [{ value }],
});

export const counter = (name: string, help: string, value: number): Sample => ({
  name,
  help,
  type: "counter",
  values: [{ value }],
});

/** Workers, starts, deaths, upgrades, re-execs. Durations are seconds: a total over a count is the mean (rate() of both). */
export function poolSamples(state: State): Sample[] {
  const { counters, config } = state;
  const last = state.lastUpgrade === null ? [] : [state.lastUpgrade];
  return [
    {
      ...gauge("einhorn_info", "Version of einhorn.", 1),
      values: [{ labels: { version: state.about.version }, value: 1 }],
    },
    gauge("einhorn_workers_wanted", "Workers that --number asks for.", config.number),
    gauge("einhorn_workers_ready", "Workers that are ready, of any generation.", readyCount(state)),
    gauge("einhorn_workers_needed", "Ready workers that readiness needs.", quorum(state)),
    gauge("einhorn_stopping", "1 while einhorn stops.", isStopping(state) ? 1 : 0),
    gauge("einhorn_generation", "Generation that is wanted.", state.generation),
    workersByState(state),
    counter("einhorn_worker_starts_total", "Workers started.", counters.starts),
    {
      name: "einhorn_worker_deaths_total",
      help: "Workers that ended, by cause.",
      type: "counter",
      values: Object.entries(counters.deaths).map(([cause, value]) => ({ labels: { cause }, value })),
    },
    counter("einhorn_worker_acks_total", "Workers that became ready.", counters.acks),
    counter(
      "einhorn_worker_ack_seconds_total",
      "Time from start to ready, summed over workers.",
      counters.ackMsSum / 1000,
    ),
    {
      name: "einhorn_upgrades_total",
      help: "Upgrades that ended, by result.",
      type: "counter",
      values: [
        { labels: { result: "done" }, value: counters.upgradesDone },
        { labels: { result: "failed" }, value: counters.upgradesFailed },
      ],
    },
    counter("einhorn_upgrade_seconds_total", "Time that upgrades took, summed.", counters.upgradeMsSum / 1000),
    {
      ...gauge("einhorn_last_upgrade_seconds", "Time that the last upgrade took.", 0),
      values: last.map(({ result, tookMs }) => ({ labels: { result }, value: tookMs / 1000 })),
    },
    counter("einhorn_reexecs_total", "Times the master replaced its own image.", counters.reexecs),
    gauge(
      "einhorn_last_reexec_seconds",
      "From execve to the first event of the new image.",
      counters.lastReexecMs / 1000,
    ),
    counter("einhorn_crashes_total", "Crashes of the master that it recovered from.", counters.crashes),
    counter("einhorn_orphans_reaped_total", "Processes reaped that were no workers.", counters.orphans),
  ];
}

function workersByState(state: State): Sample {
  const counts = new Map<string, { labels: { state: string; generation: string }; value: number }>();
  for (const { phase, generation } of state.workers) {
    const labels = { state: phase.kind === "told" ? "stopping" : phase.kind, generation: String(generation) };
    const key = `${labels.state} ${labels.generation}`;
    counts.set(key, { labels, value: (counts.get(key)?.value ?? 0) + 1 });
  }
  const help = "Workers by state and generation.";
  return { name: "einhorn_workers", help, type: "gauge", values: [...counts.values()] };
}

/** Accept queues: a depth that stays near its limit says that the workers do not keep up. */
export function queueSamples(queues: readonly QueueDepth[]): Sample[] {
  const values = (pick: (queue: QueueDepth) => number) =>
    queues.map((queue) => ({ labels: { bind: queue.text, address: queue.address }, value: pick(queue) }));
  return [
    {
      name: "einhorn_accept_queue",
      help: "Connections that wait to be accepted.",
      type: "gauge",
      values: values(({ depth }) => depth),
    },
    {
      name: "einhorn_accept_queue_limit",
      help: "Connections that may wait at most.",
      type: "gauge",
      values: values(({ limit }) => limit),
    },
  ];
}
