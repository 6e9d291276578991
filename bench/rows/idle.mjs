/** What a master costs that has nothing to do: memory, threads, wakeups. */
import { spawn } from "node:child_process";
import { compileCache, figuresOf, Master, node, sleep } from "../lib.mjs";
import { nodeOf } from "../peers.mjs";
import { contenders } from "./shared.mjs";

const names = [
  "einhorn",
  "C posix_spawn loop",
  "Ruby einhorn",
  "Server::Starter",
  "supervisord",
  "pm2",
  "gunicorn",
  "unicorn",
  "puma",
  "Node cluster",
  "s6",
];

async function settled(peer) {
  const master = await Master.start(peer, { n: peer.single ? 1 : 8 });
  await sleep(5000);
  const figures = figuresOf(master.pid);
  await master.stop();
  return figures;
}

async function idleNode(program = node) {
  const child = spawn(program, ["-e", "setInterval(()=>{},1e9)"], { stdio: "ignore" });
  await sleep(5000);
  const figures = figuresOf(child.pid);
  child.kill();
  return figures;
}

/** All at the same time: nobody's memory depends on the others, and each waits for its own five seconds. */
async function sideBySide(runs, measures, note) {
  const names = Object.keys(measures);
  const values = Object.fromEntries(names.map((name) => [name, []]));
  for (let run = 0; run < runs; run++) {
    const results = await Promise.allSettled(names.map((name) => measures[name]()));
    results.forEach(({ status, value, reason }, i) => {
      if (status === "rejected") note(`${names[i]}: ${reason.message}`);
      else values[names[i]].push(value);
    });
  }
  return values;
}

const plain = "node -e 'setInterval(()=>{},1e9)'";
const pick = (measured, field) =>
  Object.fromEntries(Object.entries(measured).map(([name, list]) => [name, list.map((figures) => figures[field])]));

export async function memory(context) {
  const measures = { [plain]: () => idleNode(), ...contenders(context, names, settled) };
  const measured = await sideBySide(context.quick ? 1 : 5, measures, context.note);
  const table = (title, unit, field, bar) => {
    return { title, unit, values: pick(measured, field), reference: plain, bar };
  };
  return [
    table("RSS of the idle master, 8 workers, 5 s after its start", "MB", "rss", { atMost: 25 }),
    table("anonymous memory of the idle master", "MB", "anonymous", { of: plain, atMost: 1.3 }),
    table("threads of the master", "", "threads", null),
  ];
}

/** The same on every Node that einhorn runs on. */
export async function nodes(context) {
  const tables = [];
  for (const major of [20, 22, 24, 26]) {
    const program = nodeOf(major);
    if (program === null) {
      context.note(`Node ${major} is left out: npm has no node-linux-${process.arch}@${major}`);
      continue;
    }
    compileCache(program);
    const run = { ...context.peers.einhorn, start: (o) => onNode(program, context.peers.einhorn.start(o)) };
    const measures = { [plain]: () => idleNode(program), einhorn: () => settled(run) };
    const measured = await sideBySide(context.quick ? 1 : 5, measures, context.note);
    const values = (field) => pick(measured, field);
    const what = `Node ${major}, 8 workers, after 5 s`;
    tables.push(
      { title: `RSS on ${what}`, unit: "MB", values: values("rss"), reference: plain, bar: { atMost: 25 } },
      {
        title: `anonymous memory on ${what}`,
        unit: "MB",
        values: values("anonymous"),
        reference: plain,
        bar: { of: plain, atMost: 1.3 },
      },
    );
  }
  return tables;
}

const onNode = (program, { command, ...more }) => ({ command: [program, ...command], ...more });

export async function wakeups(context) {
  const seconds = context.quick ? 10 : 60;
  const values = {};
  const masters = [];
  for (const [name, start] of Object.entries(
    contenders(context, names, (peer) => Master.start(peer, { n: peer.single ? 1 : 8 })),
  )) {
    try {
      masters.push({ name, master: await start() });
    } catch (error) {
      context.note(`${name}: ${error.message}`);
    }
  }
  await sleep(15_000);
  const before = masters.map(({ master }) => figuresOf(master.pid).wakeups);
  await sleep(seconds * 1000);
  masters.forEach(({ name, master }, i) => {
    values[name] = [figuresOf(master.pid).wakeups - before[i]];
  });
  for (const { master } of masters) await master.stop();
  return [
    { title: `wakeups of the idle master in ${seconds} s`, unit: "", values, reference: null, bar: { atMost: 0 } },
  ];
}
