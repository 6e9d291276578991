/** Replacing workers under load: how long, how many requests lost, what it did to latency. */
import { claimMemory, load, Master, node, nodeStart, sleep, tool } from "../lib.mjs";
import { inTurn } from "./shared.mjs";

const workers = 50;
const bootMs = 200;
const rate = 500;
const floor = "two starts of node, 50 in C";

/** Nothing but the load runs beside it: what asks the master for answers all the time is `probed`. */
async function upgraded(peer, strategy, args, note) {
  const env = { BENCH_ACK: "1", BENCH_BOOT_MS: `${bootMs}` };
  const master = await Master.start(peer, { n: workers, env, args: ["-m", "manual", ...args] });
  try {
    await sleep(1000);
    const before = await load(master.port, { seconds: 3, concurrency: 64, rate }).report;
    await claimMemory();
    const during = load(master.port, { seconds: 60, concurrency: 64, rate });
    await sleep(200);
    const tookMs = await ordered(master, strategy);
    await sleep(300);
    const after = await during.stop();
    if (before.failed + after.failed > 0) note(`${strategy}: ${JSON.stringify({ before, after, workers: undefined })}`);
    return { tookMs, failed: before.failed + after.failed, p99Before: before.p99, p99During: after.p99 };
  } finally {
    await master.stop();
  }
}

/** Whether the command socket answers meanwhile. */
async function probed(peer, strategy, args) {
  const env = { BENCH_ACK: "1", BENCH_BOOT_MS: `${bootMs}` };
  const master = await Master.start(peer, { n: workers, env, args: ["-m", "manual", ...args] });
  try {
    await sleep(1000);
    await claimMemory();
    const gap = tool("gap", master.socket, 2);
    await sleep(200);
    await ordered(master, strategy);
    const { longestNs, failed } = await gap;
    return { gapMs: longestNs / 1e6, unanswered: failed };
  } finally {
    await master.stop();
  }
}

/** From the order to its last answer. By a program in C: this process would compile what it needs for that, beside the load. */
async function ordered(master, strategy) {
  const { tookNs, reply } = await tool("command", master.socket, JSON.stringify({ command: strategy }));
  if (reply.error) throw new Error(reply.message);
  return tookNs / 1e6;
}

/** As the one of a re-exec: after a rest, and after the start of Node that proves the new image. */
async function nodeStartAfterAnother() {
  await sleep(1000);
  await claimMemory();
  await sleep(200);
  nodeStart();
  return nodeStart();
}

/** What the same start costs a C master: all at once. */
async function startAll(peer) {
  await claimMemory();
  const master = await Master.start(peer, { n: workers, env: { BENCH_BOOT_MS: `${bootMs}` } });
  const tookMs = untilAllReady(master);
  await master.stop();
  return { tookMs };
}

function untilAllReady(master) {
  const [launched] = master.stamps(0);
  return (master.stamps(2).at(-1).at - launched.at) / 1e6;
}

/** What no master can avoid: the same load, while Node starts twice and a program in C starts as many workers, and these go again. */
async function disturbed(peer) {
  const env = { BENCH_BOOT_MS: `${bootMs}` };
  const old = await Master.start(peer, { n: workers, env });
  try {
    await sleep(1000);
    const before = await load(old.port, { seconds: 3, concurrency: 64, rate }).report;
    await claimMemory();
    const during = load(old.port, { seconds: 60, concurrency: 64, rate });
    await sleep(200);
    let startsNs = 0;
    for (let i = 0; i < 2; i++) startsNs += await tool("timed", node, "-e", "0");
    const fresh = await Master.start(peer, { n: workers, env });
    const tookMs = startsNs / 1e6 + untilAllReady(fresh);
    await sleep(300);
    const after = await during.stop();
    await fresh.stop();
    return { tookMs, p99Before: before.p99, p99During: after.p99 };
  } finally {
    await old.stop();
  }
}

