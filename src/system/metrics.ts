/** Figures for Prometheus (core/figures.ts) as its text format, and those of the process. */
import { readFileSync } from "node:fs";
import { counter, gauge, type Sample } from "../core/figures.ts";
import type { Response } from "./http-message.ts";

/** The master itself. Names are those of every Prometheus client. */
export function processSamples(): Sample[] {
  const kibibytes = Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? Number.NaN);
  const cpu = process.cpuUsage();
  return [
    gauge("process_resident_memory_bytes", "Resident memory of the master.", kibibytes * 1024),
    counter("process_cpu_seconds_total", "CPU time of the master's present image.", (cpu.user + cpu.system) / 1e6),
  ];
}

/**
 * The text format. prom-client's parts are loaded at the first scrape, and only these: its main module brings http,
 * zlib and OpenTelemetry, 5 MB for what is never used here.
 */
export async function render(samples: readonly Sample[]): Promise<Response> {
  const [{ default: Registry }, { default: Gauge }, { default: Counter }] = await Promise.all([
    import("prom-client/lib/registry.js"),
    import("prom-client/lib/gauge.js"),
    import("prom-client/lib/counter.js"),
  ]);
  const registry = new Registry();
  for (const { name, help, type, values } of samples) {
    if (values.length === 0) continue;
    const labelNames = Object.keys(values[0]?.labels ?? {});
    const metric = { name, help, labelNames, registers: [registry] };
    if (type === "counter") {
      const total = new Counter(metric);
      for (const { labels = {}, value } of values) total.inc(labels, value);
    } else {
      const level = new Gauge(metric);
      for (const { labels = {}, value } of values) level.set(labels, value);
    }
  }
  return { status: 200, type: registry.contentType, body: await registry.metrics() };
}
