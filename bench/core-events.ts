/**
 * What one event costs the core, by the number of workers: a death with the start that follows, and an ACK. The kernel is
 * made up, the state is written down as for a crash. `node bench/core-events.ts`
 */
import { changesBetween } from "../src/core/changes.ts";
import { initialState } from "../src/core/initial.ts";
import type { Pid, State } from "../src/core/model.ts";
import { supervise } from "../src/supervisor.ts";
import { about, launch, plainConfig } from "../test/core/pool.ts";

interface Cost {
  deathUs: number;
  ackUs: number;
}

/** A pool of this size; each call lets so many workers die, one after the other, and returns the mean cost. */
function pool(number: number): (deaths: number) => Cost {
  let now = 1000;
  let nextPid = 100;
  let kept: State | null = null;
  const born: Pid[] = [];
  const supervisor = supervise(initialState({ ...plainConfig, number }, about, launch, 1), {
    clock: { now: () => now, wakeAt: () => undefined },
    processes: {
      spawn: () => {
        born.push(nextPid);
        return nextPid++;
      },
      signal: () => "SIGTERM",
      signalRest: () => undefined,
      measure: () => ({}),
    },
    reexec: { check: () => undefined, endCheck: () => undefined, exec: () => "" },
    save(state) {
      JSON.stringify(changesBetween(kept, state));
      kept = state;
    },
    control: { reply: () => undefined },
    log: () => undefined,
    announce: () => undefined,
    exit: () => undefined,
  });
  const ack = (pid: Pid) => supervisor.deliver({ kind: "acked", pid, via: "command" });
  supervisor.deliver({ kind: "booted", about, launch });
  const living = born.splice(0);
  living.forEach(ack);
  let chance = 12345;
  return (deaths) => {
    let deathMs = 0;
    let ackMs = 0;
    for (let death = 0; death < deaths; death += 1) {
      now += 5000;
      chance = (Math.imul(chance, 1103515245) + 12345) & 0x7fffffff;
      const at = chance % number;
      const end = { code: 1, signal: null, oom: false, cpuMs: 1, maxRssBytes: 1, lastWords: null };
      const startedAt = performance.now();
      supervisor.deliver({ kind: "exited", pid: living[at] as Pid, ...end });
      const diedAt = performance.now();
      living[at] = born.pop() as Pid;
      ack(living[at]);
      deathMs += diedAt - startedAt;
      ackMs += performance.now() - diedAt;
    }
    return { deathUs: (deathMs / deaths) * 1000, ackUs: (ackMs / deaths) * 1000 };
  };
}

const sizes = [10, 100, 1000];
const pools = sizes.map(pool);
for (const run of pools) run(500);
const best = sizes.map(() => ({ deathUs: Number.POSITIVE_INFINITY, ackUs: Number.POSITIVE_INFINITY }));
// Taken in turn, so that a busy machine troubles all alike.
for (let round = 0; round < 60; round += 1) {
  for (const [index, run] of pools.entries()) {
    const { deathUs, ackUs } = run(300);
    const least = best[index] as Cost;
    best[index] = { deathUs: Math.min(least.deathUs, deathUs), ackUs: Math.min(least.ackUs, ackUs) };
  }
}
for (const [index, number] of sizes.entries()) {
  const { deathUs, ackUs } = best[index] as Cost;
  const first = best[0] as Cost;
  const ratio = (deathUs + ackUs) / (first.deathUs + first.ackUs);
  console.log(
    `${number} workers: death and start ${deathUs.toFixed(1)} us, ACK ${ackUs.toFixed(1)} us, ${ratio.toFixed(2)} times 10`,
  );
}