/** Few workers, two at a time: how much the master adds to the boots. */
export async function pace(context) {
  const n = 8;
  const paceBootMs = 300;
  const env = { BENCH_ACK: "1", BENCH_BOOT_MS: `${paceBootMs}` };
  const upgraded = async (peer) => {
    const master = await Master.start(peer, { n, env, args: ["-m", "manual", "--max-unacked", "2"] });
    try {
      await sleep(1000);
      await claimMemory();
      const gap = tool("gap", master.socket, 1);
      await sleep(200);
      const tookMs = await ordered(master, "upgrade");
      const { longestNs, failed } = await gap;
      return { tookMs, gapMs: longestNs / 1e6, failed };
    } finally {
      await master.stop();
    }
  };
  const rounds = n / 2;
  const ideal = `${rounds} boots and two starts of node`;
  const measured = await inTurn(
    context.quick ? 1 : 5,
    { node: nodeStartAfterAnother, einhorn: () => upgraded(context.peers.einhorn) },
    context.note,
  );
  const { node: starts = [], einhorn = [] } = measured;
  const ideals = starts.map((ms) => rounds * paceBootMs + 2 * ms);
  return [
    {
      title: `smooth upgrade of ${n} workers, ${paceBootMs} ms boot, --max-unacked 2`,
      unit: "ms",
      values: { einhorn: einhorn.map((r) => r.tookMs), [ideal]: ideals },
      reference: ideal,
      bar: { of: ideal, atMost: 1.3 },
    },
    {
      title: `longest wait for the command socket over a re-exec, ${n} workers`,
      unit: "ms",
      values: { einhorn: einhorn.map((r) => r.gapMs), "node -e 0": starts },
      reference: "node -e 0",
      bar: { of: "node -e 0", atMost: 1.5 },
    },
    {
      title: "commands unanswered over a re-exec",
      unit: "",
      values: { einhorn: einhorn.map((r) => r.failed) },
      reference: null,
      bar: { atMost: 0 },
    },
  ];
}

export async function upgrade(context) {
  const runs = context.quick ? 1 : 5;
  const { einhorn } = context.peers;
  const measured = await inTurn(
    runs,
    {
      node: nodeStartAfterAnother,
      C: () => startAll(context.peers["C posix_spawn loop"]),
      floor: () => disturbed(context.peers["C posix_spawn loop"]),
      smooth: () => upgraded(einhorn, "upgrade", ["--max-unacked", "10"], context.note),
      fleet: () => upgraded(einhorn, "upgrade_fleet", [], context.note),
      smoothProbed: () => probed(einhorn, "upgrade", ["--max-unacked", "10"]),
      fleetProbed: () => probed(einhorn, "upgrade_fleet", []),
    },
    context.note,
  );
  const pick = (name, read) => (measured[name] ?? []).map(read);
  const both = [...(measured.smooth ?? []), ...(measured.fleet ?? [])];
  const rounds = workers / 10;
  const ideal = pick("node", (ms) => rounds * bootMs + 2 * ms);
  const nodeStarts = { "node -e 0": measured.node ?? [] };
  return [
    {
      title: `smooth upgrade of ${workers} workers, ${bootMs} ms boot, --max-unacked 10`,
      unit: "ms",
      values: { einhorn: pick("smooth", (r) => r.tookMs), [`${rounds} boots and two starts of node`]: ideal },
      reference: `${rounds} boots and two starts of node`,
      bar: { of: `${rounds} boots and two starts of node`, atMost: 1.3 },
    },
    {
      title: `fleet upgrade of ${workers} workers, ${bootMs} ms boot`,
      unit: "ms",
      values: {
        einhorn: pick("fleet", (r) => r.tookMs),
        "C, starting 50 at once": pick("C", (r) => r.tookMs),
        [floor]: pick("floor", (r) => r.tookMs),
      },
      reference: "C, starting 50 at once",
      bar: { of: "C, starting 50 at once", atMost: 1.5 },
    },
    {
      title: "requests failed during these upgrades",
      unit: "",
      values: { einhorn: both.map((r) => r.failed) },
      reference: null,
      bar: { atMost: 0 },
    },
    ...["smooth", "fleet"].map((name) => ({
      title: `p99 latency during a ${name} upgrade`,
      unit: "µs",
      values: {
        einhorn: pick(name, (r) => r.p99During),
        "before it": pick(name, (r) => r.p99Before),
        [floor]: pick("floor", (r) => r.p99During),
        "before these": pick("floor", (r) => r.p99Before),
      },
      reference: "before it",
      bar: { of: "before it", atMost: 1.5 },
    })),
    {
      title: "longest wait for the command socket during these upgrades",
      unit: "ms",
      values: {
        smooth: pick("smoothProbed", (r) => r.gapMs),
        fleet: pick("fleetProbed", (r) => r.gapMs),
        ...nodeStarts,
      },
      reference: "node -e 0",
      bar: null,
    },
    {
      title: "commands unanswered during these upgrades",
      unit: "",
      values: { einhorn: [...pick("smoothProbed", (r) => r.unanswered), ...pick("fleetProbed", (r) => r.unanswered)] },
      reference: null,
      bar: { atMost: 0 },
    },
  ];
}
