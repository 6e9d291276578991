/** A long life in a short time: memory after thousands of respawns and hundreds of upgrades. */
import { command, figuresOf, Master, sleep } from "../lib.mjs";

/** V8 tidies up by itself some 8 s after the last work. */
const settlingMs = 20_000;

export async function age(context) {
  const respawns = context.quick ? 300 : 10_000;
  const upgrades = context.quick ? 5 : 500;
  const args = ["-m", "manual", "-s", "0.001", "-q"];
  const master = await Master.start(context.peers.einhorn, { n: 8, args, env: { BENCH_ACK: "1" } });
  try {
    await sleep(settlingMs);
    const young = figuresOf(master.pid);
    let seen = 8;
    const kill = (pid) => {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // An upgrade or an earlier turn was faster.
      }
    };
    while (seen < respawns + 8) {
      const living = master.stamps(2).slice(-8);
      for (const { pid } of living) kill(pid);
      seen += living.length;
      await master.untilStamps(2, seen, { everyMs: 1 });
    }
    for (let i = 0; i < upgrades; i++) {
      const reply = await command(master.socket, { command: i % 2 === 0 ? "upgrade_fleet" : "upgrade" });
      if (reply.error) throw new Error(reply.message);
    }
    await sleep(settlingMs);
    const old = figuresOf(master.pid);
    const values = { einhorn: [old.rss], "at its start": [young.rss] };
    const anonymous = { einhorn: [old.anonymous], "at its start": [young.anonymous] };
    const bar = { of: "at its start", atMost: 1.1 };
    const what = `after ${respawns} respawns and ${upgrades} upgrades`;
    return [
      { title: `RSS ${what}`, unit: "MB", values, reference: "at its start", bar },
      { title: `anonymous memory ${what}`, unit: "MB", values: anonymous, reference: "at its start", bar: null },
    ];
  } finally {
    await master.stop();
  }
}
