/** What the master does when it is killed by its own fault, and while others try to keep it from answering. */
import { connect } from "node:net";
import { Master, nodeStart, sleep, tool } from "../lib.mjs";
import { inTurn } from "./shared.mjs";

/** A fault in the master, while somebody connects and asks all the time: the longest that one answer took. */
async function crashMs(peer, faults) {
  const master = await Master.start(peer, { n: 8 });
  const times = [];
  try {
    await sleep(1000);
    for (let i = 0; i < faults; i++) {
      const gap = tool("gap", master.socket, 1.5);
      await sleep(300);
      process.kill(master.pid, "SIGSEGV");
      const { longestNs, failed } = await gap;
      if (failed > 0) throw new Error(`${failed} commands were not answered`);
      times.push(longestNs / 1e6);
    }
    return times;
  } finally {
    await master.stop();
  }
}

export async function crash(context) {
  // More than a few in a minute, and the master takes itself to be broken.
  const faults = 3;
  const measured = await inTurn(
    context.quick ? 1 : 3,
    { "node -e 0": nodeStart, einhorn: () => crashMs(context.peers.einhorn, faults) },
    context.note,
  );
  const values = { "node -e 0": measured["node -e 0"] ?? [], einhorn: (measured.einhorn ?? []).flat() };
  const title = "longest wait for an answer over a crash of the master (SIGSEGV), 8 workers";
  return [{ title, unit: "ms", values, reference: "node -e 0", bar: { atMost: 200 } }];
}

const kinds = {
  "1,000 idle connections": { idle: 1000 },
  "100 slow clients": { slow: 100 },
  "lines of 10 MB": { huge: 2 },
  "YAML bombs": { bombs: 4 },
};

function dial(path) {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject).on("error", () => {});
      socket.resume();
      resolve(socket);
    });
  });
}

const bomb = `{${["a: &a [x,x,x,x,x,x]", "b: &b [*a,*a,*a,*a]", "c: [*b,*b,*b]"].join(", ")}, command: ${"[".repeat(3000)}\n`;
const huge = "x".repeat(10 * 1024 * 1024);

/** Attacks until `done`; resolves when it has let go. */
async function attack(path, { idle = 0, slow = 0, huge: hugeLines = 0, bombs = 0 }, until) {
  const sockets = [];
  for (let i = 0; i < idle + slow; i++) sockets.push(await dial(path));
  const line = '{"command":"status","id":1}\n';
  const drip = (async () => {
    for (let at = 0; slow > 0 && !until.over; at++) {
      for (const socket of sockets.slice(0, slow)) socket.write(line[at % line.length]);
      await sleep(20);
    }
  })();
  const send = async (text) => {
    while (!until.over) {
      const socket = await dial(path);
      await new Promise((resolve) => {
        socket.on("close", resolve).end(text);
        setTimeout(() => socket.destroy(), 1000).unref();
      });
      await sleep(5);
    }
  };
  const senders = [...Array(hugeLines).fill(huge), ...Array(bombs).fill(bomb)].map(send);
  await Promise.all([drip, ...senders]);
  for (const socket of sockets) socket.destroy();
}

async function besieged(peer, kind) {
  const master = await Master.start(peer, { n: 8 });
  const until = { over: false };
  try {
    const attacking = attack(master.socket, kind, until);
    await sleep(700);
    const { longestNs, failed } = await tool("gap", master.socket, 2);
    until.over = true;
    await attacking;
    if (failed > 0) throw new Error(`${failed} commands were not answered`);
    return longestNs / 1e6;
  } finally {
    until.over = true;
    await master.stop();
  }
}

export async function siege(context) {
  const { einhorn } = context.peers;
  const everything = Object.assign({}, ...Object.values(kinds));
  const all = { ...kinds, nobody: {}, "all of these at once": everything };
  const measured = await inTurn(
    context.quick ? 1 : 3,
    Object.fromEntries(Object.entries(all).map(([name, kind]) => [name, () => besieged(einhorn, kind)])),
    context.note,
  );
  const title = "longest wait of a good client in 2 s, a connection each, while there are";
  const bar = { atMost: 100 };
  return [{ title, unit: "ms", values: measured, reference: "nobody", who: "all of these at once", bar }];
}

export async function probe(context) {
  const { freePort } = await import("../lib.mjs");
  const port = await freePort();
  const master = await Master.start(context.peers.einhorn, {
    n: 8,
    args: ["--http", `127.0.0.1:${port}`, "-m", "0.1"],
  });
  try {
    await sleep(1500);
    const values = { "median of 500": [], "longest of 500": [] };
    for (let i = 0; i < context.runs; i++) {
      const { medianNs, longestNs } = await tool("http", port, "/readyz", 500);
      values["median of 500"].push(medianNs / 1e6);
      values["longest of 500"].push(longestNs / 1e6);
    }
    const bar = { atMost: 1 };
    return [{ title: "/readyz by HTTP, a connection each", unit: "ms", values, who: "median of 500", bar }];
  } finally {
    await master.stop();
  }
}
