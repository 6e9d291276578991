/** From the ENTRYPOINT to the first worker, and to the five hundredth. */
import { Master, nodeStart, programs, sleep, timed } from "../lib.mjs";
import { contenders, inTurn } from "./shared.mjs";

async function firstWorkerMs(peer) {
  const master = await Master.start(peer, { n: 1 });
  const [launched] = master.stamps(0);
  const [first] = master.stamps(1);
  await master.stop();
  return (first.at - launched.at) / 1e6;
}

export async function start(context) {
  const peers = [
    "einhorn",
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
  const values = await inTurn(
    context.runs,
    {
      "node -e 0": nodeStart,
      "C posix_spawn loop": () => firstWorkerMs(context.peers["C posix_spawn loop"]),
      ...contenders(context, peers, firstWorkerMs),
    },
    context.note,
  );
  return [
    {
      title: "ENTRYPOINT to the first worker",
      unit: "ms",
      values,
      reference: "node -e 0",
      bar: { of: "node -e 0", atMost: 1.5 },
    },
  ];
}

const many = 500;

async function fillMs(peer) {
  const master = await Master.start(peer, { n: many });
  const [launched] = master.stamps(0);
  const last = master.stamps(1).at(-1);
  await master.stop();
  return (last.at - launched.at) / 1e6;
}

export async function fill(context) {
  const runs = Math.max(context.quick ? 1 : 5, Math.ceil(context.runs / 2));
  const measured = await inTurn(
    runs,
    {
      "node -e 0": nodeStart,
      "C posix_spawn loop": () => fillMs(context.peers["C posix_spawn loop"]),
      ...contenders(context, ["einhorn", "Ruby einhorn", "supervisord", "pm2"], fillMs),
    },
    context.note,
  );
  const { "node -e 0": nodeStarts, ...values } = measured;
  const limit = "C posix_spawn loop and the start of node";
  values[limit] = values["C posix_spawn loop"].map((ms, run) => ms + nodeStarts[run]);
  return [{ title: `${many} workers exist`, unit: "ms", values, reference: limit, bar: { of: limit, atMost: 1.5 } }];
}

/** SIGKILL to the one worker: until its successor has begun, in ms. */
async function respawnMs(master) {
  const stamps = master.stamps(1);
  const began = Number(process.hrtime.bigint());
  process.kill(stamps.at(-1).pid, "SIGKILL");
  const after = await master.untilStamps(1, stamps.length + 1);
  return (after.at(-1).at - began) / 1e6;
}

export async function respawn(context) {
  const names = [
    "C posix_spawn loop",
    "einhorn",
    "Node, addon alone",
    "Server::Starter",
    "Ruby einhorn",
    "unicorn",
    "gunicorn",
    "puma",
    "pm2",
    "supervisord",
  ];
  const start = (peer) => Master.start(peer, { n: 1, args: ["-s", "0.1"] });
  const masters = await inTurn(1, contenders(context, names, start), context.note);
  const reference = "Server::Starter";
  const tables = [];
  const row = async (title, kills, upMs, bar) => {
    const values = Object.fromEntries(Object.keys(masters).map((name) => [name, []]));
    // supervisord waits for a second before each start: apart, so that the others do not rest meanwhile.
    const [slow, fast] = [true, false].map((isSlow) =>
      Object.entries(masters).filter(([name]) => (name === "supervisord") === isSlow),
    );
    for (const group of [fast, slow]) {
      for (let kill = 0; kill < kills && group.length > 0; kill++) {
        await sleep(upMs);
        // Each comes first in its turn: who follows a program of the same Node finds its pages in the caches.
        const from = kill % group.length;
        for (const [name, [master]] of [...group.slice(from), ...group.slice(0, from)]) {
          try {
            values[name].push(await respawnMs(master));
          } catch (error) {
            context.note(`${name}: ${error.message}`);
          }
        }
      }
    }
    tables.push({ title, unit: "ms", values, reference, bar });
  };
  try {
    // Server::Starter waits one second between starts unless a worker has lived that long.
    await row("respawn after SIGKILL", context.quick ? 3 : 18, 1300, { of: reference, atMost: 1 });
    await row("respawn after SIGKILL, nothing having happened for 6 s", context.quick ? 1 : 5, 6000, null);
  } finally {
    for (const [master] of Object.values(masters)) await master.stop();
  }
  return tables;
}

/** Time of one command of the operator's shell, where there is one. */
export async function shell(context) {
  const { existsSync } = await import("node:fs");
  const { join } = await import("node:path");
  const { root } = await import("../lib.mjs");
  const einhornsh = join(root, "dist", "einhornsh.cjs");
  if (!existsSync(einhornsh)) return [];
  const masters = [await Master.start(context.peers.einhorn, { n: 8 })];
  const values = {};
  try {
    const measures = {
      "node -e 0": nodeStart,
      "einhornsh ready": () => timed(einhornsh, "-d", masters[0].socket, "ready"),
    };
    if (!context.missing.has("supervisord")) {
      masters.push(await Master.start(context.peers.supervisord, { n: 8 }));
      measures["supervisorctl pid"] = () =>
        timed("supervisorctl", "-c", join(masters[1].dir, "supervisor.conf"), "pid");
    }
    await sleep(1500);
    Object.assign(values, await inTurn(context.runs, measures, context.note));
  } finally {
    for (const master of masters) await master.stop();
  }
  return [
    {
      title: "one command of the shell",
      unit: "ms",
      values,
      reference: "node -e 0",
      who: "einhornsh ready",
      bar: { of: "node -e 0", atMost: 1.4 },
    },
  ];
}

export { programs };
