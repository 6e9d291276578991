import assert from "node:assert/strict";
import { test } from "node:test";
import { poolSamples, queueSamples } from "../../src/core/figures.ts";
import { initialState } from "../../src/core/initial.ts";
import type { About, Phase, State, Worker } from "../../src/core/model.ts";
import { readInvocation } from "../../src/options.ts";
import { processSamples, render } from "../../src/system/metrics.ts";

const about: About = {
  pid: 1,
  version: "1.2.3",
  commandName: null,
  socketPath: "/run/e.sock",
  argv: ["server"],
  binds: [],
  isPid1: true,
  preload: null,
};

async function stateWith(more: Partial<State>): Promise<State> {
  const invocation = await readInvocation({ argv: ["-n", "3", "--ready-min", "2", "server"], env: {}, cwd: "/" });
  assert.equal(invocation.kind, "run");
  const config = invocation.kind === "run" ? invocation.options.config : assert.fail();
  return { ...initialState(config, about, { argv: ["server"], cwd: "/", env: {} }, 1), ...more };
}

function worker(id: number, generation: number, phase: Phase): Worker {
  return {
    ...{ id, pid: 100 + id, slot: id, generation, spawnedAt: 0, phase, recycle: null, signals: [], pinged: null },
    ...{ status: null, deadline: null, watchdogAt: null, maxAgeAt: null, ackMs: null, rssBytes: null },
  };
}

/** The lines of the text format that are values, without einhorn_'s help. */
async function lines(samples: Parameters<typeof render>[0]): Promise<string[]> {
  const { body } = await render(samples);
  return body.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

test("the state's totals and the pool as it is", async () => {
  const state = await stateWith({
    generation: 2,
    workers: [
      worker(0, 2, { kind: "ready", since: 1 }),
      worker(1, 2, { kind: "ready", since: 1 }),
      worker(2, 2, { kind: "starting" }),
      worker(3, 1, { kind: "told", since: 1, wasReady: true, killAt: null }),
    ],
    counters: {
      ...{ starts: 9, deaths: { clean: 1, code: 2, signal: 3, oom: 4, unspawned: 5 }, acks: 8, ackMsSum: 1500 },
      ...{ upgradesDone: 6, upgradesFailed: 7, upgradeMsSum: 2500, orphans: 10, reexecs: 11, crashes: 12 },
      lastReexecMs: 45,
    },
    lastUpgrade: { generation: 2, strategy: "smooth", result: "done", reason: null, tookMs: 800 },
  });
  assert.deepEqual(await lines(poolSamples(state)), [
    'einhorn_info{version="1.2.3"} 1',
    "einhorn_workers_wanted 3",
    "einhorn_workers_ready 2",
    "einhorn_workers_needed 2",
    "einhorn_stopping 0",
    "einhorn_generation 2",
    'einhorn_workers{state="ready",generation="2"} 2',
    'einhorn_workers{state="starting",generation="2"} 1',
    'einhorn_workers{state="stopping",generation="1"} 1',
    "einhorn_worker_starts_total 9",
    'einhorn_worker_deaths_total{cause="clean"} 1',
    'einhorn_worker_deaths_total{cause="code"} 2',
    'einhorn_worker_deaths_total{cause="signal"} 3',
    'einhorn_worker_deaths_total{cause="oom"} 4',
    'einhorn_worker_deaths_total{cause="unspawned"} 5',
    "einhorn_worker_acks_total 8",
    "einhorn_worker_ack_seconds_total 1.5",
    'einhorn_upgrades_total{result="done"} 6',
    'einhorn_upgrades_total{result="failed"} 7',
    "einhorn_upgrade_seconds_total 2.5",
    'einhorn_last_upgrade_seconds{result="done"} 0.8',
    "einhorn_reexecs_total 11",
    "einhorn_last_reexec_seconds 0.045",
    "einhorn_crashes_total 12",
    "einhorn_orphans_reaped_total 10",
  ]);
});

test("what there is none of is left out", async () => {
  const text = (await lines(poolSamples(await stateWith({ workers: [] })))).join("\n");
  assert.ok(!text.includes("einhorn_workers{") && !text.includes("einhorn_workers 0"));
  assert.ok(!text.includes("einhorn_last_upgrade_seconds"));
});

test("accept queues by socket", async () => {
  const queue = { text: "0.0.0.0:0,r", address: "0.0.0.0:4567", depth: 3, limit: 128 };
  assert.deepEqual(await lines(queueSamples([queue])), [
    'einhorn_accept_queue{bind="0.0.0.0:0,r",address="0.0.0.0:4567"} 3',
    'einhorn_accept_queue_limit{bind="0.0.0.0:0,r",address="0.0.0.0:4567"} 128',
  ]);
});

test("the master's memory and CPU time", async () => {
  const [memory = "", cpu = ""] = await lines(processSamples());
  assert.match(memory, /^process_resident_memory_bytes \d{7,}$/);
  assert.match(cpu, /^process_cpu_seconds_total 0?\.?\d/);
});
