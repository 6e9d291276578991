/** What a master costs that has nothing to do: memory, threads, wakeups. */
import { spawn } from "node:child_process";
import { figuresOf, Master, node, sleep } from "../lib.mjs";
import { contenders, inTurn } from "./shared.mjs";

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

async function idleNode() {
  const child = spawn(node, ["-e", "setInterval(()=>{},1e9)"], { stdio: "ignore" });
  await sleep(5000);
  const figures = figuresOf(child.pid);
  child.kill();
  return figures;
}

export async function memory(context) {
  const runs = context.quick ? 1 : 5;
  const plain = "node -e 'setInterval(()=>{},1e9)'";
  const measured = await inTurn(runs, { [plain]: idleNode, ...contenders(context, names, settled) }, context.note);
  const table = (title, unit, field, bar) => {
    const values = Object.fromEntries(
      Object.entries(measured).map(([name, list]) => [name, list.map((figures) => figures[field])]),
    );
    return { title, unit, values, reference: plain, bar };
  };
  return [
    table("RSS of the idle master, 8 workers, 5 s after its start", "MB", "rss", { atMost: 25 }),
    table("anonymous memory of the idle master", "MB", "anonymous", { of: plain, atMost: 1.3 }),
    table("threads of the master", "", "threads", null),
  ];
}

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
  await sleep(12_000);
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
