/** Whether the master gets slower with what it looks after: commands a second, the cost of a death and of an ACK. */
import { figuresOf, load, Master, sleep, tool } from "../lib.mjs";
import { contenders, inTurn } from "./shared.mjs";

async function perSecond(master, word, count) {
  const ns = await tool("ask", master.socket, count, JSON.stringify({ command: word }));
  return count / (ns / 1e9);
}

export async function commands(context) {
  const tables = [];
  for (const n of [8, 500]) {
    const all = contenders(context, ["einhorn", "Ruby einhorn"], (peer) => Master.start(peer, { n }));
    for (const [word, count] of [
      ["ehlo", 5000],
      ["state", n > 8 ? 200 : 2000],
    ]) {
      tables.push({
        title: `${word} on one connection, ${n} workers`,
        unit: "/s",
        values: {},
        reference: null,
        word,
        count,
        n,
      });
    }
    for (const [name, start] of Object.entries(all)) {
      const master = await start();
      await sleep(2000);
      for (const table of tables.filter((t) => t.n === n)) {
        Object.assign(
          table.values,
          await inTurn(context.runs, { [name]: () => perSecond(master, table.word, table.count) }, context.note),
        );
      }
      await master.stop();
    }
  }
  const least = { ehlo: { 8: 8300, 500: 8300 }, state: { 8: 1835, 500: 63 } };
  return tables.map(({ word, count: _count, n, ...table }) => ({ ...table, bar: { atLeast: least[word][n] } }));
}

/** CPU of the master per death (and start of the successor), and per ACK. */
async function costs(peer, n, deaths) {
  const args = ["-m", "manual", "-s", "0.01", "-q"];
  const master = await Master.start(peer, { n, args, env: { BENCH_ACK: "1" } });
  try {
    await sleep(1500);
    const victims = master
      .stamps(2)
      .slice(0, n)
      .map(({ pid }) => pid);
    const before = figuresOf(master.pid).cpuMs;
    for (let i = 0; i < deaths; i++) {
      const victim = i < victims.length ? victims[i] : master.stamps(2).at(-1).pid;
      process.kill(victim, "SIGKILL");
      await master.untilStamps(2, n + i + 1);
      await sleep(12);
    }
    await sleep(100);
    return ((figuresOf(master.pid).cpuMs - before) / deaths) * 1000;
  } finally {
    await master.stop();
  }
}

export async function scale(context) {
  const deaths = context.quick ? 50 : 200;
  const { einhorn } = context.peers;
  const among = (n) => () => costs(einhorn, n, deaths);
  const reference = "einhorn, 10 workers";
  const values = {
    ...(await inTurn(context.quick ? 1 : 5, { [reference]: among(10), einhorn: among(1000) }, context.note)),
    ...(context.quick ? {} : await inTurn(1, { "einhorn, 5000 workers": among(5000) }, context.note)),
  };
  const title = "CPU of a death, its respawn and its ACK among 1000 workers";
  return [{ title, unit: "µs", values, reference, bar: { of: reference, atMost: 1.5 } }];
}

/** Busiest over idlest worker at a quarter of what eight workers could do. */
async function fairness(peer, bind) {
  const n = 8;
  const master = await Master.start(peer, { n, bind, env: { BENCH_WORK_US: "100" } });
  try {
    await sleep(1200);
    const seconds = 4;
    const report = await load(master.port, { seconds, concurrency: 256, rate: 4000 }).report;
    const counts = Object.values(report.workers);
    while (counts.length < n) counts.push(0);
    return { ratio: Math.max(...counts) / Math.max(1, Math.min(...counts)), p99: report.p99, failed: report.failed };
  } finally {
    await master.stop();
  }
}

export async function queues(context) {
  const { einhorn } = context.peers;
  const fair = "queues=per-worker";
  const measured = await inTurn(
    context.quick ? 1 : 5,
    {
      [fair]: () => fairness(einhorn, ",queues=per-worker"),
      "one shared socket": () => fairness(einhorn, ""),
      "kernel SO_REUSEPORT": () => fairness(context.peers["C posix_spawn loop"], ""),
    },
    context.note,
  );
  const values = (read) => Object.fromEntries(Object.entries(measured).map(([name, list]) => [name, list.map(read)]));
  const reference = "one shared socket";
  return [
    {
      title: "busiest over idlest of 8 workers at 25 % load",
      unit: "",
      values: values((r) => r.ratio),
      reference,
      who: fair,
      bar: { atMost: 1.2 },
    },
    {
      title: "p99 latency at 25 % load",
      unit: "µs",
      values: values((r) => r.p99),
      reference,
      who: fair,
      bar: { of: reference, atMost: 1.3 },
    },
    {
      title: "requests failed",
      unit: "",
      values: values((r) => r.failed),
      reference: null,
      who: fair,
      bar: { atMost: 0 },
    },
  ];
}
